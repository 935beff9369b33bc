"""Two who want the same at the same moment, on a real Redis: exactly one gets it, and nothing is left over.

Both sides have stores (and so connections) of their own. FULL=1 runs all ten thousand rounds in two processes as well.
"""

import asyncio
import multiprocessing
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from multiprocessing.synchronize import Barrier
from typing import Any

import pytest
from builders import PROBLEM, age, new_job, plain, result_of

from orchestrator.domain import STAGES, Job
from orchestrator.errors import AlreadyFinal, JobNotFound, LeaseLost
from orchestrator.store import Idempotency
from orchestrator.store_redis import CLAIMS, LEASES, QUEUE, RedisStore
from scratch3d.contracts.jobs import State
from scratch3d.servicekit.errors import Conflict

CLAIM_ROUNDS, PER_JOB = 10_000, 500
PROCESS_ROUNDS = CLAIM_ROUNDS if os.environ.get("FULL") else 500
ROUNDS = 300
LEASE_S = 1000.0
REFUSALS = (LeaseLost, AlreadyFinal, Conflict, JobNotFound)

Stores = tuple[RedisStore, RedisStore]


@pytest.fixture
async def stores(redis_url: str) -> AsyncIterator[Stores]:
    """Two workers' stores."""
    pair = RedisStore(redis_url), RedisStore(redis_url)
    yield pair
    for store in pair:
        await store.close()


async def claimed(store: RedisStore, token: str = "t") -> Job:
    job = await store.claim(token, lease_s=LEASE_S, wait_s=5)
    assert job is not None
    return job


async def held_at(store: RedisStore, state: State) -> Job:
    """A job of its own that is held in a state."""
    await store.submit(new_job(), max_queued=5)
    job = await claimed(store)
    for stage in STAGES[: STAGES.index(state)]:
        assert job.state is stage
        job = await store.advance(job, result_of(job))
    return job


async def nothing_left(store: RedisStore) -> None:
    """Nobody holds or waits for anything."""
    assert await store.queue_length() == 0
    assert await plain(store).zcard(LEASES) == 0 and await plain(store).hlen(CLAIMS) == 0


# One job, two workers who both wait for it.


async def race_of_claims(stores: Stores, job: Job, rounds: int) -> Counter[int]:
    """The job is claimed and handed back `rounds` times; who won how often."""
    wins: Counter[int] = Counter()

    def ask(who: int) -> asyncio.Task[Job | None]:
        return asyncio.create_task(stores[who].claim(f"{job.id} {who} {wins[who]}", lease_s=LEASE_S, wait_s=5))

    asking = {ask(who): who for who in (0, 1)}
    await stores[0].submit(job, max_queued=1)
    while True:
        done, _ = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        answers = [(asking.pop(task), task.result()) for task in done]
        got = [(who, job) for who, job in answers if job]
        assert len(got) <= 1, "two workers hold one job"
        wins.update(who for who, _ in got)
        finished = wins.total() == rounds
        if not finished:
            # Both are asking again before the job is back in the queue.
            asking.update({ask(who): who for who, _ in answers})
            await asyncio.sleep(0)
        for who, held in got:
            assert held.id == job.id and held.attempt == wins.total(), "a claim that nobody saw"
            await (stores[who].fail(held, PROBLEM) if finished else stores[who].release(held))
        if finished:
            break
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    return wins


async def test_two_workers_one_job_ten_thousand_times(stores: Stores) -> None:
    wins: Counter[int] = Counter()
    for _ in range(CLAIM_ROUNDS // PER_JOB):
        job = new_job()
        wins += await race_of_claims(stores, job, PER_JOB)
        history = [event.type for event in await stores[0].events(job.id)]
        assert Counter(history) == {"submitted": 1, "claimed": PER_JOB, "requeued": PER_JOB - 1, "failed": 1}
        await nothing_left(stores[0])
    assert wins.total() == CLAIM_ROUNDS and min(wins[0], wins[1]) > 0


# Two different wishes about one held job.


async def outcome_of(work: Awaitable[Any], steps: int) -> str:
    """`done`, what a reaper found (`taken`, `nothing`), or the refusal; started after some turns of the loop."""
    for _ in range(steps):
        await asyncio.sleep(0)
    try:
        found = await work
    except REFUSALS as refusal:
        return type(refusal).__name__
    return {True: "taken", False: "nothing"}[bool(found)] if isinstance(found, tuple) else "done"


Wish = Callable[[RedisStore, Job], Awaitable[Any]]


def advance(store: RedisStore, job: Job) -> Awaitable[Any]:
    return store.advance(job, result_of(job))


def beat(store: RedisStore, job: Job) -> Awaitable[Any]:
    return store.beat(job, lease_s=LEASE_S, progress=1, phase=None)


def fail(store: RedisStore, job: Job) -> Awaitable[Any]:
    return store.fail(job, PROBLEM)


def release(store: RedisStore, job: Job) -> Awaitable[Any]:
    return store.release(job)


def ask(store: RedisStore, job: Job) -> Awaitable[Any]:
    return store.wait(job, "review")


def resume(store: RedisStore, job: Job) -> Awaitable[Any]:
    return store.resume(job.id)


def cancel(store: RedisStore, job: Job) -> Awaitable[Any]:
    return store.cancel(job.id)


def reap(store: RedisStore, _: Job) -> Awaitable[Any]:
    return store.reap()


MIDDLE, LAST = State.RECONSTRUCTING_3D, State.POST_PROCESSING
#: state, what is so at the start, two wishes, and how it may go; every way must have been seen.
RACES: dict[str, tuple[State, str, Wish, Wish, set[tuple[str, str]]]] = {
    "advance or cancel": (MIDDLE, "", advance, cancel, {("done", "done"), ("LeaseLost", "done")}),
    "complete or cancel": (LAST, "", advance, cancel, {("done", "AlreadyFinal"), ("LeaseLost", "done")}),
    "fail or cancel": (MIDDLE, "", fail, cancel, {("done", "AlreadyFinal"), ("LeaseLost", "done")}),
    "release or cancel": (MIDDLE, "", release, cancel, {("done", "done"), ("LeaseLost", "done")}),
    "wait or cancel": (MIDDLE, "", ask, cancel, {("done", "done"), ("LeaseLost", "done")}),
    "cancel twice": (MIDDLE, "", cancel, cancel, {("done", "AlreadyFinal"), ("AlreadyFinal", "done")}),
    "advance or reap": (MIDDLE, "late", advance, reap, {("done", "taken"), ("LeaseLost", "taken")}),
    "complete or reap": (LAST, "late", advance, reap, {("done", "nothing"), ("LeaseLost", "taken")}),
    "beat or reap": (MIDDLE, "late", beat, reap, {("done", "nothing"), ("LeaseLost", "taken")}),
    "release or reap": (MIDDLE, "late", release, reap, {("done", "nothing"), ("LeaseLost", "taken")}),
    "reap twice": (MIDDLE, "late", reap, reap, {("taken", "nothing"), ("nothing", "taken")}),
    "cancel or reap": (MIDDLE, "late", cancel, reap, {("done", "nothing"), ("done", "taken")}),
    "resume twice": (MIDDLE, "asked", resume, resume, {("done", "Conflict"), ("Conflict", "done")}),
    "resume or cancel": (MIDDLE, "asked", resume, cancel, {("done", "done"), ("Conflict", "done")}),
}


async def in_order(store: RedisStore, job_id: str) -> Job:
    """The job; it is held, queued, waiting or ended, one of these alone, and its history ends at most once."""
    job = await store.get(job_id)
    assert job is not None
    redis = plain(store)
    queued = (await redis.lrange(QUEUE, 0, -1)).count(job_id)
    leased, holders = await redis.zscore(LEASES, job_id), await redis.hgetall(CLAIMS)
    assert queued + bool(job.token) + bool(job.waiting_for) + job.is_final == 1
    assert (leased is not None) == bool(job.token) and holders == ({job.token: job_id} if job.token else {})
    kinds = [event.type for event in await store.events(job_id)]
    ends = [kind in {"completed", "failed"} for kind in kinds]
    assert sum(ends) == ends[-1] == job.is_final
    # Every change but a heartbeat's note is a version of its own.
    assert job.version == sum(kind not in {"submitted", "progress"} for kind in kinds)
    return job


@pytest.mark.parametrize("name", RACES)
async def test_one_of_two_wishes_is_done(stores: Stores, name: str) -> None:
    state, start, left, right, ways = RACES[name]
    one, two = stores
    seen: Counter[tuple[str, str]] = Counter()
    for number in range(ROUNDS):
        job = await held_at(one, state)
        if start == "late":
            await age(one, job.id)
        if start == "asked":
            await one.wait(job, "review")
        # Either side is first by turns, and by a different lead each time; now and then by so much that it is done,
        # because a Redis that does not get its processor sees both at once, and then always in the same order.
        turns = number // 2 % 13
        steps = (0, turns) if number % 2 else (turns, 0)
        works = outcome_of(left(one, job), steps[0]), outcome_of(right(two, job), steps[1])
        in_turn = works if number % 2 else works[::-1]
        first, second = [await work for work in in_turn] if turns == 12 else await asyncio.gather(*in_turn)
        way = (first, second) if number % 2 else (second, first)
        seen[way] += 1
        after = await in_order(one, job.id)
        done = [wish for wish, word in zip((left, right), way, strict=True) if word == "done"]
        code = "cancelled" if cancel in done else "broken" if fail in done else None
        assert (after.problem and after.problem.code) == code
        assert (state in after.results) == (advance in done) and after.losses == way.count("taken")
        if not after.is_final:
            await one.cancel(job.id)
    assert set(seen) == ways, seen
    await nothing_left(one)


# A claim and its job's cancel; one key twice.


async def test_claim_or_cancel(stores: Stores) -> None:
    one, two = stores
    taken = 0
    for number in range(ROUNDS):
        job = await two.submit(new_job(), max_queued=1)
        lead = number % 14  # the last two are whole ones
        early = await one.claim(f"{number}", lease_s=LEASE_S, wait_s=0) if lead == 13 else None
        cancelling = asyncio.create_task(two.cancel(job.id))
        for _ in range(lead):
            await asyncio.sleep(0)
        if lead == 12:
            await cancelling
        held = early or await one.claim(f"{number}", lease_s=LEASE_S, wait_s=0)
        ended = await cancelling
        assert ended.problem and ended.problem.code == "cancelled"
        assert ("claimed" in [event.type for event in await two.events(job.id)]) == (held is not None)
        if held:
            assert held.id == job.id
            for write in (beat, advance, release, fail):
                assert await outcome_of(write(one, held), 0) == "LeaseLost"
            taken += 1
        assert (await in_order(two, job.id)).is_final
        await nothing_left(two)
    assert 0 < taken < ROUNDS


async def test_one_key_twice_is_one_job(stores: Stores) -> None:
    one, two = stores
    for number in range(ROUNDS):
        key = Idempotency(key=f"k{number}", body_sha256="b")
        jobs = await asyncio.gather(*(s.submit(new_job(), max_queued=2, idempotency=key) for s in (one, two)))
        assert jobs[0].id == jobs[1].id and await one.queue_length() == 1
        await one.cancel(jobs[0].id)
    await nothing_left(one)


# The same in two processes.


def claim_until(url: str, who: int, rounds: int, start: Barrier, attempts: "multiprocessing.Queue[list[int]]") -> None:
    """Claim and hand back whatever comes, until the round is the last one; tell which attempts were ours."""

    async def live() -> list[int]:
        store, won = RedisStore(url), list[int]()
        await store.ping()
        await asyncio.to_thread(start.wait, 60)
        while not won or won[-1] < rounds:
            job = await store.claim(f"{who} {len(won)}", lease_s=LEASE_S, wait_s=1)
            if job is None and await store.queue_length() == 0 and await plain(store).zcard(LEASES) == 0:
                break
            if job:
                won.append(job.attempt)
                await (store.fail(job, PROBLEM) if job.attempt == rounds else store.release(job))
        await store.close()
        return won

    attempts.put(asyncio.run(live()))


@pytest.mark.timeout(600)
async def test_two_processes_one_job(stores: Stores, redis_url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    attempts: multiprocessing.Queue[list[int]] = spawn.Queue()
    job = await stores[0].submit(new_job(), max_queued=1)
    start = spawn.Barrier(2)
    workers = [
        spawn.Process(target=claim_until, args=(redis_url, who, PROCESS_ROUNDS, start, attempts)) for who in (0, 1)
    ]
    for worker in workers:
        worker.start()
    won = [await asyncio.to_thread(attempts.get, timeout=300) for _ in workers]
    for worker in workers:
        worker.join()
    assert sorted(won[0] + won[1]) == list(range(1, PROCESS_ROUNDS + 1)) and all(won)
    kept = await stores[0].get(job.id)
    assert kept and kept.is_final and (kept.attempt, kept.version) == (PROCESS_ROUNDS, 2 * PROCESS_ROUNDS)
    await nothing_left(stores[0])
