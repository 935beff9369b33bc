"""What happens when something dies, leaves, or is stopped: every job ends once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from conftest import Mesh, MeshThread, ended, until
from scratch3d.client import Client
from scratch3d.contracts.jobs import State
from scratch3d.up.supervisor import Part

SERVICE_OF = {
    State.GENERATING_IMAGES: "image-service",
    State.RECONSTRUCTING_3D: "reconstruction-service",
    State.POST_PROCESSING: "postprocess-service",
}


ENGINE_OF = {
    State.GENERATING_IMAGES: "procedural",
    State.RECONSTRUCTING_3D: "visual-hull",
    State.POST_PROCESSING: "trimesh",
}


def engine_of(mesh: Mesh, state: State) -> psutil.Process:
    """The engine's process behind a stage."""
    children = psutil.Process(mesh.pid(SERVICE_OF[state])).children()
    return next(c for c in children if c.cmdline()[-1] == ENGINE_OF[state])


def ends_of(client: Client, job_id: str) -> list[str]:
    return [e.type for e in client.events(job_id) if e.type in {"completed", "failed"}]


def held_in(mesh: Mesh, client: Client, state: State) -> tuple[str, psutil.Process]:
    """A job that stays in a state, because the engine behind it is frozen."""
    engine = engine_of(mesh, state)
    engine.suspend()
    job_id = client.generate("a red cube on a wooden cylinder", quality_tier="fast").job_id
    until(lambda: client.status(job_id).state is state)
    return job_id, engine


def test_ten_jobs_at_once_all_end_once(client: Client) -> None:
    jobs = [
        client.generate(f"a {c} cube", quality_tier="fast").job_id
        for c in ["red", "blue", "green", "gold", "gray", "teal", "pink", "tan", "navy", "lime"]
    ]
    for job_id in jobs:
        assert ended(client, job_id, 120).state is State.COMPLETED
        assert ends_of(client, job_id) == ["completed"]


def test_a_client_that_goes_away_does_not_stop_its_job(mesh: Mesh, client: Client) -> None:
    with httpx.Client(base_url=mesh.url) as leaving:
        job_id = leaving.post("/3d/generate", json={"prompt": "a cube", "quality_tier": "fast"}).json()["job_id"]
        with leaving.stream("GET", f"/3d/events/{job_id}") as stream:
            next(stream.iter_lines())
    assert ended(client, job_id).state is State.COMPLETED


@pytest.mark.parametrize("state", list(SERVICE_OF))
def test_kill_9_of_the_worker_in_any_state(mesh: Mesh, client: Client, state: State) -> None:
    job_id, engine = held_in(mesh, client, state)
    worker = mesh.pid("worker")
    os.kill(worker, signal.SIGKILL)
    engine.resume()
    began = time.monotonic()
    until(lambda: mesh.pid("worker") != worker)
    done = ended(client, job_id, 60)
    assert done.state is State.COMPLETED and done.attempt == 2, done
    assert time.monotonic() - began < 30
    assert ends_of(client, job_id) == ["completed"]
    # Finished stages were not run again: their files carry the first attempt's number.
    stages = list(SERVICE_OF)
    first = [o for o in done.outputs if o.role == "view"]
    assert first and stages.index(state) >= 0
    views = mesh.data_dir / "inputs" / job_id
    assert (views / "2").exists() == (state is State.GENERATING_IMAGES)


@pytest.mark.parametrize("state", [State.QUEUED, *SERVICE_OF])
def test_cancel_in_every_state_ends_it_and_frees_the_engine(mesh: Mesh, client: Client, state: State) -> None:
    if state is State.QUEUED:
        os.kill(mesh.pid("worker"), signal.SIGSTOP)
        job_id = client.generate("a cube").job_id
        assert client.status(job_id).queue_position == 0
        began = time.monotonic()
        client.cancel(job_id)
        os.kill(mesh.pid("worker"), signal.SIGCONT)
    else:
        job_id, engine = held_in(mesh, client, state)
        engine.resume()  # an engine that works and listens; the frozen one is the next test
        began = time.monotonic()
        client.cancel(job_id)
    done = ended(client, job_id, 5)
    assert time.monotonic() - began < 2.0
    assert done.state is State.FAILED and done.problem is not None and done.problem.code == "cancelled"
    again = client.generate("a cube", quality_tier="fast").job_id
    assert ended(client, again).state is State.COMPLETED
    assert ends_of(client, job_id) == ["failed"]


def test_cancel_replaces_an_engine_that_does_not_listen(mesh: Mesh, client: Client) -> None:
    job_id, engine = held_in(mesh, client, State.RECONSTRUCTING_3D)
    began = time.monotonic()
    client.cancel(job_id)
    until(lambda: not engine.is_running() or engine.status() == psutil.STATUS_ZOMBIE, 6)
    assert time.monotonic() - began < 4.0  # two seconds of grace, then it is killed
    again = client.generate("a cube", quality_tier="fast").job_id
    assert ended(client, again).state is State.COMPLETED


def test_kill_9_of_an_engine_is_survived(mesh: Mesh, client: Client) -> None:
    job_id, engine = held_in(mesh, client, State.RECONSTRUCTING_3D)
    engine.kill()
    assert ended(client, job_id).state is State.COMPLETED


def test_stopped_worker_hands_its_job_back_at_once(mesh: Mesh, client: Client) -> None:
    job_id, engine = held_in(mesh, client, State.RECONSTRUCTING_3D)
    os.kill(mesh.pid("worker"), signal.SIGTERM)
    until(lambda: any(e.type == "requeued" for e in _so_far(mesh, job_id)), 3)
    engine.resume()
    assert ended(client, job_id).state is State.COMPLETED


def _so_far(mesh: Mesh, job_id: str) -> list[object]:
    import redis

    from orchestrator.redis_jobs import read_event

    with redis.Redis.from_url(mesh.redis_url, decode_responses=True) as connection:
        return [read_event(job_id, i, f["event"]) for i, f in connection.xrange(f"job:{job_id}:events")]  # type: ignore[union-attr,arg-type]


def test_same_bytes_after_a_restart_and_a_worker_that_starts_late(tmp_path: Path) -> None:
    digests = []
    for turn in range(2):
        thread = MeshThread(tmp_path / f"volumes{turn}", leave_out=("worker",))
        with thread as mesh, Client(mesh.url) as client:
            job_id = client.generate("a red cube on a wooden cylinder", seed=1, quality_tier="fast").job_id
            time.sleep(0.5)
            assert client.status(job_id).state is State.QUEUED
            part: Part = thread.left_out["worker"]
            worker = subprocess.Popen(part.command, env={**os.environ, **part.environment}, stderr=subprocess.DEVNULL)
            done = ended(client, job_id)
            worker.terminate()
            worker.wait(10)
            assert done.state is State.COMPLETED
            digests.append([o.sha256 for o in done.outputs])
    assert digests[0] == digests[1]


def test_jobs_survive_a_kill_9_of_redis(mesh: Mesh, client: Client) -> None:
    jobs = [client.generate("a cube", quality_tier="fast").job_id for _ in range(3)]
    redis_process = mesh.pid("redis")
    os.kill(redis_process, signal.SIGKILL)
    until(lambda: mesh.pid("redis") != redis_process)
    with httpx.Client(base_url=mesh.url) as http:
        until(lambda: http.get("/ready").status_code == 200)
    for job_id in jobs:
        assert ended(client, job_id, 90).state is State.COMPLETED


def test_command_line(mesh: Mesh, tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).parent / "scratch3d"), *words]
        return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "SCRATCH3D_URL": mesh.url})

    made = run("generate", "a red cube", "--quality", "fast", "-o", str(tmp_path / "cube.glb"))
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "cube.glb").read_bytes()[:4] == b"glTF"
    job_id = made.stderr.split("job ")[1].split()[0]
    assert '"state": "completed"' in run("status", job_id, "--json").stdout
    assert run("download", job_id, "--artifact", "preview.png", "-o", str(tmp_path / "p.png")).returncode == 0
    assert job_id in run("jobs", "--limit", "100").stdout
    assert "visual-hull" in run("engines").stdout
    assert run("watch", job_id).returncode == 0
    refused = run("generate", "a dragon")
    assert refused.returncode == 2 and "prompt" in refused.stderr and "cube" in refused.stderr
    assert run("generate", "a cube", "--format", "fbx").returncode == 2
    assert run("status", "00000000-0000-4000-8000-000000000000").returncode == 2
    nobody = run("engines", "--url", "http://127.0.0.1:9")
    assert nobody.returncode == 3 and "scratch3d up" in nobody.stderr
    assert run("doctor", "--url", mesh.url, "--data-dir", str(tmp_path)).returncode == 0
    waiting = run("generate", "a cube", "--no-wait", "--quality", "fast")
    run("cancel", waiting.stdout.strip())
    assert run("watch", waiting.stdout.strip()).returncode in {0, 1}
