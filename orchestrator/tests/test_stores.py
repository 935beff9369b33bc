"""One suite over both homes of jobs."""

import asyncio
import time

import pytest
from builders import age, new_job

from orchestrator.domain import STAGES, Job, StageResult
from orchestrator.errors import AlreadyFinal, JobNotFound, KeyReused, LeaseLost, QueueFull, TooManyJobs
from orchestrator.store import Feed, Idempotency, JobStore
from orchestrator.store_redis import RedisStore
from scratch3d.contracts.artifacts import ArtifactRef
from scratch3d.contracts.jobs import State
from scratch3d.contracts.problems import Problem
from scratch3d.servicekit.errors import Conflict
from scratch3d.slots import MemorySlots, RedisSlots, Slots

REF = ArtifactRef(key="outputs/x/1/model.glb", media_type="model/gltf-binary", size_bytes=3, sha256="0" * 64)
PROBLEM = Problem(title="Broken", status=500, code="broken", detail="it broke")


def result(stage: State, **more: object) -> StageResult:
    outputs = [{"name": "model.glb", "role": "asset", "format": "glb", "ref": REF.model_dump(), "primary": True}]
    value = {"outputs": outputs} if stage is State.POST_PROCESSING else {}
    given = {"engine": "e", "engine_version": "1", "inputs_sha256": "s", "started_at": 1.0, "duration_s": 0.5}
    return StageResult.model_validate({**given, "value": value, "warnings": (f"note of {stage}",), **more})


async def claim(store: JobStore, lease_s: float = 10, token: str | None = None) -> Job:
    job = await store.claim(token or f"token-{time.monotonic_ns()}", lease_s=lease_s, wait_s=2)
    assert job is not None
    return job


async def test_a_job_walks_the_road_and_its_history_tells_it(store: JobStore) -> None:
    job = await store.submit(new_job(), max_queued=10)
    assert await store.position(job.id) == 0
    held = await claim(store)
    assert (held.id, held.state, held.attempt) == (job.id, State.GENERATING_IMAGES, 1)
    assert await store.position(job.id) is None
    for stage in STAGES:
        assert held.state is stage
        held = await store.advance(held, result(stage))
    assert held.state is State.COMPLETED and held.asset and held.asset.ref == REF
    kept = await store.get(job.id)
    assert kept == held
    assert kept.warnings == tuple(f"note of {stage}" for stage in STAGES)
    history = await store.events(job.id)
    assert [e.type for e in history] == ["submitted", "claimed", "stage", "stage", "completed"]
    assert [e.progress for e in history] == sorted(e.progress for e in history)
    assert [e.type for e in await store.events(job.id, after=history[2].id)] == ["stage", "completed"]


async def test_first_in_first_out_and_nothing_to_claim(store: JobStore) -> None:
    ids = [(await store.submit(new_job(), max_queued=10)).id for _ in range(3)]
    assert [await store.position(i) for i in ids] == [0, 1, 2]
    assert [(await claim(store)).id for _ in ids] == ids
    assert await store.claim("late", lease_s=1, wait_s=0.2) is None


async def test_full_queue_refuses_before_keeping(store: JobStore) -> None:
    await store.submit(new_job(), max_queued=1)
    refused = new_job()
    with pytest.raises(QueueFull):
        await store.submit(refused, max_queued=1)
    assert await store.get(refused.id) is None


async def test_idempotency_key_means_one_job(store: JobStore) -> None:
    key = Idempotency(key="k", body_sha256="b")
    jobs = await asyncio.gather(*(store.submit(new_job(), max_queued=200, idempotency=key) for _ in range(30)))
    assert len({j.id for j in jobs}) == 1 and await store.queue_length() == 1
    with pytest.raises(KeyReused):
        await store.submit(new_job(), max_queued=200, idempotency=Idempotency(key="k", body_sha256="other"))
    assert (await store.submit(new_job(owner="you"), max_queued=200, idempotency=key)).id != jobs[0].id


async def test_claim_repeated_after_a_lost_reply_is_the_same_claim(store: JobStore) -> None:
    if type(store).__name__ == "MemoryStore":
        return  # nothing is ever lost between a caller and its own memory
    await store.submit(new_job(), max_queued=10)
    await store.submit(new_job(), max_queued=10)
    first, again = await claim(store, token="t"), await claim(store, token="t")
    assert first == again


async def test_zombies_write_nothing(store: JobStore) -> None:
    await store.submit(new_job(), max_queued=10)
    zombie = await claim(store, lease_s=0.2)
    await asyncio.sleep(0.3)
    assert await store.reap() == (zombie.id,)
    heir = await claim(store)
    assert (heir.id, heir.attempt, heir.losses) == (zombie.id, 2, 1) and heir.state is State.GENERATING_IMAGES
    for write in (
        store.advance(zombie, result(State.GENERATING_IMAGES)),
        store.fail(zombie, PROBLEM),
        store.release(zombie),
        store.beat(zombie, lease_s=5, progress=50, phase=None),
    ):
        with pytest.raises(LeaseLost):
            await write
    assert (await store.advance(heir, result(State.GENERATING_IMAGES))).state is State.RECONSTRUCTING_3D


async def test_taken_back_job_goes_on_where_it_stood_and_first(store: JobStore) -> None:
    await store.submit(new_job(), max_queued=10)
    later = await store.submit(new_job(), max_queued=10)
    held = await store.advance(await claim(store), result(State.GENERATING_IMAGES))
    await store.release(held)
    heir = await claim(store)
    assert heir.id == held.id and heir.state is State.RECONSTRUCTING_3D and heir.losses == 0
    assert State.GENERATING_IMAGES in heir.results
    assert (await claim(store)).id == later.id


async def test_old_version_is_refused(store: JobStore) -> None:
    await store.submit(new_job(), max_queued=10)
    held = await claim(store)
    await store.advance(held, result(State.GENERATING_IMAGES))
    with pytest.raises(LeaseLost):
        await store.advance(held, result(State.GENERATING_IMAGES))


async def test_progress_never_goes_back_and_keeps_the_lease(store: JobStore) -> None:
    job = await store.submit(new_job(), max_queued=10)
    held = await claim(store, lease_s=0.4)
    for progress in (10, 25, 20):
        await asyncio.sleep(0.2)
        await store.beat(held, lease_s=0.4, progress=progress, phase="p")
    assert await store.reap() == ()
    kept = await store.get(job.id)
    assert kept is not None and kept.progress == 25 and kept.phase == "p"
    assert (await store.advance(held, result(State.GENERATING_IMAGES))).state is State.RECONSTRUCTING_3D


@pytest.mark.parametrize("stages", range(4))
async def test_cancel_in_every_state(store: JobStore, stages: int) -> None:
    job = await store.submit(new_job(), max_queued=10)
    held = await claim(store) if stages else job
    for stage in STAGES[: max(0, stages - 1)]:
        held = await store.advance(held, result(stage))
    ended = await store.cancel(job.id)
    assert ended.state is State.FAILED and ended.problem and ended.problem.code == "cancelled"
    with pytest.raises(AlreadyFinal):
        await store.cancel(job.id)
    assert await store.claim("late", lease_s=1, wait_s=0.2) is None
    if stages:
        with pytest.raises(LeaseLost):
            await store.beat(held, lease_s=1, progress=1, phase=None)
        with pytest.raises(LeaseLost):
            await store.advance(held, result(held.state))


async def test_a_waiting_job_is_left_alone_until_it_is_resumed(store: JobStore) -> None:
    job = await store.submit(new_job(), max_queued=10)
    held = await claim(store, lease_s=0.2)
    waits = await store.wait(held, "review")
    assert waits.waiting_for == "review" and waits.state is State.GENERATING_IMAGES
    await asyncio.sleep(0.3)
    assert await store.reap() == () and await store.claim("t", lease_s=1, wait_s=0.2) is None
    with pytest.raises(LeaseLost):
        await store.advance(held, result(State.GENERATING_IMAGES))
    await store.resume(job.id)
    with pytest.raises(Conflict):
        await store.resume(job.id)
    again = await claim(store)
    assert (again.id, again.attempt, again.waiting_for) == (job.id, 2, None)
    await store.wait(again, "review")
    assert (await store.cancel(job.id)).state is State.FAILED
    assert [e.type for e in await store.events(job.id)][2:] == ["waiting", "resumed", "claimed", "waiting", "failed"]


async def test_failure_names_stage_and_job(store: JobStore) -> None:
    job = await store.submit(new_job(), max_queued=10)
    await store.fail(await claim(store), PROBLEM)
    kept = await store.get(job.id)
    assert kept is not None and kept.problem is not None
    assert (kept.problem.stage, kept.problem.job_id) == ("generating_images", job.id)


async def test_pages_are_newest_first_and_of_one_owner(store: JobStore) -> None:
    ids = []
    for _ in range(5):
        ids.append((await store.submit(new_job(), max_queued=10)).id)
        await asyncio.sleep(0.003)
    await store.submit(new_job(owner="you"), max_queued=10)
    first = await store.page("me", state=None, limit=3, cursor=None)
    rest = await store.page("me", state=None, limit=3, cursor=first.next_cursor)
    assert [j.id for j in (*first.jobs, *rest.jobs)] == ids[::-1] and rest.next_cursor is None
    await store.cancel(ids[2])
    assert [j.id for j in (await store.page("me", state=State.FAILED, limit=5, cursor=None)).jobs] == [ids[2]]


async def test_delete_forgets_ended_jobs_only(store: JobStore) -> None:
    job = await store.submit(new_job(), max_queued=10)
    with pytest.raises(Conflict):
        await store.delete(job)
    await store.delete(await store.cancel(job.id))
    assert await store.get(job.id) is None
    with pytest.raises(JobNotFound):
        await store.cancel(job.id)


async def test_watch_wakes_on_change(store: JobStore) -> None:
    job = await store.submit(new_job(), max_queued=10)
    async with store.watch(job.id) as watch:
        await watch.news(0.2)  # a fresh subscription may wake once for what happened before
        assert not await watch.news(0.2)
        await store.cancel(job.id)
        assert [event.type for event in await watch.news(2)] == ["failed"]


async def test_blocked_claims_are_woken_one_job_each(store: JobStore) -> None:
    waiting = [asyncio.create_task(store.claim(f"t{n}", lease_s=5, wait_s=3)) for n in range(3)]
    await asyncio.sleep(0.2)
    ids = {(await store.submit(new_job(), max_queued=10)).id for _ in range(2)}
    done = [job.id for job in await asyncio.gather(*waiting) if job]
    assert set(done) == ids and len(done) == 2


async def test_a_suspect_is_left_for_a_worker_that_carries_nothing_else(store: JobStore) -> None:
    suspect = await store.submit(new_job(), max_queued=10)
    behind = await store.submit(new_job(), max_queued=10)
    for _ in range(2):
        held = await claim(store)
        await age(store, held.id)
        await store.reap()
    assert await store.claim("busy", lease_s=5, wait_s=0.2, suspect_losses=2) is None
    assert await store.position(suspect.id) == 0
    assert (await claim(store)).id == suspect.id
    found = await store.claim("busy", lease_s=5, wait_s=0.2, suspect_losses=2)
    assert found and found.id == behind.id


async def test_an_owner_has_a_cap_and_a_batch_is_kept_whole_or_not(store: JobStore) -> None:
    jobs = [new_job() for _ in range(3)]
    with pytest.raises(TooManyJobs):
        await store.submit_all(jobs, max_queued=10, max_unfinished=2)
    with pytest.raises(QueueFull):
        await store.submit_all(jobs, max_queued=2)
    assert await store.queue_length() == 0 and await store.get(jobs[0].id) is None
    key = Idempotency(key="k", body_sha256="b")
    kept = await store.submit_all(jobs, max_queued=10, max_unfinished=3, idempotency=key)
    again = await store.submit_all([new_job() for _ in range(3)], max_queued=10, max_unfinished=3, idempotency=key)
    assert [job.id for job in again] == [job.id for job in kept] == list(await store.remember("me", key))
    await store.cancel(jobs[0].id)
    await store.submit(new_job(), max_queued=10, max_unfinished=3)


async def test_the_pace_is_the_mean_of_what_ran(store: JobStore) -> None:
    await store.submit(new_job(), max_queued=10)
    held = await claim(store)
    held = await store.advance(held, result(State.GENERATING_IMAGES).model_copy(update={"duration_s": 4.0}))
    skipped = result(State.RECONSTRUCTING_3D).model_copy(update={"duration_s": 99.0, "skipped": True})
    held = await store.advance(held, skipped, result(State.POST_PROCESSING).model_copy(update={"duration_s": 1.0}))
    assert held.state is State.COMPLETED
    assert await store.pace() == {State.GENERATING_IMAGES: 4.0, State.POST_PROCESSING: 1.0}
    assert [e.type for e in await store.events(held.id)] == ["submitted", "claimed", "stage", "skipped", "completed"]


async def test_events_of_an_owner_are_one_history(store: JobStore) -> None:
    begin = await store.last_event()
    mine = [(await store.submit(new_job(), max_queued=10)).id for _ in range(2)]
    await store.submit(new_job(owner="you"), max_queued=10)
    await store.cancel(mine[0])
    told = await store.owner_events("me", after=begin)
    assert [(e.job_id, e.type) for e in told] == [(mine[0], "submitted"), (mine[1], "submitted"), (mine[0], "failed")]
    assert [e.id for e in await store.owner_events("me", after=told[1].id)] == [told[2].id]
    assert [e.id for e in await store.events(mine[0])] == [told[0].id, told[2].id]


async def test_a_reader_that_falls_behind_is_told_of_the_gap(store: JobStore) -> None:
    job = await store.submit(new_job(), max_queued=10)
    held = await claim(store)
    async with store.watch(job.id) as feed:
        await feed.news(0.3)
        for number in range(Feed.MAX_WAITING + 10):
            await store.beat(held, lease_s=5, progress=5, phase=f"step {number}")
        seen = 0
        while news := await feed.news(0.3):
            seen += len(news)
        assert seen < Feed.MAX_WAITING
    assert len(await store.events(job.id)) > Feed.MAX_WAITING


@pytest.mark.parametrize("waits", [False, True])
async def test_a_claim_takes_a_ride_along_if_there_is_a_job(store: JobStore, waits: bool) -> None:
    slots: Slots = RedisSlots(store.wire) if isinstance(store, RedisStore) else MemorySlots()
    idle = slots.ride(None, "pool", ["http://a"], ticket="idle")
    assert await store.claim("idle", lease_s=5, wait_s=0.3 if waits else 0, ride=idle) is None
    ride = slots.ride(None, "pool", ["http://a"], ticket="busy")
    if not waits:
        await store.submit(new_job(), max_queued=10)
    claiming = asyncio.create_task(store.claim("busy", lease_s=5, wait_s=5 if waits else 0, ride=ride))
    await asyncio.sleep(0.1)
    if waits:
        await store.submit(new_job(), max_queued=10)
    assert await claiming
    assert ride.turn and ride.turn.grant and ride.turn.grant.url == "http://a", "nobody who has no job stands in line"


async def test_a_claim_that_was_given_up_while_it_waited_takes_nothing(store: JobStore) -> None:
    waiting = asyncio.create_task(store.claim("gone", lease_s=5, wait_s=5))
    await asyncio.sleep(0.1)
    waiting.cancel()
    await asyncio.wait({waiting})
    assert await store.claimed("gone") is None
    job = await store.submit(new_job(), max_queued=10)
    found = await store.claim("heir", lease_s=5, wait_s=2)
    assert found and found.id == job.id and await store.claimed("gone") is None
