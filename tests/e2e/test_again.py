"""Jobs that go on from others: retry, replay, batches; and everything that is asked for twice."""

import json
import os
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import httpx
import psutil
import pytest

from conftest import Mesh, MeshThread, ended, until
from scratch3d.client import ApiError, Client
from scratch3d.contracts.jobs import JobStatus, State
from scratch3d.up.supervisor import free_port


@pytest.fixture(scope="module")
def done(mesh: Mesh) -> JobStatus:
    with Client(mesh.url) as client:
        return ended(client, client.generate("a red cube on a wooden table", quality_tier="fast", seed=7).job_id)


def keys_of(status: JobStatus) -> dict[str, str]:
    return {output.name: output.sha256 for output in status.outputs}


def test_replay_of_the_last_stage_keeps_views_and_mesh(mesh: Mesh, client: Client, done: JobStatus) -> None:
    heir = client.replay(done.job_id, "post_processing", output_format="obj", target_faces=500)
    again = ended(client, heir.job_id)
    assert again.state is State.COMPLETED and again.parent == done.job_id
    assert [stage.skipped for stage in again.stages] == [True, True, False]
    assert [e.type for e in client.events(again.job_id)][:4] == ["submitted", "claimed", "skipped", "skipped"]
    assert again.asset_path and again.asset_path.endswith("model.obj")
    before, after = keys_of(done), keys_of(again)
    assert {n: s for n, s in before.items() if n.startswith("views/") or n == "raw.glb"}.items() <= after.items()
    report = json.loads(
        client.download(again.job_id, mesh.data_dir / "report.json", artifact="report.json").read_text()
    )
    assert report["faces"] <= 500
    # The heir's files are its own: deleting the parent leaves them.
    for output in again.outputs:
        assert httpx.get(f"{mesh.url}{output.url}").status_code == 200
    for folder in ("inputs", "outputs"):
        assert (mesh.data_dir / folder / again.job_id).is_dir()


def test_replay_of_the_mesh_takes_another_resolution(client: Client, done: JobStatus) -> None:
    again = ended(client, client.replay(done.job_id, "reconstructing_3d", quality_tier="balanced").job_id)
    assert again.state is State.COMPLETED and [stage.skipped for stage in again.stages] == [True, False, False]
    assert keys_of(again)["raw.glb"] != keys_of(done)["raw.glb"]


def test_replay_of_everything_with_the_same_seed_is_the_same_model(client: Client, done: JobStatus) -> None:
    again = ended(client, client.replay(done.job_id, "generating_images").job_id)
    assert keys_of(again)["model.glb"] == keys_of(done)["model.glb"]
    other = ended(client, client.replay(done.job_id, "generating_images", prompt="a green ball").job_id)
    assert keys_of(other)["model.glb"] != keys_of(done)["model.glb"] and other.request["prompt"] == "a green ball"


@pytest.mark.parametrize(
    ("stage", "changes", "field", "word"),
    [
        ("post_processing", {"engine": "inflate"}, "engine", "replay from reconstructing_3d"),
        ("post_processing", {"prompt": "a ball"}, "prompt", "replay from generating_images"),
        ("reconstructing_3d", {"engine": "inflate"}, "engine", "generating_images"),
        ("reconstructing_3d", {"engine": "nonsense"}, "engine", "there is no engine"),
        ("generating_images", {"prompt": "a dragon"}, "prompt", "names nothing"),
        ("generating_images", {"matting_engine": "auto"}, "matting_engine", "not permitted"),
        ("queued", {}, "from", "generating_images"),
        ("post_processing", {"target_faces": 3}, "target_faces", "100"),
    ],
)
def test_replays_that_cannot_be_are_refused(
    client: Client, done: JobStatus, stage: str, changes: dict[str, object], field: str, word: str
) -> None:
    with pytest.raises(ApiError) as refused:
        client.replay(done.job_id, stage, **changes)
    assert refused.value.problem.status == 422, refused.value.problem
    assert refused.value.problem.errors[0].field == field and word in refused.value.problem.detail


def test_retry_goes_on_where_it_failed(mesh: Mesh, client: Client, done: JobStatus) -> None:
    with pytest.raises(ApiError) as refused:
        client.retry(done.job_id)
    assert refused.value.problem.code == "not_failed"
    engine = next(c for c in _children(mesh, "postprocess-service") if c.cmdline()[-1] == "trimesh")
    engine.suspend()
    job_id = client.generate("a red cube", quality_tier="fast").job_id
    until(lambda: client.status(job_id).state is State.POST_PROCESSING)
    client.cancel(job_id)
    engine.resume()
    heir = ended(client, client.retry(job_id, idempotency_key="once-more").job_id)
    assert heir.state is State.COMPLETED and heir.parent == job_id
    assert [stage.skipped for stage in heir.stages] == [True, True, False]
    assert client.retry(job_id, idempotency_key="once-more").job_id == heir.job_id
    client.delete(job_id)
    assert not (mesh.data_dir / "outputs" / job_id).exists()
    assert httpx.get(f"{mesh.url}{next(o.url for o in heir.outputs if o.name == 'raw.glb')}").status_code == 200


def test_uploaded_pictures_travel_with_the_replay(mesh: Mesh, client: Client, done: JobStatus, tmp_path: Path) -> None:
    front = client.download(done.job_id, tmp_path / "front.png", artifact="views/front.png")
    first = ended(client, client.from_image([front], quality_tier="fast").job_id)
    heir = ended(client, client.replay(first.job_id, "generating_images", quality_tier="auto").job_id)
    assert heir.state is State.COMPLETED, heir.problem
    client.delete(first.job_id)
    last = ended(client, client.replay(heir.job_id, "reconstructing_3d", engine_options={"back": "plain"}).job_id)
    assert last.state is State.COMPLETED, last.problem


def test_a_batch_is_accepted_whole_or_not_at_all(client: Client, http: httpx.Client) -> None:
    before = len(client.jobs(limit=100).jobs)
    wishes = [{"prompt": f"a {colour} cube", "quality_tier": "fast"} for colour in ("red", "blue", "tan")]
    refused = http.post("/3d/batch", json={"requests": [*wishes, {"prompt": "a dragon"}]})
    assert refused.status_code == 422 and refused.json()["errors"][0]["field"] == "requests[3].prompt"
    refused = http.post(
        "/3d/batch", json={"requests": [wishes[0], {"prompt": "a cube", "viws": 3}, {"image_paths": []}]}
    )
    assert next(e["field"] for e in refused.json()["errors"]) == "requests[1].viws" and refused.status_code == 422
    assert http.post("/3d/batch", json={"requests": []}).status_code == 422
    assert len(client.jobs(limit=100).jobs) == before
    accepted = client.batch(wishes, idempotency_key="batch-1")
    assert client.batch(wishes, idempotency_key="batch-1") == accepted and len(accepted.jobs) == 3
    assert [ended(client, job.job_id).request["prompt"] for job in accepted.jobs] == [w["prompt"] for w in wishes]


def test_a_key_means_one_thing(client: Client, http: httpx.Client, done: JobStatus) -> None:
    key = {"Idempotency-Key": uuid.uuid4().hex}
    first = http.post("/3d/generate", json={"prompt": "a cube"}, headers=key)
    assert http.post("/3d/generate", json={"prompt": "a cube"}, headers=key).json() == first.json()
    for path, body in (
        ("/3d/generate", {"prompt": "a ball"}),
        ("/3d/batch", {"requests": [{"prompt": "a cube"}]}),
        (f"/3d/jobs/{done.job_id}/replay", {"from": "post_processing"}),
    ):
        other = http.post(path, json=body, headers=key)
        assert other.status_code == 422 and other.json()["code"] == "idempotency_key_reused", path
    job_id = first.json()["job_id"]
    stop = {"Idempotency-Key": uuid.uuid4().hex}
    cancelled = http.post(f"/3d/jobs/{job_id}/cancel", headers=stop)
    assert cancelled.status_code == 200
    assert http.post(f"/3d/jobs/{job_id}/cancel", headers=stop).json()["state"] == "failed"
    assert http.post(f"/3d/jobs/{job_id}/cancel").status_code == 409


def test_events_of_all_jobs_in_one_stream(mesh: Mesh, client: Client) -> None:
    seen: list[tuple[str, str]] = []
    ids: list[str] = []
    connected = threading.Event()

    def listen() -> None:
        with httpx.stream("GET", f"{mesh.url}/3d/events", timeout=60) as stream:
            connected.set()
            for line in stream.iter_lines():
                if line.startswith("id:"):
                    ids.append(line[3:].strip())
                if line.startswith("data:"):
                    event = json.loads(line[5:])
                    seen.append((event["job_id"], event["type"]))
                    if sum(kind == "completed" for _, kind in seen) == 2:
                        return

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    assert connected.wait(10)
    jobs = [job.job_id for job in client.batch([{"prompt": "a cube", "quality_tier": "fast"}] * 2).jobs]
    listener.join(60)
    for job_id in jobs:
        history = [event.type for event in client.events(job_id)]
        assert [kind for one, kind in seen if one == job_id][: len(history)] == history
    with httpx.stream("GET", f"{mesh.url}/3d/events", headers={"Last-Event-ID": ids[-2]}, timeout=10) as stream:
        assert next(line for line in stream.iter_lines() if line.startswith("id:"))[3:].strip() == ids[-1]


def test_status_says_when_it_will_be_done_and_metrics_say_how_things_stand(
    mesh: Mesh, client: Client, done: JobStatus
) -> None:
    os.kill(mesh.pid("worker"), 19)
    try:
        waiting = [client.generate("a cube", quality_tier="fast").job_id for _ in range(3)]
        found = [client.status(job_id) for job_id in waiting]
        assert [status.queue_position for status in found] == [0, 1, 2]
        etas = [status.eta_s for status in found]
        assert all(eta is not None and eta > 0 for eta in etas) and etas == sorted(etas)  # type: ignore[type-var]
        text = httpx.get(f"{mesh.url}/metrics").text
        assert "scratch3d_queue_length 3.0" in text and "scratch3d_workers 1.0" in text
        assert 'scratch3d_slots{pool="postprocess-service",state="all"} 1.0' in text
    finally:
        os.kill(mesh.pid("worker"), 18)
    assert all(ended(client, job_id).state is State.COMPLETED for job_id in waiting)


def test_one_key_cannot_fill_the_queue_and_replicas_announce_themselves(tmp_path: Path) -> None:
    settings = {
        "MAX_PER_KEY": "2",
        "AUTH": "required",
        "API_KEYS": "first,second",
        "REPLICA_TOKEN": "between us",
    }
    thread = MeshThread(tmp_path / "volumes", leave_out=("worker",), settings=settings)
    with thread as mesh, Client(mesh.url, api_key="first") as first, Client(mesh.url, api_key="second") as second:
        for _ in range(2):
            first.generate("a cube")
        with pytest.raises(ApiError) as refused:
            first.generate("a cube")
        problem = refused.value.problem
        assert (problem.status, problem.code) == (429, "too_many_jobs") and problem.retry_after_s
        second.generate("a cube")
        first.cancel(first.jobs().jobs[0].job_id)
        first.generate("a cube")
        told = {"service": "postprocess-service", "url": "http://127.0.0.1:9", "rank": 3}
        announce = f"{mesh.url}/internal/replicas"
        assert httpx.put(announce, json=told).status_code == 401
        assert httpx.put(announce, json=told, headers={"Authorization": "Bearer wrong"}).status_code == 401
        good = {"Authorization": "Bearer between us"}
        assert httpx.put(announce, json={**told, "url": "ftp://x"}, headers=good).status_code == 422
        assert httpx.put(announce, json=told, headers=good).status_code == 204
        every = 'scratch3d_slots{pool="postprocess-service",state="all"}'
        assert f"{every} 2.0" in httpx.get(f"{mesh.url}/metrics").text
        assert httpx.put(announce, json={**told, "lease_s": 0}, headers=good).status_code == 204
        assert f"{every} 1.0" in httpx.get(f"{mesh.url}/metrics").text
        # A real replica does all that by itself, and says when it leaves.
        port = free_port()
        mine = {"PORT": str(port), "ADVERTISE_URL": f"http://127.0.0.1:{port}", "REGISTER_AT": mesh.url}
        shared = {"DATA_DIR": str(mesh.data_dir), "REPLICA_TOKEN": "between us"}
        replica = subprocess.Popen(
            [sys.executable, "-m", "postprocess_service"],
            env={**os.environ, **shared, **mine},
            stderr=subprocess.DEVNULL,
        )
        try:
            until(lambda: f"{every} 2.0" in httpx.get(f"{mesh.url}/metrics").text, 60)
        finally:
            replica.terminate()
        until(lambda: f"{every} 1.0" in httpx.get(f"{mesh.url}/metrics").text, 10)
        replica.wait(10)


def _children(mesh: Mesh, part: str) -> list[psutil.Process]:
    return psutil.Process(mesh.pid(part)).children()
