"""Claim, heartbeat, run, release."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Mapping

from scratch3d.contracts.jobs import PROGRESS_AT, State
from scratch3d.contracts.problems import Problem
from scratch3d.servicekit.logging import bind, get_logger
from scratch3d.servicekit.metrics import JOBS_FINISHED, STAGE_FAILURES, STAGE_SECONDS
from scratch3d.slots import Grant, Slots

from .domain import ROAD, Job, StageResult
from .errors import LeaseLost, StageFailed, StoreUnavailable
from .pipeline import Holding, Progress, Step, run
from .problems import attempts_exhausted, internal_error
from .settings import Settings
from .store import JobStore

#: A heartbeat is sent at this share of the lease, so that two may be lost.
BEAT_SHARE = 1 / 4
#: How often jobs of silent workers are looked for, and how long to wait when the store is away.
REAP_EVERY_S, STORE_PAUSE_S = 2.0, 1.0

log = get_logger("worker")


class Worker:
    """Carries up to `worker_concurrency` jobs at a time until it is stopped; stopped, it hands its jobs back."""

    def __init__(self, store: JobStore, slots: Slots, steps: Mapping[State, Step], settings: Settings) -> None:
        self.store, self.slots, self.steps, self.settings = store, slots, steps, settings

    async def work(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._reap())
            for _ in range(self.settings.worker_concurrency):
                group.create_task(self._carry())

    async def _carry(self) -> None:
        while True:
            try:
                job = await self.store.claim(uuid.uuid4().hex, lease_s=self.settings.lease_s, wait_s=5.0)
            except StoreUnavailable as error:
                log.warning("store_unavailable", reason=error.detail)
                await asyncio.sleep(STORE_PAUSE_S)
                continue
            if job:
                await asyncio.create_task(_Trip(self, job).make())

    async def _reap(self) -> None:
        while True:
            with contextlib.suppress(StoreUnavailable):
                for job_id in await self.store.reap():
                    log.warning("job_taken_back", job_id=job_id)
            await asyncio.sleep(REAP_EVERY_S)


class _Trip:
    """One claimed job on its way."""

    def __init__(self, worker: Worker, job: Job) -> None:
        self.store, self.slots, self.settings = worker.store, worker.slots, worker.settings
        self.steps = {state: _Noted(step, self) for state, step in worker.steps.items()}
        self.job = job
        self.stage = job.state
        self.fraction, self.phase = 0.0, ""
        self.grant: Grant | None = None
        self.lost = False

    async def make(self) -> None:
        bind(job_id=self.job.id)
        log.info("job_claimed", state=self.job.state, attempt=self.job.attempt)
        trip = asyncio.current_task()
        assert trip is not None
        heartbeat = asyncio.create_task(self._beat(trip))
        try:
            await self._run()
        except LeaseLost:
            log.warning("job_lost", why="it ended, or another worker holds it")
        except asyncio.CancelledError:
            if self.lost:
                log.info("job_stopped", why="it ended, or another worker holds it")
                return
            # The worker is being stopped: somebody else goes on at once.
            with contextlib.suppress(LeaseLost, StoreUnavailable):
                await asyncio.shield(self.store.release(await self._latest()))
            raise
        except StoreUnavailable as error:
            log.warning("store_unavailable", reason=error.detail)  # the lease ends, and the job is taken up again
        finally:
            heartbeat.cancel()

    async def _run(self) -> None:
        try:
            if self.job.losses >= self.settings.max_attempts:
                raise StageFailed(attempts_exhausted(self.job.losses))
            done = await run(self.job, self.steps, self.store, self._progress, self._holding)
            self._finished(done)
        except StageFailed as failure:
            await self._fail(failure.problem)
        except (LeaseLost, StoreUnavailable):
            raise
        except Exception as error:
            # A fault of ours must end this job, not this worker and the other jobs it carries.
            log.error("unexpected_error", exc_info=error)
            await self._fail(internal_error("the worker failed; its log has the reason"))

    async def _fail(self, problem: Problem) -> None:
        STAGE_FAILURES.labels(self.stage.value, problem.code).inc()
        log.warning("stage_failed", stage=self.stage, code=problem.code, detail=problem.detail)
        self._finished(await self.store.fail(await self._latest(), problem))

    def _finished(self, job: Job) -> None:
        JOBS_FINISHED.labels(job.state.value, job.problem.code if job.problem else "").inc()
        log.info("job_finished", state=job.state, duration_s=round(time.time() - job.created_at, 3))

    async def _latest(self) -> Job:
        """The job as it stands, if it is still ours."""
        kept = await self.store.get(self.job.id)
        if kept is None or kept.token != self.job.token:
            raise LeaseLost(self.job.id)
        return kept

    async def _completed(self) -> bool:
        """The job is complete: nobody else completes a job we hold, so the trip is about to end by itself."""
        try:
            kept = await self.store.get(self.job.id)
        except StoreUnavailable:
            return False
        return kept is not None and kept.state is State.COMPLETED

    def _progress(self, fraction: float, phase: str) -> None:
        self.fraction, self.phase = fraction, phase

    def enter(self, stage: State) -> None:
        """A stage begins."""
        self.stage, self.fraction, self.phase = stage, 0.0, ""

    def _holding(self, grant: Grant | None) -> None:
        self.grant = grant

    async def _beat(self, trip: "asyncio.Task[None]") -> None:
        """Extend lease and slot, pass progress on (≤ 4 a second), and stop the trip when the job is not ours."""
        due, said = time.monotonic(), (-1, "")
        async with self.store.watch(self.job.id) as watch:
            while True:
                news = (self._percent(), self.phase)
                changed = await watch.wait(0.25)
                if not changed and news == said and time.monotonic() < due:
                    continue
                try:
                    # Our own notes wake us too; they cost one more round trip, four times a second at most.
                    if news != said or time.monotonic() >= due:
                        await self.store.beat(
                            self.job, lease_s=self.settings.lease_s, progress=news[0], phase=news[1] or None
                        )
                        due, said = time.monotonic() + self.settings.lease_s * BEAT_SHARE, news
                        if self.grant:
                            await self.slots.renew(self.grant)
                    elif changed:
                        await self._latest()
                except LeaseLost:
                    if not await self._completed():
                        self.lost = True
                        trip.cancel()
                    return
                except StoreUnavailable:
                    await asyncio.sleep(0.25)

    def _percent(self) -> int:
        begin = PROGRESS_AT[self.stage]
        end = PROGRESS_AT[ROAD[ROAD.index(self.stage) + 1]]
        return min(int(begin + (end - begin) * self.fraction), 99)


class _Noted:
    """A step that tells the trip where it is, and counts."""

    def __init__(self, step: Step, trip: _Trip) -> None:
        self.step, self.trip = step, trip

    async def call(self, job: Job, progress: Progress, holding: Holding) -> StageResult:
        self.trip.enter(job.state)
        result = await self.step.call(job, progress, holding)
        STAGE_SECONDS.labels(job.state.value, result.engine).observe(result.duration_s)
        log.info("stage_finished", stage=job.state, engine=result.engine, duration_s=result.duration_s)
        return result
