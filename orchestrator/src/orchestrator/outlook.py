"""How long a job has still to go, from how long its stages took lately."""

import time
from collections.abc import Mapping

from scratch3d.contracts.jobs import PROGRESS_AT, State

from .domain import ROAD, STAGES, Job
from .engines import Engines
from .store import JobStore

#: The measured means change slowly; they are read again after this time.
FRESH_S = 2.0
#: What a refused client is told to wait, at least and at most.
WAIT_MIN_S, WAIT_MAX_S = 1.0, 60.0


class Outlook:
    """Remembers the store's means for a moment."""

    def __init__(self, store: JobStore, engines: Engines) -> None:
        self._store, self._engines = store, engines
        self._pace: Mapping[State, float] = {}
        self._until = 0.0

    async def of(self, job: Job) -> tuple[int | None, float | None]:
        """Jobs before this one while it waits, and the seconds until it is likely done."""
        if job.is_final or job.waiting_for:
            return None, None
        position = await self._store.position(job.id) if job.state is State.QUEUED else None
        pace = await self._means()
        to_run = [stage for stage in job.remaining() or STAGES if stage not in job.results]
        if any(stage not in pace for stage in to_run):
            return position, None
        left_s = sum(pace[stage] for stage in to_run)
        if job.state in to_run:
            left_s -= pace[job.state] * _done(job)
        return position, round((position or 0) * self._interval_s(pace) + left_s, 1)

    async def next_place_s(self) -> float:
        """Seconds until a place in the queue is likely free."""
        return min(max(self._interval_s(await self._means()), WAIT_MIN_S), WAIT_MAX_S)

    async def _means(self) -> Mapping[State, float]:
        if time.monotonic() >= self._until:
            self._pace = await self._store.pace()
            self._until = time.monotonic() + FRESH_S
        return self._pace

    def _interval_s(self, pace: Mapping[State, float]) -> float:
        """Time between two jobs that are done: that of the narrowest stage."""
        return max((pace[s] / max(1, self._engines.replica_count(s)) for s in STAGES if s in pace), default=WAIT_MIN_S)


def _done(job: Job) -> float:
    begin, end = PROGRESS_AT[job.state], PROGRESS_AT[ROAD[ROAD.index(job.state) + 1]]
    return min(max((job.progress - begin) / (end - begin), 0.0), 1.0)
