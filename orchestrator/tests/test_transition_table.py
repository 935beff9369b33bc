"""Every state × every operation, on both stores: what is legal does exactly what the domain says, all else is refused
and changes nothing."""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from builders import PROBLEM, new_job, plain, result_of

from orchestrator.domain import (
    STAGES,
    IllegalTransition,
    Job,
    advanced,
    claimed,
    failed,
    requeued,
    resumed,
    waiting,
)
from orchestrator.errors import AlreadyFinal, JobNotFound, LeaseLost
from orchestrator.problems import CANCELLED
from orchestrator.store import JobStore
from orchestrator.store_memory import MemoryStore
from orchestrator.store_redis import RedisStore
from scratch3d.contracts.jobs import State
from scratch3d.servicekit.errors import Conflict

LEASE_S = 1000.0


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A job in a store, as its present or last holder knows it, and as an earlier holder does."""

    own: Job
    old: Job


async def standing(store: JobStore, name: str) -> Standing:
    """A job in the named state; once before, somebody held it."""
    job = await store.submit(new_job(), max_queued=9)
    if name == "queued":
        return Standing(own=job, old=job)
    old = await taken(store, "earlier")
    await store.release(old)
    if name == "handed back":
        return Standing(own=await present(store, job.id), old=old)
    own = await taken(store, "present")
    if name == "waiting":
        return Standing(own=await store.wait(own, "review"), old=old)
    for stage in STAGES[: {"reconstructing": 1, "finishing": 2, "completed": 3, "gone": 3}.get(name, 0)]:
        assert own.state is stage
        own = await store.advance(own, result_of(own))
    if name == "failed":
        own = await store.fail(own, PROBLEM)
    if name == "gone":
        await store.delete(own)
    return Standing(own=own, old=old)


async def taken(store: JobStore, token: str) -> Job:
    job = await store.claim(token, lease_s=LEASE_S, wait_s=0.1)
    assert job
    return job


async def present(store: JobStore, job_id: str) -> Job:
    job = await store.get(job_id)
    assert job
    return job


Operation = Callable[[JobStore, Job], Awaitable[Any]]
#: What a holder does with its copy, what anybody does by id; and what the domain makes of the job.
WRITES: dict[str, tuple[Operation, Callable[[Job], Job], str]] = {
    "advance": (lambda s, j: s.advance(j, result_of(j)), lambda j: advanced(j, result_of(j), 2.0), "stage"),
    "fail": (lambda s, j: s.fail(j, PROBLEM), lambda j: failed(j, PROBLEM, 2.0), "failed"),
    "release": (lambda s, j: s.release(j), requeued, "requeued"),
    "wait": (lambda s, j: s.wait(j, "review"), lambda j: waiting(j, "review"), "waiting"),
    "beat": (
        lambda s, j: s.beat(j, lease_s=LEASE_S, progress=99, phase="p"),
        lambda j: j.model_copy(update={"progress": 99, "phase": "p"}),
        "progress",
    ),
}
ASKED: dict[str, tuple[Operation, Callable[[Job], Job], str]] = {
    "claim": (
        lambda s, _: s.claim("newcomer", lease_s=LEASE_S, wait_s=0),
        lambda j: claimed(j, "newcomer", 1.0),
        "claimed",
    ),
    "cancel": (lambda s, j: s.cancel(j.id), lambda j: failed(j, CANCELLED, 2.0), "failed"),
    "resume": (lambda s, j: s.resume(j.id), resumed, "resumed"),
}
HELD = {"advance", "fail", "release", "wait", "beat", "cancel"}
#: state → what is legal there, and how the rest is refused.
TABLE: dict[str, tuple[set[str], dict[str, type[Exception]]]] = {
    "queued": ({"claim", "cancel"}, {"resume": Conflict}),
    "generating": (HELD, {"resume": Conflict}),
    "reconstructing": (HELD, {"resume": Conflict}),
    "finishing": (HELD, {"resume": Conflict}),
    "handed back": ({"claim", "cancel"}, {"resume": Conflict}),
    "waiting": ({"resume", "cancel"}, {}),
    "completed": (set(), {"resume": Conflict, "cancel": AlreadyFinal}),
    "failed": (set(), {"resume": Conflict, "cancel": AlreadyFinal}),
    "gone": (set(), {"resume": JobNotFound, "cancel": JobNotFound}),
}


async def dump(store: JobStore) -> dict[str, Any]:
    """Everything that is kept."""
    if isinstance(store, MemoryStore):
        kinds = (dict, deque, set, int)
        return {name: repr(value) for name, value in vars(store).items() if isinstance(value, kinds)}
    assert isinstance(store, RedisStore)
    redis, kept = plain(store), dict[str, Any]()
    async for key in redis.scan_iter("*"):
        read = {
            "hash": lambda k: redis.hgetall(k),
            "list": lambda k: redis.lrange(k, 0, -1),
            "zset": lambda k: redis.zrange(k, 0, -1, withscores=True),
            "set": lambda k: redis.smembers(k),
            "stream": lambda k: redis.xrange(k),
            "string": lambda k: redis.get(k),
        }[await redis.type(key)]
        kept[key] = await read(key)
    return kept


def timeless(job: Job | None) -> Any:
    """A job without the times of day it was changed at."""
    return job and {n: v is not None if n.endswith("_at") else v for n, v in job.model_dump().items()}


async def refused(store: JobStore, job: Job, operation: Operation, kinds: tuple[type[Exception], ...]) -> None:
    before = await dump(store)
    with pytest.raises(kinds):
        await operation(store, job)
    assert await dump(store) == before


@pytest.fixture
async def other(store: JobStore) -> AsyncIterator[Job]:
    """Another job, which nothing here may touch; it is held, so that nobody can claim it."""
    await store.submit(new_job(), max_queued=9)
    job = await taken(store, "other")
    history = await store.events(job.id)
    yield job
    assert await present(store, job.id) == job and await store.events(job.id) == history


@pytest.mark.parametrize("operation", [*WRITES, *ASKED])
@pytest.mark.parametrize("name", TABLE)
async def test_every_state_and_operation(store: JobStore, other: Job, name: str, operation: str) -> None:
    legal, refusals = TABLE[name]
    stand = await standing(store, name)
    act, change, kind = {**WRITES, **ASKED}[operation]
    if operation in WRITES:
        # An earlier holder writes nothing, whatever the state; a copy that says that nobody holds the job is no licence.
        errors = (LeaseLost,) if stand.old.token else (LeaseLost, IllegalTransition)
        await refused(store, stand.old, act, errors)
    if operation not in legal:
        if operation == "claim":
            before = await dump(store)
            assert await act(store, stand.own) is None and await dump(store) == before
        else:
            await refused(store, stand.own, act, (refusals.get(operation, LeaseLost), IllegalTransition))
        return
    history = await store.events(stand.own.id)
    expected = change(stand.own)
    await act(store, stand.own)
    kept = await present(store, stand.own.id)
    assert timeless(kept) == timeless(expected)
    kind = "completed" if kept.state is State.COMPLETED else kind
    added = (await store.events(kept.id))[len(history) :]
    assert [(event.type, event.state, event.progress) for event in added] == [(kind, kept.state, kept.progress)]
    free = not kept.is_final and not kept.token and not kept.waiting_for
    assert await store.position(kept.id) == (0 if free else None) and await store.queue_length() == free
    # The same once more is not done twice.
    if operation not in {"beat", "claim"}:
        await refused(store, stand.own, act, (LeaseLost, AlreadyFinal, Conflict))


@pytest.mark.parametrize("name", TABLE)
async def test_delete_and_reap_in_every_state(store: JobStore, other: Job, name: str) -> None:
    stand = await standing(store, name)
    before = await dump(store)
    assert await store.reap() == () and await dump(store) == before
    if name in {"completed", "failed", "gone"}:
        await store.delete(stand.own)
        assert await store.get(stand.own.id) is None and not await store.events(stand.own.id)
        assert not any(stand.own.id in key for key in await dump(store))
        after = await dump(store)
        await store.delete(stand.own)
        assert await dump(store) == after
    else:
        await refused(store, stand.own, lambda s, j: s.delete(j), (Conflict,))
