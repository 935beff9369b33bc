"""Releases that follow each other on one Redis (F22): jobs of earlier and of later ones, queued and in the middle."""

import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import httpx
import invariants
import psutil
import pytest
import redis
from processes import Mesh, Reply, until
from stub_files import glb, png

from orchestrator.domain import SCHEMA, Job
from orchestrator.problems import CANCELLED
from orchestrator.redis_jobs import from_fields
from orchestrator.store_redis import RedisStore

Fields = dict[str, str]
#: The end of a job, as every release must come to it.
LASTING = ("state", "stage", "message", "progress", "attempt", "losses", "asset_path", "error_code", "engines")
#: What the oldest job may have been without.
LEAST = ("id", "schema", "owner", "kind", "request", "plan", "state", "version", "created_at", "token")
WAITING = ("queued", "generating_images", "reconstructing_3d", "post_processing")


@dataclass(frozen=True)
class History:
    """A job of an earlier release: its hash after every change, and what it told."""

    name: str
    hashes: list[Fields]
    events: list[dict[str, Any]]

    @property
    def final(self) -> Fields:
        return self.hashes[-1]


def _read(path: Path) -> History:
    recorded = json.loads(path.read_text())
    hashes: list[Fields] = list(accumulate(recorded["changes"], lambda before, changes: {**before, **changes}))
    return History(path.stem, hashes, recorded["events"])


HISTORIES = [_read(path) for path in sorted((Path(__file__).parent / "histories").glob("*.json"))]
COMPLETED = next(history for history in HISTORIES if history.name.endswith("-completed"))


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with Mesh(tmp_path_factory.mktemp("deploy"), settings={"LEASE_S": "2"}) as running:
        yield running
        invariants.check(running)


def put(mesh: Mesh, fields: Fields) -> str:
    """A job of another release, under a new id, as that release kept it: queued, or held by a worker that is gone."""
    job_id = str(uuid.uuid4())
    mine: Fields = json.loads(json.dumps(fields).replace(fields["id"], job_id))
    # Recorded long ago: without this, the job's own deadline would be over.
    mine |= {name: repr(time.time()) for name in ("created_at", "started_at") if mine.get(name)}
    _restore_files(mesh, mine)
    with mesh.redis() as connection:
        connection.hset(f"job:{job_id}", mapping=mine)
        connection.zadd(f"3d:jobs:{mine['owner']}", {job_id: int(time.time() * 1000)})
        event = {"type": "submitted", "state": "queued", "message": "Waiting for a worker", "progress": 0}
        connection.xadd(f"job:{job_id}:events", {"event": json.dumps(event)})
        if mine["token"]:
            connection.hset("3d:claims", mine["token"], job_id)
            connection.zadd("3d:leases", {job_id: 1})
        else:
            connection.rpush("3d:queue", job_id)
    if mine.get("attempt", "0") == "0":
        mesh.log.append(Reply(at=time.time(), seconds=0.0, path="", key=None, status=202, body={"job_id": job_id}))
    else:
        mesh.deleted.add(job_id)  # its history is not whole: the invariants leave it out
    return job_id


def _restore_files(mesh: Mesh, fields: Fields) -> None:
    """The stub engines' files are the same each time."""
    for result in json.loads(fields.get("results") or "{}").values():
        for ref in result["artifacts"]:
            path = mesh.data_dir / ref["key"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png() if path.suffix == ".png" else glb(seed=7))


def ended(mesh: Mesh, job_id: str, timeout_s: float = 30) -> Fields:
    until(lambda: mesh.state(job_id) in {"completed", "failed"}, timeout_s, what=f"end of {job_id}")
    return mesh.fields(job_id)


# -- jobs of an earlier release ----------------------------------------------------------------------------------


@pytest.mark.parametrize("history", HISTORIES, ids=lambda history: history.name)
async def test_a_recorded_history_comes_to_the_same_end(redis_url: str, history: History) -> None:
    store = RedisStore(redis_url)
    with redis.Redis.from_url(redis_url, decode_responses=True) as connection:
        job_id = history.final["id"]
        connection.hset(f"job:{job_id}", mapping=history.hashes[0])
        connection.rpush("3d:queue", job_id)
        recorded = from_fields(history.final)
        for event in history.events:
            await _walk(store, connection, recorded, event)
        kept: Any = connection.hgetall(f"job:{job_id}")
    await store.close()
    for name in LASTING:
        assert kept.get(name, "") == history.final[name], name
    now = from_fields(kept)
    for name in ("request", "plan", "results", "outputs", "problem", "warnings"):
        assert getattr(now, name) == getattr(recorded, name), name


async def _walk(store: RedisStore, connection: Any, recorded: Job, event: dict[str, Any]) -> None:
    """One event of the recorded job, made to happen again."""
    job = await store.get(recorded.id)
    assert job is not None
    kind = event["type"]
    if kind == "claimed":
        assert await store.claim(f"token-{job.attempt}", lease_s=9, wait_s=1)
    elif kind == "progress":
        await store.beat(job, lease_s=9, progress=event["progress"], phase=event["phase"])
    elif kind in {"stage", "skipped", "completed"}:
        await store.advance(job, recorded.results[job.state])
    elif kind == "requeued" and recorded.losses:
        connection.zadd("3d:leases", {job.id: 1})
        assert await store.reap() == (job.id,)
    elif kind == "requeued":
        await store.release(job)
    elif kind == "failed" and recorded.problem and recorded.problem.code == CANCELLED.code:
        await store.cancel(job.id)
    elif kind == "failed":
        assert recorded.problem is not None
        await store.fail(job, recorded.problem)


def test_jobs_of_an_earlier_release_are_carried_on_from_where_they_stand(mesh: Mesh) -> None:
    """Queued, held by a worker of that release that is gone, or handed back: all end, with one more attempt."""
    before = {put(mesh, fields): fields for history in HISTORIES for fields in history.hashes[:-1]}
    for job_id, fields in before.items():
        done = ended(mesh, job_id, 60)
        assert done["state"] == "completed", (fields["state"], done.get("problem"))
        assert int(done["attempt"]) == int(fields["attempt"]) + 1
        assert int(done["losses"]) == int(fields["losses"]) + bool(fields["token"])
        before_it = from_fields(json.loads(json.dumps(fields).replace(fields["id"], job_id)))
        now = from_fields(done)
        assert before_it.results.items() <= now.results.items(), "what was finished must not be done again"


def test_an_ended_job_of_an_earlier_release_is_shown_and_deleted(mesh: Mesh) -> None:
    for history in HISTORIES:
        job_id = put(mesh, history.final)
        shown = mesh.status(job_id)
        assert shown["state"] == history.final["state"] and shown["attempt"] == int(history.final["attempt"])
        assert (shown["asset_path"] or "").replace(job_id, history.final["id"]) == history.final["asset_path"]
        assert job_id in {job["job_id"] for job in mesh.get("/3d/jobs?limit=100").json()["jobs"]}
        assert httpx.delete(f"{mesh.url}/3d/jobs/{job_id}", trust_env=False).status_code == 204
        assert not mesh.fields(job_id)


def test_a_job_without_the_newer_fields_is_carried_on(mesh: Mesh) -> None:
    fields = {name: COMPLETED.hashes[0][name] for name in LEAST}
    job_id = put(mesh, fields)
    assert ended(mesh, job_id)["state"] == "completed"


# -- jobs of a later release -------------------------------------------------------------------------------------


def test_fields_of_a_later_release_survive(mesh: Mesh) -> None:
    """The same schema with more in it: a worker that does not know the fields leaves them as they are."""
    fields = dict(COMPLETED.hashes[0])
    plan, more = json.loads(fields["plan"]), {"mood": "fine", "thoughts": json.dumps(["one", "two"])}
    fields |= {**more, "plan": json.dumps({**plan, "patience": 3})}
    job_id = put(mesh, fields)
    done = ended(mesh, job_id)
    assert done["state"] == "completed", done.get("problem")
    assert {name: done[name] for name in more} == more
    assert json.loads(done["plan"])["patience"] == 3


def test_what_a_later_release_put_into_results_is_tolerated(mesh: Mesh) -> None:
    jobs = []
    for fields in COMPLETED.hashes[2:-1]:
        results = json.loads(fields["results"])
        for result in results.values():
            result["energy_j"] = 5.0
            result["value"]["hue"] = "teal"
        jobs.append(put(mesh, fields | {"token": "", "results": json.dumps(results)}))
    assert len(jobs) == 2
    for job_id in jobs:
        assert ended(mesh, job_id)["state"] == "completed"


def test_an_option_of_a_later_release_does_not_fail_the_job(mesh: Mesh) -> None:
    """A newer API next to an older worker: an option that this worker does not know has no effect on what it does."""
    request = {**json.loads(COMPLETED.hashes[0]["request"]), "sparkle": True}
    job_id = put(mesh, COMPLETED.hashes[0] | {"request": json.dumps(request)})
    done = ended(mesh, job_id)
    assert done["state"] == "completed", done.get("problem")
    assert json.loads(done["request"])["sparkle"] is True


def test_jobs_of_a_newer_schema_are_left_for_a_newer_worker(mesh: Mesh) -> None:
    newer = {"schema": str(SCHEMA + 1), "token": "", "dreams": "many"}
    states = {hash_["state"]: put(mesh, hash_ | newer) for hash_ in COMPLETED.hashes[:-1]}
    assert tuple(states) == WAITING
    before = [mesh.fields(job_id) for job_id in states.values()]
    for behind in [mesh.submit().job_id for _ in range(3)]:
        assert ended(mesh, behind)["state"] == "completed", "jobs behind them must not wait for them"
    assert [mesh.fields(job_id) for job_id in states.values()] == before
    with mesh.redis() as connection:
        assert connection.lrange("3d:queue", 0, -1) == list(states.values())
        for state, job_id in states.items():
            assert mesh.status(job_id)["state"] == state
            # A newer worker comes: the same job, as far as this one can tell.
            connection.hset(f"job:{job_id}", "schema", str(SCHEMA))
    for job_id in states.values():
        done = ended(mesh, job_id)
        assert done["state"] == "completed" and done["dreams"] == "many"


def test_a_worker_with_nothing_but_newer_jobs_is_idle(mesh: Mesh) -> None:
    newer = [put(mesh, COMPLETED.hashes[0] | {"schema": str(SCHEMA + 1)}) for _ in range(5)]
    worker = psutil.Process(mesh.pid("worker-1"))
    spent, began = sum(worker.cpu_times()[:2]), time.monotonic()
    done = mesh.submit().job_id
    assert ended(mesh, done)["state"] == "completed"
    until(lambda: time.monotonic() > began + 2)
    assert sum(worker.cpu_times()[:2]) - spent < 1.0, "it asks for them again and again"
    for job_id in newer:
        assert mesh.cancel(job_id) == 200
        assert mesh.fields(job_id)["error_code"] == "cancelled"


def test_a_newer_job_whose_worker_died_goes_back_to_the_queue_whole(mesh: Mesh) -> None:
    fields = next(dict(hash_) for hash_ in COMPLETED.hashes if hash_["state"] == "reconstructing_3d")
    fields |= {"schema": str(SCHEMA + 1), "token": "of-a-newer-worker", "dreams": "many"}
    job_id = put(mesh, fields)
    with mesh.redis() as connection:
        until(lambda: connection.lrange("3d:queue", 0, -1) == [job_id], what="return to the queue")
    found = mesh.fields(job_id)
    assert found["state"] == "reconstructing_3d" and not found["token"] and found["dreams"] == "many"
    assert json.loads(found["results"]) == json.loads(fields["results"].replace(fields["id"], job_id))
    assert mesh.cancel(job_id) == 200
