"""When a job will be done, from how long its stages took."""

import pytest
from builders import new_job, result_of

from orchestrator.domain import STAGES, Job
from orchestrator.engines import Engines, Pool
from orchestrator.outlook import Outlook
from orchestrator.store_memory import MemoryStore
from scratch3d.contracts.jobs import State
from scratch3d.slots import MemorySlots

PACE = {State.GENERATING_IMAGES: 8.0, State.RECONSTRUCTING_3D: 2.0, State.POST_PROCESSING: 4.0}


def engines(replicas: int) -> Engines:
    pool = Pool(name="p", client=None, urls=tuple(f"http://{n}" for n in range(replicas)))  # type: ignore[arg-type]
    return Engines(dict.fromkeys(STAGES, pool), MemorySlots())


async def measured(store: MemoryStore) -> None:
    await store.submit(new_job(), max_queued=1)
    held = await store.claim("t", lease_s=9, wait_s=1)
    assert held
    for stage in STAGES:
        held = await store.advance(held, result_of(held).model_copy(update={"duration_s": PACE[stage]}))


async def queued(store: MemoryStore, count: int) -> list[Job]:
    return [await store.submit(new_job(), max_queued=99) for _ in range(count)]


async def test_nothing_is_promised_before_anything_was_measured() -> None:
    store = MemoryStore()
    (job,) = await queued(store, 1)
    assert await Outlook(store, engines(1)).of(job) == (0, None)


@pytest.mark.parametrize(("replicas", "interval_s"), [(1, 8.0), (4, 2.0)])
async def test_the_narrowest_stage_sets_the_pace(replicas: int, interval_s: float) -> None:
    store = MemoryStore()
    await measured(store)
    jobs = await queued(store, 3)
    outlook = Outlook(store, engines(replicas))
    assert [await outlook.of(job) for job in jobs] == [(n, n * interval_s + 14.0) for n in range(3)]
    assert await outlook.next_place_s() == interval_s


async def test_what_is_done_or_kept_does_not_count() -> None:
    store = MemoryStore()
    await measured(store)
    (job,) = await queued(store, 1)
    held = await store.claim("t", lease_s=9, wait_s=1)
    assert held and held.id == job.id
    outlook = Outlook(store, engines(1))
    await store.beat(held, lease_s=9, progress=27, phase=None)
    half = await store.get(job.id)
    assert half and await outlook.of(half) == (None, 6.0)
    following = await store.advance(held, result_of(held))
    assert await outlook.of(following) == (None, 6.0)
    assert await outlook.of(await store.cancel(job.id)) == (None, None)
