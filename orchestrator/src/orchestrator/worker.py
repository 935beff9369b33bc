"""Claim, heartbeat, run, release."""

import asyncio
import contextlib
import os
import socket
import time
import uuid
from collections.abc import Mapping
from types import MappingProxyType

from scratch3d.contracts.jobs import PROGRESS_AT, State
from scratch3d.contracts.problems import Problem
from scratch3d.servicekit.logging import bind, get_logger
from scratch3d.servicekit.metrics import JOBS_FINISHED, JOBS_TAKEN_BACK, STAGE_FAILURES, STAGE_RUNNING, STAGE_SECONDS
from scratch3d.slots import Slots, Turn

from .berth import Berth
from .domain import ROAD, STAGES, Job, StageResult
from .engines import Pool
from .errors import LeaseLost, StageFailed, StoreUnavailable
from .pipeline import Progress, Step, run
from .problems import attempts_exhausted, internal_error, job_too_late
from .settings import REAP_EVERY_S, Settings
from .store import JobStore

#: A heartbeat is sent at this share of the lease, so that two may be lost.
BEAT_SHARE = 1 / 4
#: How long to wait when the store is away.
STORE_PAUSE_S = 1.0
#: How often replicas that failed are asked whether they are well again.
PROBE_EVERY_S = 1.0

log = get_logger("worker")


class Worker:
    """Carries up to `worker_concurrency` jobs at a time until it is stopped; stopped, it hands its jobs back."""

    def __init__(
        self,
        store: JobStore,
        slots: Slots,
        steps: Mapping[State, Step],
        settings: Settings,
        pools: Mapping[State, Pool] = MappingProxyType({}),
    ) -> None:
        self.store, self.slots, self.steps, self.settings, self.pools = store, slots, steps, settings, pools
        self._trips: set[asyncio.Task[None]] = set()
        #: of claims that may hold a job
        self._tokens: set[str] = set()
        self.name = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"

    async def work(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._reap())
                group.create_task(self._probe())
                await self._take_up(group)
        finally:
            await asyncio.shield(self._hand_back())

    async def _take_up(self, group: asyncio.TaskGroup) -> None:
        """One claim at a time, however many jobs are carried: processes compete for jobs, not tasks."""
        free = asyncio.Semaphore(self.settings.worker_concurrency)
        while True:
            await free.acquire()
            job, berth = await self._claimed()
            trip = group.create_task(self._carry(job, berth))
            self._trips.add(trip)
            trip.add_done_callback(self._trips.discard)
            trip.add_done_callback(lambda _: free.release())
            if self._is_suspect(job):
                await asyncio.wait({trip})

    def _is_suspect(self, job: Job) -> bool:
        """Its workers fell silent, and this is its last try: it may be what silences them.

        Such a job is carried when nothing else is: it takes no other job along, and those that were only beside the
        culprit, carried alone in their turn, prove to be innocent.
        """
        return job.losses > 0 and job.losses == self.settings.max_attempts - 1

    async def _carry(self, job: Job, berth: Berth) -> None:
        await _Trip(self, job, berth).make()
        self._tokens.discard(job.token)

    async def _hand_back(self) -> None:
        """Stopped: claims that never became a trip, or were on their way to us, go back at once."""
        with contextlib.suppress(StoreUnavailable):
            for token in self._tokens:
                if job := await self.store.claimed(token):
                    with contextlib.suppress(LeaseLost):
                        await self.store.release(job)
                if pool := self.pools.get(STAGES[0]):
                    await self.slots.leave(Turn(pool=pool.name, ticket=token))

    async def _claimed(self) -> tuple[Job, Berth]:
        """The next job, and the berth in which it has asked for what its first stage needs."""
        # The same token until a job comes: a claim whose reply was lost is found again.
        token = uuid.uuid4().hex
        self._tokens.add(token)
        berth = Berth(self.slots, self.pools)
        while True:
            try:
                suspect_losses = self.settings.max_attempts - 1 or None if self._trips else None
                job = await self.store.claim(
                    token,
                    lease_s=self.settings.lease_s,
                    wait_s=5.0,
                    suspect_losses=suspect_losses,
                    ride=berth.ride_of_claim(STAGES[0], token),
                )
            except StoreUnavailable as error:
                log.warning("store_unavailable", reason=error.detail)
                await asyncio.sleep(STORE_PAUSE_S)
            except Exception as error:
                # Whatever Redis says that we did not foresee: a worker that ends would take its other jobs along.
                log.error("unexpected_error", exc_info=error)
                await asyncio.sleep(STORE_PAUSE_S)
            else:
                if job:
                    berth.arrived()
                    return job, berth

    async def _reap(self) -> None:
        while True:
            try:
                for job_id in await self.store.reap(by=self.name, present_s=5 * REAP_EVERY_S):
                    JOBS_TAKEN_BACK.inc()
                    log.warning("job_taken_back", job_id=job_id)
            except StoreUnavailable:
                pass  # whoever could not be looked for is found in the next round
            except Exception as error:
                # As above: the worker and its jobs must outlive what we did not foresee.
                log.error("unexpected_error", exc_info=error)
            await asyncio.sleep(REAP_EVERY_S)

    async def _probe(self) -> None:
        """Replicas that failed come back as soon as they answer again."""
        while True:
            clients = {pool.name: pool.client for pool in self.pools.values()}
            for name, url in await self.slots.away(tuple(clients)):
                if await clients[name].ready(url) == "ok":
                    await self.slots.welcome(name, url)
                    log.info("replica_returned", service=name, url=url)
            await asyncio.sleep(PROBE_EVERY_S)


async def stopped(work: "asyncio.Task[None]") -> None:
    """Cancel until it is done, and raise what it raised.

    In Python 3.11 `asyncio.wait_for` drops a cancel that comes in the turn of the loop in which its own future is done,
    and redis-py sends every command through it.
    """
    while not work.done():
        work.cancel()
        await asyncio.wait({work}, timeout=1.0)
    work.result()


class _Trip:
    """One claimed job on its way."""

    def __init__(self, worker: Worker, job: Job, berth: Berth) -> None:
        self.store, self.settings = worker.store, worker.settings
        self.steps = {state: _Noted(step, self) for state, step in worker.steps.items()}
        self.job, self.berth = job, berth
        self.stage = job.state
        self.fraction, self.phase = 0.0, ""
        self.lost = False

    async def make(self) -> None:
        """Carry the job to its end, or as far as it is ours."""
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
            if not self.berth.is_empty:
                await asyncio.shield(self.berth.leave())

    async def _run(self) -> None:
        try:
            if self.job.losses >= self.settings.max_attempts:
                raise StageFailed(attempts_exhausted(self.job.losses))
            self._finished(await self._in_time())
        except StageFailed as failure:
            await self._fail(failure.problem)
        except (LeaseLost, StoreUnavailable):
            raise
        except Exception as error:
            # A fault of ours must end this job, not this worker and the other jobs it carries.
            log.error("unexpected_error", exc_info=error)
            await self._fail(internal_error("the worker failed; its log has the reason"))

    async def _in_time(self) -> Job:
        """The finished job; StageFailed when its own deadline passes first."""
        # Both times are the store's, so that no worker's clock counts.
        spent = (self.job.claimed_at or 0.0) - (self.job.started_at or 0.0)
        limit_s = self.settings.job_deadline_s
        try:
            async with asyncio.timeout(max(0.0, limit_s - spent)) as patience:
                return await run(self.job, self.steps, self.store, self._progress, self.berth)
        except TimeoutError:
            if not patience.expired():
                raise
            raise StageFailed(job_too_late(limit_s)) from None

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

    async def _beat(self, trip: "asyncio.Task[None]") -> None:
        """Extend lease and slot, pass progress on (≤ 4 a second), and stop the trip when the job is not ours."""
        every_s = self.settings.lease_s * BEAT_SHARE
        due, said = time.monotonic() + every_s, (self._percent(), self.phase)
        async with self.store.guard(self.job.id) as watch:
            while True:
                stopped = await watch.wait(0.25)
                news = (self._percent(), self.phase)
                try:
                    if stopped:
                        await self._latest()
                    if news != said or time.monotonic() >= due:
                        await self.store.beat(
                            self.job,
                            lease_s=self.settings.lease_s,
                            progress=news[0],
                            phase=news[1] or None,
                            ride=self.berth.renewal(),
                        )
                        due, said = time.monotonic() + every_s, news
                except LeaseLost:
                    if not await self._completed():
                        self.lost = True
                        while not trip.done():
                            trip.cancel()  # again and again: see `stopped`
                            await asyncio.wait({trip}, timeout=0.5)
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

    async def call(self, job: Job, progress: Progress, berth: Berth) -> StageResult:
        self.trip.enter(job.state)
        with STAGE_RUNNING.labels(job.state.value).track_inprogress():
            result = await self.step.call(job, progress, berth)
        STAGE_SECONDS.labels(job.state.value, result.engine).observe(result.duration_s)
        log.info("stage_finished", stage=job.state, engine=result.engine, duration_s=result.duration_s)
        return result
