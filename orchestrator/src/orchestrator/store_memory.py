"""Jobs in this process's memory: for tests, and for composition in one process. It keeps nothing over a restart."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

from scratch3d.contracts.jobs import JobEvent, State
from scratch3d.contracts.problems import Problem
from scratch3d.servicekit.errors import Conflict
from scratch3d.slots import Ride

from .domain import Job, StageResult, advanced, claimed, event_of, failed, requeued, resumed, told_as, waiting
from .errors import AlreadyFinal, JobNotFound, KeyReused, LeaseLost, QueueFull, TooManyJobs
from .problems import CANCELLED
from .store import Census, Feed, Idempotency, Page, Watch, is_after

L = TypeVar("L")


class MemoryStore:
    """Implements JobStore."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._queue: deque[str] = deque()
        self._leases: dict[str, float] = {}
        self._keys: dict[tuple[str, str], tuple[tuple[str, ...], str]] = {}
        self._history: dict[str, list[JobEvent]] = {}
        self._owners: dict[str, str] = {}
        self._feeds: dict[str, set[Feed]] = {}
        self._guards: dict[str, set[Watch]] = {}
        self._pace: dict[State, float] = {}
        self._workers: set[str] = set()
        self._queued = asyncio.Condition()
        self._event_number = 0

    async def submit(
        self, job: Job, *, max_queued: int, max_unfinished: int = 0, idempotency: Idempotency | None = None
    ) -> Job:
        """See JobStore."""
        kept = await self.submit_all(
            [job], max_queued=max_queued, max_unfinished=max_unfinished, idempotency=idempotency
        )
        return kept[0]

    async def submit_all(
        self,
        jobs: Sequence[Job],
        *,
        max_queued: int,
        max_unfinished: int = 0,
        idempotency: Idempotency | None = None,
    ) -> tuple[Job, ...]:
        """See JobStore."""
        owner = jobs[0].owner
        if idempotency and (known := self._known(owner, idempotency)):
            return tuple(self._jobs[job_id] for job_id in known)
        if len(self._queue) + len(jobs) > max_queued:
            raise QueueFull(retry_after_s=5.0)
        unfinished = sum(1 for job in self._jobs.values() if job.owner == owner and not job.is_final)
        if max_unfinished and unfinished + len(jobs) > max_unfinished:
            raise TooManyJobs(retry_after_s=5.0)
        if idempotency:
            self._keys[owner, idempotency.key] = (tuple(job.id for job in jobs), idempotency.body_sha256)
        for job in jobs:
            self._keep(job, "submitted")
            await self._push(job.id, front=False)
        return tuple(jobs)

    async def remember(self, owner: str, idempotency: Idempotency, job_id: str | None = None) -> tuple[str, ...]:
        """See JobStore."""
        known = self._known(owner, idempotency)
        if not known and job_id and (owner, idempotency.key) not in self._keys:
            self._keys[owner, idempotency.key] = ((job_id,), idempotency.body_sha256)
        return known

    async def get(self, job_id: str) -> Job | None:
        """See JobStore."""
        return self._jobs.get(job_id)

    async def claim(
        self,
        token: str,
        *,
        lease_s: float,
        wait_s: float,
        suspect_losses: int | None = None,
        ride: Ride | None = None,
    ) -> Job | None:
        """See JobStore."""
        try:
            async with asyncio.timeout(wait_s), self._queued:
                while not self._queue or self._is_suspect(self._queue[0], suspect_losses):
                    await self._queued.wait()
                job_id = self._queue.popleft()
        except TimeoutError:
            return None
        self._leases[job_id] = time.monotonic() + lease_s
        if ride:
            ride.arrived(())
        return self._keep(claimed(self._jobs[job_id], token, time.time()), "claimed")

    def _is_suspect(self, job_id: str, losses: int | None) -> bool:
        return losses is not None and self._jobs[job_id].losses == losses

    async def claimed(self, token: str) -> Job | None:
        """See JobStore."""
        return next((job for job in self._jobs.values() if job.token == token), None)

    async def beat(
        self, job: Job, *, lease_s: float, progress: int, phase: str | None, ride: Ride | None = None
    ) -> None:
        """See JobStore."""
        if ride:
            ride.arrived(())
        held = self._held(job, same_version=False)
        self._leases[job.id] = time.monotonic() + lease_s
        if progress > held.progress or phase != held.phase:
            noted = held.model_copy(update={"progress": max(progress, held.progress), "phase": phase})
            self._keep(noted, "progress")

    async def advance(self, job: Job, *results: StageResult, ride: Ride | None = None) -> Job:
        """See JobStore."""
        if ride:
            ride.arrived(())
        following = self._held(job)
        for result in results:
            stage, following = following.state, advanced(following, result, time.time())
            self._keep(following, told_as(following, result))
            self._measure(stage, result)
        if following.is_final:
            self._leases.pop(job.id, None)
        return following

    async def fail(self, job: Job, problem: Problem) -> Job:
        """See JobStore."""
        ended = failed(self._held(job), problem, time.time())
        self._leases.pop(job.id, None)
        return self._keep(ended, "failed")

    async def release(self, job: Job) -> None:
        """See JobStore."""
        await self._requeue(self._held(job))

    async def wait(self, job: Job, reason: str) -> Job:
        """See JobStore."""
        following = waiting(self._held(job), reason)
        self._leases.pop(job.id, None)
        return self._keep(following, "waiting")

    async def resume(self, job_id: str) -> Job:
        """See JobStore."""
        job = self._jobs.get(job_id)
        if job is None:
            raise JobNotFound()
        if not job.waiting_for or job.is_final:
            raise Conflict("the job does not wait for anybody")
        following = self._keep(resumed(job), "resumed")
        await self._push(job_id, front=False)
        return following

    async def cancel(self, job_id: str) -> Job:
        """See JobStore."""
        job = self._jobs.get(job_id)
        if job is None:
            raise JobNotFound()
        if job.is_final:
            raise AlreadyFinal(f"the job is {job.state} already")
        self._leases.pop(job_id, None)
        if job_id in self._queue:
            self._queue.remove(job_id)
        ended = self._keep(failed(job, CANCELLED, time.time()), "failed")
        self._interrupt(job_id)
        return ended

    async def reap(self, *, by: str = "", present_s: float = 0.0) -> tuple[str, ...]:
        """See JobStore."""
        self._workers |= {by} - {""}
        now = time.monotonic()
        late = tuple(sorted((j for j, end in self._leases.items() if end <= now), key=lambda j: self._leases[j]))
        for job_id in reversed(late):
            await self._requeue(self._jobs[job_id], lost=True)
            self._interrupt(job_id)
        return late

    async def position(self, job_id: str) -> int | None:
        """See JobStore."""
        return self._queue.index(job_id) if job_id in self._queue else None

    async def page(self, owner: str, *, state: State | None, limit: int, cursor: str | None) -> Page:
        """See JobStore."""
        ours = [j for j in reversed(self._jobs.values()) if j.owner == owner and (not state or j.state is state)]
        start = next((i for i, job in enumerate(ours) if job.id == cursor), 0) if cursor else 0
        more = ours[start + limit].id if len(ours) > start + limit else None
        return Page(jobs=tuple(ours[start : start + limit]), next_cursor=more)

    async def events(self, job_id: str, *, after: str = "0") -> Sequence[JobEvent]:
        """See JobStore."""
        start = int(after.split("-")[0])
        return [event for event in self._history.get(job_id, []) if int(event.id.split("-")[0]) > start]

    async def owner_events(self, owner: str, *, after: str) -> Sequence[JobEvent]:
        """See JobStore."""
        ours = [event for job_id, told in self._history.items() if self._owners[job_id] == owner for event in told]
        return sorted((e for e in ours if is_after(e.id, after)), key=lambda e: int(e.id.split("-")[0]))

    async def last_event(self) -> str:
        """See JobStore."""
        return f"{self._event_number}-0"

    def watch(self, job_id: str) -> AbstractAsyncContextManager[Feed]:
        """See JobStore."""
        return self._listening(self._feeds, job_id, Feed())

    def watch_owner(self, owner: str) -> AbstractAsyncContextManager[Feed]:
        """See JobStore."""
        return self._listening(self._feeds, f"@{owner}", Feed())

    def guard(self, job_id: str) -> AbstractAsyncContextManager[Watch]:
        """See JobStore."""
        return self._listening(self._guards, job_id, Watch())

    async def delete(self, job: Job) -> None:
        """See JobStore."""
        kept = self._jobs.get(job.id)
        if kept and not kept.is_final:
            raise Conflict("the job has not ended: cancel it first")
        self._jobs.pop(job.id, None)
        self._history.pop(job.id, None)

    async def queue_length(self) -> int:
        """See JobStore."""
        return len(self._queue)

    async def pace(self) -> Mapping[State, float]:
        """See JobStore."""
        return dict(self._pace)

    async def census(self) -> Census:
        """See JobStore."""
        return Census(queued=len(self._queue), running=len(self._leases), workers=len(self._workers))

    async def ping(self) -> None:
        """Memory always answers."""

    async def close(self) -> None:
        """Nothing is held."""

    def _held(self, job: Job, *, same_version: bool = True) -> Job:
        """The job as kept, if the caller's copy is still the truth."""
        kept = self._jobs.get(job.id)
        if kept is None or kept.token != job.token or not job.token or (same_version and kept.version != job.version):
            raise LeaseLost(job.id)
        return kept

    async def _requeue(self, job: Job, *, lost: bool = False) -> None:
        self._leases.pop(job.id, None)
        self._keep(requeued(job, lost=lost), "requeued")
        await self._push(job.id, front=True)

    async def _push(self, job_id: str, *, front: bool) -> None:
        async with self._queued:
            (self._queue.appendleft if front else self._queue.append)(job_id)
            self._queued.notify()

    def _keep(self, job: Job, kind: str) -> Job:
        self._jobs[job.id] = job
        self._owners[job.id] = job.owner
        self._event_number += 1
        told = {**event_of(job, kind), "id": f"{self._event_number}-0", "job_id": job.id, "at": time.time()}
        event = JobEvent.model_validate(told)
        self._history.setdefault(job.id, []).append(event)
        for topic in (job.id, f"@{job.owner}"):
            for feed in self._feeds.get(topic, ()):
                feed.put(event)
        return job

    def _interrupt(self, job_id: str) -> None:
        for watch in self._guards.get(job_id, ()):
            watch.interrupt()

    def _known(self, owner: str, idempotency: Idempotency) -> tuple[str, ...]:
        ids, body = self._keys.get((owner, idempotency.key), ((), idempotency.body_sha256))
        if body != idempotency.body_sha256:
            raise KeyReused(field="Idempotency-Key")
        return tuple(job_id for job_id in ids if job_id in self._jobs)

    def _measure(self, stage: State, result: StageResult) -> None:
        if not result.skipped:
            before = self._pace.get(stage, result.duration_s)
            self._pace[stage] = before + (result.duration_s - before) * 0.2

    @asynccontextmanager
    async def _listening(self, places: dict[str, set[L]], topic: str, listener: L) -> AsyncIterator[L]:
        places.setdefault(topic, set()).add(listener)
        try:
            yield listener
        finally:
            places[topic].discard(listener)
