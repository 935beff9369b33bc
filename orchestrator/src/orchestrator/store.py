"""What every home of jobs can do. Two exist: Redis and memory; one suite runs over both."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from scratch3d.contracts.jobs import JobEvent, State
from scratch3d.contracts.problems import Problem

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


class Watch:
    """Wakes when something happened to a job. A wake-up is a hint: read the store to know."""

    def __init__(self) -> None:
        self._flag = asyncio.Event()

    def wake(self) -> None:
        """Something happened; several wake-ups before the next look are one."""
        self._flag.set()

    async def wait(self, timeout_s: float) -> bool:
        """True after a change, False when none came in time."""
        try:
            await asyncio.wait_for(self._flag.wait(), timeout_s)
        except TimeoutError:
            return False
        self._flag.clear()
        return True


class JobStore(Protocol):
    """Every write is compare-and-set on (state, version, token), keeps its event, and can be repeated safely."""

    async def submit(self, job: Job, *, max_queued: int, idempotency: Idempotency | None = None) -> Job:
        """Keep the job and queue it; with a known key, the job it was first used for.

        Raises QueueFull before anything is kept, and KeyReused when the key came with another body.
        """

    async def get(self, job_id: str) -> Job | None:
        """The job, or None."""

    async def claim(self, token: str, *, lease_s: float, wait_s: float) -> Job | None:
        """Take the first job in the queue under a lease, waiting at most `wait_s`; None when there is none."""

    async def beat(self, job: Job, *, lease_s: float, progress: int, phase: str | None) -> None:
        """Extend the lease and note progress (it never goes back); LeaseLost when the job is not ours any more."""

    async def advance(self, job: Job, result: StageResult) -> Job:
        """Keep the stage's result and enter the next state, the last one included; LeaseLost as above."""

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

    async def reap(self) -> tuple[str, ...]:
        """Put jobs whose lease ended back to the front of the queue; their ids."""

    async def position(self, job_id: str) -> int | None:
        """Number of jobs that are taken up before this one, or None when it is not in the queue."""

    async def page(self, owner: str, *, state: State | None, limit: int, cursor: str | None) -> Page:
        """Jobs of an owner, newest first."""

    async def events(self, job_id: str, *, after: str = "0") -> Sequence[JobEvent]:
        """The job's history behind an event id."""

    def watch(self, job_id: str) -> AbstractAsyncContextManager[Watch]:
        """Be woken when the job changes."""

    async def delete(self, job: Job) -> None:
        """Forget an ended job; AlreadyFinal does not apply, Conflict when it has not ended."""

    async def queue_length(self) -> int:
        """Jobs ready for a worker."""

    async def ping(self) -> None:
        """StoreUnavailable when the store does not answer."""

    async def close(self) -> None:
        """Let go of connections."""
