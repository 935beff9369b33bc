"""Jobs in this process's memory: for tests, and for composition in one process. It keeps nothing over a restart."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from scratch3d.contracts.jobs import JobEvent, State
from scratch3d.contracts.problems import Problem
from scratch3d.servicekit.errors import Conflict

from .domain import Job, StageResult, advanced, claimed, event_of, failed, requeued, resumed, told_as, waiting
from .errors import AlreadyFinal, JobNotFound, KeyReused, LeaseLost, QueueFull
from .problems import CANCELLED
from .store import Idempotency, Page, Watch


class MemoryStore:
    """Implements JobStore."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._queue: deque[str] = deque()
        self._leases: dict[str, float] = {}
        self._keys: dict[tuple[str, str], tuple[str, str]] = {}
        self._history: dict[str, list[JobEvent]] = {}
        self._watches: dict[str, set[Watch]] = {}
        self._queued = asyncio.Condition()
        self._event_number = 0

    async def submit(self, job: Job, *, max_queued: int, idempotency: Idempotency | None = None) -> Job:
        """See JobStore."""
        if idempotency:
            known = self._keys.get((job.owner, idempotency.key))
            if known and known[1] != idempotency.body_sha256:
                raise KeyReused(field="Idempotency-Key")
            if known:
                return self._jobs[known[0]]
        if len(self._queue) >= max_queued:
            raise QueueFull(retry_after_s=5.0)
        if idempotency:
            self._keys[job.owner, idempotency.key] = (job.id, idempotency.body_sha256)
        self._keep(job, "submitted")
        await self._push(job.id, front=False)
        return job

    async def get(self, job_id: str) -> Job | None:
        """See JobStore."""
        return self._jobs.get(job_id)

    async def claim(self, token: str, *, lease_s: float, wait_s: float) -> Job | None:
        """See JobStore."""
        try:
            async with asyncio.timeout(wait_s), self._queued:
                while not self._queue:
                    await self._queued.wait()
                job_id = self._queue.popleft()
        except TimeoutError:
            return None
        self._leases[job_id] = time.monotonic() + lease_s
        return self._keep(claimed(self._jobs[job_id], token, time.time()), "claimed")

    async def beat(self, job: Job, *, lease_s: float, progress: int, phase: str | None) -> None:
        """See JobStore."""
        held = self._held(job, same_version=False)
        self._leases[job.id] = time.monotonic() + lease_s
        if progress > held.progress or phase != held.phase:
            noted = held.model_copy(update={"progress": max(progress, held.progress), "phase": phase})
            self._keep(noted, "progress")

    async def advance(self, job: Job, result: StageResult) -> Job:
        """See JobStore."""
        following = advanced(self._held(job), result, time.time())
        kind = told_as(following, result)
        if following.is_final:
            self._leases.pop(job.id, None)
        return self._keep(following, kind)

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
        return self._keep(failed(job, CANCELLED, time.time()), "failed")

    async def reap(self) -> tuple[str, ...]:
        """See JobStore."""
        now = time.monotonic()
        late = tuple(job_id for job_id, end in self._leases.items() if end <= now)
        for job_id in late:
            await self._requeue(self._jobs[job_id], lost=True)
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

    @asynccontextmanager
    async def watch(self, job_id: str) -> AsyncIterator[Watch]:
        """See JobStore."""
        watch = Watch()
        self._watches.setdefault(job_id, set()).add(watch)
        try:
            yield watch
        finally:
            self._watches[job_id].discard(watch)

    async def delete(self, job: Job) -> None:
        """See JobStore."""
        if not self._jobs[job.id].is_final:
            raise Conflict("the job has not ended: cancel it first")
        del self._jobs[job.id]
        self._history.pop(job.id, None)

    async def queue_length(self) -> int:
        """See JobStore."""
        return len(self._queue)

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
        self._event_number += 1
        event = event_of(job, kind).model_copy(update={"id": f"{self._event_number}-0", "at": time.time()})
        self._history.setdefault(job.id, []).append(event)
        for watch in self._watches.get(job.id, ()):
            watch.wake()
        return job
