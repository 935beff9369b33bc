"""What every home of jobs can do. Two exist: Redis and memory; one suite runs over both."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from scratch3d.contracts.jobs import JobEvent, State
from scratch3d.contracts.problems import Problem
from scratch3d.slots import Ride

from .domain import Job, StageResult


@dataclass(frozen=True, kw_only=True)
class Idempotency:
    """A caller's key and the digest of what it sent with it."""

    key: str
    body_sha256: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some jobs, newest first, and where the next ones begin."""

    jobs: tuple[Job, ...]
    next_cursor: str | None


@dataclass(frozen=True, kw_only=True)
class Census:
    """What the store holds at the moment."""

    queued: int
    running: int
    workers: int
    memory_bytes: int = 0


class Watch:
    """Wakes when a job was ended or taken back by somebody else. A wake-up is a hint: read the store to know."""

    def __init__(self) -> None:
        self._flag = asyncio.Event()

    def interrupt(self) -> None:
        """Something happened, or may have; several wake-ups before the next look are one."""
        self._flag.set()

    async def wait(self, timeout_s: float) -> bool:
        """True after a change, False when none came in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._flag.wait()
        except TimeoutError:
            return False
        self._flag.clear()
        return True


class Feed:
    """Events as they happen, for one slow or fast reader: a bounded queue that says when it has a gap."""

    #: A reader that is further behind reads the history instead.
    MAX_WAITING = 256

    def __init__(self) -> None:
        self._waiting: list[JobEvent] = []
        self._gap = False
        self._reader: asyncio.Future[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._due = 0.0

    def put(self, event: JobEvent) -> None:
        """One more event; a reader that does not keep up loses what waits, and is told."""
        if len(self._waiting) >= self.MAX_WAITING:
            self.interrupt()
            return
        self._waiting.append(event)
        self._wake()

    def interrupt(self) -> None:
        """Events may have been missed: the history must be read again."""
        self._waiting.clear()
        self._gap = True
        self._wake()

    async def news(self, timeout_s: float) -> Sequence[JobEvent]:
        """What came since the last look, in order; nothing after a gap, or when none came in time: read the history."""
        if not self._waiting and not self._gap:
            await self._something(timeout_s)
        if self._gap:
            self._gap = False
            return ()
        news, self._waiting = self._waiting, []
        return news

    async def _something(self, timeout_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._due = loop.time() + timeout_s
        # The alarm of an earlier look stands: setting one for every event would cost as much as the event.
        if self._alarm and self._alarm.when() > self._due:
            self._alarm.cancel()
            self._alarm = None
        if self._alarm is None:
            self._alarm = loop.call_at(self._due, self._ring, loop)
        self._reader = loop.create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._alarm = None
        if self._reader and self._due > loop.time():
            self._alarm = loop.call_at(self._due, self._ring, loop)
        else:
            self._wake()

    def _wake(self) -> None:
        if self._reader and not self._reader.done():
            self._reader.set_result(None)


def is_after(event_id: str, other: str) -> bool:
    """Whether an event id (`milliseconds-number`) is later than another."""
    return _number(event_id) > _number(other)


def _number(event_id: str) -> tuple[int, int]:
    left, _, right = event_id.partition("-")
    return int(left), int(right or 0)


class JobStore(Protocol):
    """Every write is compare-and-set on (state, version, token), keeps its event, and can be repeated safely."""

    async def submit(
        self, job: Job, *, max_queued: int, max_unfinished: int = 0, idempotency: Idempotency | None = None
    ) -> Job:
        """Keep the job and queue it; with a known key, the job it was first used for.

        Raises QueueFull or TooManyJobs (the owner's unfinished ones; 0: any number) before anything is kept, and KeyReused
        when the key came with another body.
        """

    async def submit_all(
        self,
        jobs: Sequence[Job],
        *,
        max_queued: int,
        max_unfinished: int = 0,
        idempotency: Idempotency | None = None,
    ) -> tuple[Job, ...]:
        """As `submit`, for jobs of one owner: all of them or none."""

    async def remember(self, owner: str, idempotency: Idempotency, job_id: str | None = None) -> tuple[str, ...]:
        """The jobs a key stands for, none when it is new; a new one is noted for `job_id`. KeyReused as above."""

    async def get(self, job_id: str) -> Job | None:
        """The job, or None."""

    async def claim(
        self,
        token: str,
        *,
        lease_s: float,
        wait_s: float,
        suspect_losses: int | None = None,
        ride: Ride | None = None,
    ) -> Job | None:
        """Take the first job in the queue under a lease, waiting at most `wait_s`; None when there is none.

        None also while the first one was lost `suspect_losses` times: it is left for a worker that carries nothing else.
        A ride under the same token is taken along, if there is a job.
        """

    async def claimed(self, token: str) -> Job | None:
        """The job that a token holds, or None: to find a claim that was not waited for."""

    async def beat(
        self, job: Job, *, lease_s: float, progress: int, phase: str | None, ride: Ride | None = None
    ) -> None:
        """Extend the lease and note progress (it never goes back); LeaseLost when the job is not ours any more."""

    async def advance(self, job: Job, *results: StageResult, ride: Ride | None = None) -> Job:
        """Keep the results of the stages ahead, in order, and enter the state behind them; LeaseLost as above.

        A ride is taken along in the same round trip, whatever becomes of the write.
        """

    async def fail(self, job: Job, problem: Problem) -> Job:
        """End a job we hold; LeaseLost as above."""

    async def release(self, job: Job) -> None:
        """Hand a job we hold back to the front of the queue; LeaseLost as above."""

    async def wait(self, job: Job, reason: str) -> Job:
        """Let go of a job we hold until somebody answers: lease dropped, not queued; LeaseLost as above."""

    async def resume(self, job_id: str) -> Job:
        """Queue a waiting job again; JobNotFound, or Conflict when it does not wait."""

    async def cancel(self, job_id: str) -> Job:
        """End a job whoever holds it; JobNotFound, or AlreadyFinal."""

    async def reap(self, *, by: str = "", present_s: float = 0.0) -> tuple[str, ...]:
        """Put jobs whose lease ended back to the front of the queue; their ids.

        A worker that gives its name counts as present for `present_s`.
        """

    async def position(self, job_id: str) -> int | None:
        """Number of jobs that are taken up before this one, or None when it is not in the queue."""

    async def page(self, owner: str, *, state: State | None, limit: int, cursor: str | None) -> Page:
        """Jobs of an owner, newest first."""

    async def events(self, job_id: str, *, after: str = "0") -> Sequence[JobEvent]:
        """The job's history behind an event id."""

    async def owner_events(self, owner: str, *, after: str) -> Sequence[JobEvent]:
        """What happened to the owner's jobs behind an event id; EventsGone when that is too long ago."""

    async def last_event(self) -> str:
        """The id of the newest event of all jobs."""

    def watch(self, job_id: str) -> AbstractAsyncContextManager[Feed]:
        """The job's events as they happen."""

    def watch_owner(self, owner: str) -> AbstractAsyncContextManager[Feed]:
        """Events of all jobs of an owner as they happen."""

    def guard(self, job_id: str) -> AbstractAsyncContextManager[Watch]:
        """Be woken when somebody else ends the job or takes it back."""

    async def delete(self, job: Job) -> None:
        """Forget an ended job; AlreadyFinal does not apply, Conflict when it has not ended."""

    async def queue_length(self) -> int:
        """Jobs ready for a worker."""

    async def pace(self) -> Mapping[State, float]:
        """How long each stage takes, in seconds: a moving mean over all jobs."""

    async def census(self) -> Census:
        """Figures for metrics."""

    async def ping(self) -> None:
        """StoreUnavailable when the store does not answer."""

    async def close(self) -> None:
        """Let go of connections."""
