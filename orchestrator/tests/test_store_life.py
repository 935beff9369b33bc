"""Random lives of several jobs, led in lockstep by both stores and by a model made of the pure domain functions.

Every call does in both stores what the model says, or is refused in both with the same error; after every call the
three agree about every job, its history, the queue and the leases. FULL=1 leads ten times as many lives.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import hypothesis.strategies as st
import pytest
from builders import PROBLEM, age, new_job, result_of
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis.asyncio import Redis

from orchestrator.domain import (
    NEXT,
    ROAD,
    IllegalTransition,
    Job,
    StageResult,
    advanced,
    claimed,
    failed,
    requeued,
    resumed,
    told_as,
    waiting,
)
from orchestrator.errors import AlreadyFinal, JobNotFound, KeyReused, LeaseLost, QueueFull, TooManyJobs
from orchestrator.problems import CANCELLED
from orchestrator.redis_jobs import from_fields
from orchestrator.store import Idempotency
from orchestrator.store_memory import MemoryStore
from orchestrator.store_redis import CLAIMS, LEASES, QUEUE, RedisStore
from scratch3d.contracts.jobs import PROGRESS_AT, State
from scratch3d.contracts.problems import Problem
from scratch3d.servicekit.errors import Conflict

LIVES, STEPS, MAX_QUEUED = (600 if os.environ.get("FULL") else 60), 40, 3
FOREVER_S = 1000.0
some = st.integers(0, 1000)
OWNERS = st.sampled_from(["me", "you"])


class Model:
    """What a store does, said with the pure functions: plain dicts, and every job's kinds of events."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.queue: list[str] = []
        self.leases: dict[str, bool] = {}  # in order of the claims; True: it has ended
        self.keys: dict[tuple[str, str], tuple[str, str]] = {}
        self.history: dict[str, list[str]] = {}

    async def submit(
        self, job: Job, *, max_queued: int, max_unfinished: int = 0, idempotency: Idempotency | None = None
    ) -> Job:
        if idempotency:
            known, body = self.keys.get((job.owner, idempotency.key), ("", idempotency.body_sha256))
            if body != idempotency.body_sha256:
                raise KeyReused()
            if known in self.jobs:
                return self.jobs[known]
        if len(self.queue) >= max_queued:
            raise QueueFull()
        if max_unfinished and len(self.unfinished(job.owner)) >= max_unfinished:
            raise TooManyJobs()
        if idempotency:
            self.keys[job.owner, idempotency.key] = (job.id, idempotency.body_sha256)
        self.queue.append(job.id)
        return self.keep(job, "submitted")

    def unfinished(self, owner: str) -> set[str]:
        return {job.id for job in self.jobs.values() if job.owner == owner and not job.is_final}

    async def get(self, job_id: str) -> Job | None:
        return self.jobs.get(job_id)

    async def claim(self, token: str, *, lease_s: float, wait_s: float) -> Job | None:
        job_id = self.queue.pop(0)
        self.leases[job_id] = False
        return self.keep(claimed(self.jobs[job_id], token, 1.0), "claimed")

    async def beat(self, job: Job, *, lease_s: float, progress: int, phase: str | None) -> None:
        kept = self.held(job, same_version=False)
        self.leases[job.id] = False
        if progress > kept.progress or phase != kept.phase:
            noted = {"progress": max(progress, kept.progress), "phase": phase}
            self.keep(kept.model_copy(update=noted), "progress")

    async def advance(self, job: Job, result: StageResult) -> Job:
        following = advanced(self.held(job), result, 2.0)
        return self.keep(following, told_as(following, result))

    async def fail(self, job: Job, problem: Problem) -> Job:
        return self.keep(failed(self.held(job), problem, 3.0), "failed")

    async def release(self, job: Job) -> None:
        following = requeued(self.held(job))
        self.queue.insert(0, job.id)
        self.keep(following, "requeued")

    async def wait(self, job: Job, reason: str) -> Job:
        return self.keep(waiting(self.held(job), reason), "waiting")

    async def resume(self, job_id: str) -> Job:
        job = self.existing(job_id)
        try:
            following = resumed(job)
        except IllegalTransition:
            raise Conflict("") from None
        self.queue.append(job_id)
        return self.keep(following, "resumed")

    async def cancel(self, job_id: str) -> Job:
        job = self.existing(job_id)
        if job.is_final:
            raise AlreadyFinal()
        if job_id in self.queue:
            self.queue.remove(job_id)
        return self.keep(failed(job, CANCELLED, 3.0), "failed")

    async def reap(self) -> tuple[str, ...]:
        late = tuple(job_id for job_id, ended in self.leases.items() if ended)
        for job_id in reversed(late):
            self.queue.insert(0, job_id)
            self.keep(requeued(self.jobs[job_id], lost=True), "requeued")
        return late

    async def delete(self, job: Job) -> None:
        kept = self.jobs.get(job.id)
        if kept and not kept.is_final:
            raise Conflict("")
        self.jobs.pop(job.id, None)
        self.history.pop(job.id, None)

    def held(self, job: Job, *, same_version: bool = True) -> Job:
        kept = self.jobs.get(job.id)
        if not kept or not job.token or kept.token != job.token or (same_version and kept.version != job.version):
            raise LeaseLost(job.id)
        return kept

    def existing(self, job_id: str) -> Job:
        if job_id not in self.jobs:
            raise JobNotFound()
        return self.jobs[job_id]

    def keep(self, job: Job, kind: str) -> Job:
        if not job.token:
            self.leases.pop(job.id, None)
        self.jobs[job.id] = job
        self.history.setdefault(job.id, []).append(kind)
        return job


def told(outcome: Any) -> Any:
    """What must be equal everywhere: a job without its times of day, an error's kind, anything else as it is."""
    if isinstance(outcome, Job):
        fields = outcome.model_dump()
        return {name: value is not None if name.endswith("_at") else value for name, value in fields.items()}
    return type(outcome) if isinstance(outcome, Exception) else outcome


def answered(outcome: Any) -> Any:
    """The same for a caller's answer, whose copy need not know what heartbeats noted meanwhile."""
    return {**told(outcome), "progress": None} if isinstance(outcome, Job) else told(outcome)


class Lives(RuleBasedStateMachine):
    """Workers that come, fall silent and come back with old copies; owners who submit, answer, cancel and delete."""

    def __init__(self, redis_url: str) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.model, self.memory, self.redis = Model(), MemoryStore(), RedisStore(redis_url)
        self.raw = Redis.from_url(redis_url, decode_responses=True)
        self.homes: tuple[Any, ...] = (self.model, self.memory, self.redis)
        self.ids: list[str] = []
        self.tokens, self.refused = 0, False
        #: what workers believe they hold, one copy of each home; and all they ever believed
        self.copies: dict[str, tuple[Job, ...]] = {}
        self.old: list[tuple[Job, ...]] = []
        self.before: dict[str, Job] = {}

    def run(self, work: Awaitable[Any]) -> Any:
        return self.loop.run_until_complete(work)

    def act(self, call: Callable[[Any, int], Awaitable[Any]]) -> tuple[Any, ...] | None:
        """Do it in all homes; their answers when it was done, None when it was refused everywhere alike."""
        outcomes = self.run(self.everywhere(call))
        assert answered(outcomes[0]) == answered(outcomes[1]) == answered(outcomes[2])
        return None if isinstance(outcomes[0], Exception) else outcomes

    async def everywhere(self, call: Callable[[Any, int], Awaitable[Any]]) -> tuple[Any, ...]:
        outcomes: list[Any] = []
        for number, home in enumerate(self.homes):
            try:
                outcomes.append(await call(home, number))
            except (LeaseLost, JobNotFound, AlreadyFinal, Conflict, KeyReused, QueueFull, TooManyJobs) as error:
                outcomes.append(error)
        return tuple(outcomes)

    def believe(self, copies: tuple[Any, ...] | None) -> None:
        if copies:
            self.copies[copies[0].id] = copies
            if copies[0].token:
                self.old.append(copies)

    @initialize()
    def begin(self) -> None:
        self.run(self.raw.flushdb())
        self.submit("me", None, "b")
        self.submit("you", "k", "b")
        self.claim()

    @precondition(lambda self: len(self.model.queue) < MAX_QUEUED or not self.refused)
    @rule(
        owner=OWNERS,
        key=st.sampled_from([None, None, "k", "l"]),
        body=st.sampled_from(["b", "b", "c"]),
        cap=st.sampled_from([0, 0, 2]),
    )
    def submit(self, owner: str, key: str | None, body: str, cap: int = 0) -> None:
        job = new_job(owner=owner)
        once = Idempotency(key=key, body_sha256=body) if key else None
        wish = {"max_queued": MAX_QUEUED, "max_unfinished": cap, "idempotency": once}
        kept = self.act(lambda home, _: home.submit(job, **wish))
        self.refused = len(self.model.queue) >= MAX_QUEUED
        if kept and kept[0].id == job.id:
            self.ids.append(job.id)

    @precondition(lambda self: self.model.queue)
    @rule()
    def claim(self) -> None:
        self.tokens += 1
        token = f"token-{self.tokens}"
        self.believe(self.act(lambda home, _: home.claim(token, lease_s=FOREVER_S, wait_s=1)))

    @precondition(lambda self: self.model.queue)
    @rule()
    def claim_too(self) -> None:
        self.claim()

    @precondition(lambda self: self.model.leases)
    @rule(which=some, progress=some, phase=st.sampled_from([None, "sculpting", "painting"]))
    def beat(self, which: int, progress: int, phase: str | None) -> None:
        copies = self.copies[self.pick(list(self.model.leases), which)]
        state = copies[0].state
        # As a worker does: never beyond the present stage.
        end = PROGRESS_AT[ROAD[ROAD.index(state) + 1]]
        self.act(lambda home, n: home.beat(copies[n], lease_s=FOREVER_S, progress=progress % (end + 1), phase=phase))

    @precondition(lambda self: self.model.leases)
    @rule(which=some)
    def advance(self, which: int) -> None:
        self.write("advance", self.copies[self.pick(list(self.model.leases), which)])

    @precondition(lambda self: self.model.leases)
    @rule(which=some)
    def advance_too(self, which: int) -> None:
        self.advance(which)

    @precondition(lambda self: self.model.leases)
    @rule(which=some, name=st.sampled_from(["fail", "release", "wait", "wait"]))
    def let_go(self, which: int, name: str) -> None:
        self.write(name, self.copies[self.pick(list(self.model.leases), which)])

    @rule(which=some, name=st.sampled_from(["advance", "fail", "release", "wait", "beat"]))
    def come_back_with_an_old_copy(self, which: int, name: str) -> None:
        self.write(name, self.pick(self.old, which))

    @rule(which=some)
    def look(self, which: int) -> None:
        job_id = self.pick(list(self.copies), which)
        found = self.act(lambda home, _: home.get(job_id))
        if found and found[0]:
            self.believe(found)

    @rule(which=some)
    def cancel(self, which: int) -> None:
        job_id = self.pick(self.ids, which)
        self.act(lambda home, _: home.cancel(job_id))

    @precondition(lambda self: any(job.waiting_for for job in self.model.jobs.values()))
    @rule(which=some)
    def resume(self, which: int) -> None:
        asked = [job.id for job in self.model.jobs.values() if job.waiting_for]
        job_id = self.pick([*asked, *asked, *self.ids], which)
        self.act(lambda home, _: home.resume(job_id))

    @precondition(lambda self: self.model.leases)
    @rule(silent=st.sets(some, max_size=3))
    def reap(self, silent: set[int]) -> None:
        held = list(self.model.leases)
        late = [job_id for n, job_id in enumerate(held) if n in {s % len(held) for s in silent}]
        self.model.leases.update(dict.fromkeys(late, True))
        for store in (self.memory, self.redis):
            if late:
                self.run(age(store, *late))
        self.act(lambda home, _: home.reap())

    @precondition(lambda self: any(job.is_final for job in self.model.jobs.values()))
    @rule(which=some)
    def delete(self, which: int) -> None:
        ended = [job_id for job_id in self.ids if (job := self.model.jobs.get(job_id)) is None or job.is_final]
        job_id = self.pick([*ended, *ended, *self.ids], which)
        copy = self.model.jobs.get(job_id) or self.before[job_id]
        self.act(lambda home, _: home.delete(copy))

    @rule(owner=OWNERS, state=st.sampled_from([None, State.QUEUED, State.FAILED]))
    def page_through(self, owner: str, state: State | None) -> None:
        expected = {j.id for j in self.model.jobs.values() if j.owner == owner and state in (None, j.state)}
        for store in (self.memory, self.redis):
            found: list[str] = []
            cursor = None
            while True:
                page = self.run(store.page(owner, state=state, limit=2, cursor=cursor))
                found += [job.id for job in page.jobs]
                if (cursor := page.next_cursor) is None:
                    break
            assert set(found) == expected and len(found) == len(expected)

    def write(self, name: str, copies: tuple[Job, ...]) -> None:
        more: dict[str, Callable[[Job], Sequence[Any]]] = {
            "advance": lambda job: [result_of(job)],
            "fail": lambda _: [PROBLEM],
            "wait": lambda _: ["review"],
        }
        if name == "beat":
            self.act(lambda home, n: home.beat(copies[n], lease_s=FOREVER_S, progress=1, phase=None))
        elif copies[0].token:
            made = self.act(lambda home, n: getattr(home, name)(copies[n], *more.get(name, lambda _: [])(copies[n])))
            self.believe(made if made and made[0] else None)

    @staticmethod
    def pick(things: Sequence[Any], which: int) -> Any:
        return things[which % len(things)]

    @invariant()
    def all_three_agree(self) -> None:
        self.run(self.agree())

    async def agree(self) -> None:
        now = {}
        for job_id in self.ids:
            kept = await self.memory.get(job_id)
            fields: Any = await self.raw.hgetall(f"job:{job_id}")
            there = from_fields(fields) if fields else None
            assert told(kept) == told(there) == told(self.model.jobs.get(job_id))
            if kept and there:
                now[job_id] = there
                await self.histories(job_id)
        self.only_edges(now)
        self.before.update(now)
        queue: Any = await self.raw.lrange(QUEUE, 0, -1)
        places = {job_id: await self.memory.position(job_id) for job_id in self.ids}
        queued = {job_id: place for job_id, place in places.items() if place is not None}
        assert queue == self.model.queue == sorted(queued, key=queued.__getitem__)
        leases: Any = await self.raw.zrange(LEASES, 0, -1)
        assert set(leases) == set(self.model.leases) == set(self.memory._leases) and not set(leases) & set(queue)
        for owner in ("me", "you"):
            assert await self.raw.smembers(f"3d:unfinished:{owner}") == self.model.unfinished(owner)  # type: ignore[misc]
        claims: Any = await self.raw.hgetall(CLAIMS)
        assert claims == {job.token: job.id for job in now.values() if job.token}

    async def histories(self, job_id: str) -> None:
        ours, theirs = await self.memory.events(job_id), await self.redis.events(job_id)
        assert [e.type for e in ours] == [e.type for e in theirs] == self.model.history[job_id]
        for here, there in zip(ours, theirs, strict=True):
            assert here.model_dump(exclude={"id", "at"}) == there.model_dump(exclude={"id", "at"})
        assert [e.progress for e in theirs] == sorted(e.progress for e in theirs)

    def only_edges(self, now: dict[str, Job]) -> None:
        for job_id, job in now.items():
            last = self.before.get(job_id, job)
            assert job.state is last.state or job.state in NEXT[last.state]
            assert not last.is_final or job == last
            assert job.progress >= last.progress and job.version >= last.version
            same = job.model_copy(update={"progress": last.progress, "phase": last.phase})
            assert same == last or job.version > last.version
            assert not (job.token and (job.is_final or job.waiting_for))

    def teardown(self) -> None:
        self.run(self.raw.aclose())
        self.run(self.redis.close())
        self.loop.close()


@pytest.mark.timeout(1200)
def test_random_lives(redis_url: str) -> None:
    run_state_machine_as_test(
        lambda: Lives(redis_url),
        settings=settings(
            max_examples=LIVES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        ),
    )
