"""Redis dies, cannot be reached, loses replies, runs full, becomes a replica, forgets; and the disk runs full."""

import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import invariants
import pytest
from dooms import needle
from invariants import ended
from processes import SERVICES, Mesh, until

from conftest import FULL
from orchestrator.domain import Job

#: A refusal takes no longer than this: the caller should hear it, not time out.
REFUSED_WITHIN_S = 12.0
#: After Redis is back, work goes on within this time.
RESUMED_WITHIN_S = 30.0


Check = Callable[[], list[Job]]


@pytest.fixture(scope="module")
def shared_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with Mesh(tmp_path_factory.mktemp("redis"), workers=2, settings={"LEASE_S": "3"}) as running:
        yield running


@pytest.fixture
def mesh(shared_mesh: Mesh) -> Iterator[Mesh]:
    """The shared one; whatever a test broke is mended after it, so that a failure stays its own."""
    mesh = shared_mesh
    yield mesh
    mesh.proxy.pass_through()
    for name in ("redis", *mesh.stubs, "api", *mesh.names("worker")):
        if not mesh.alive(name):
            mesh.start(name)
    with mesh.redis() as connection:
        connection.config_set("maxmemory", 0)
        connection.replicaof("NO", "ONE")
    for service in SERVICES:
        mesh.script(service, [])
    until(lambda: mesh.get("/ready").status_code == 200, RESUMED_WITHIN_S, what="readiness")


@pytest.fixture
def own_mesh(tmp_path: Path) -> Iterator[Mesh]:
    """For faults after which Redis does not know what it acknowledged."""
    with Mesh(tmp_path, settings={"LEASE_S": "3"}) as running:
        yield running


@pytest.fixture
def check(mesh: Mesh) -> Check:
    """All invariants over all jobs of the mesh; those that the present test submitted."""
    earlier = set(mesh.acknowledged())
    return lambda: [job for job in invariants.check(mesh) if job.id not in earlier]


@contextmanager
def load(mesh: Mesh, pause_s: float = 0.05) -> Iterator[None]:
    """A client that submits all the time, each job under a key of its own."""
    stop = threading.Event()

    def submit() -> None:
        count = len(mesh.log)
        while not stop.wait(pause_s):
            count += 1
            mesh.submit(key=f"load-{count}")

    client = threading.Thread(target=submit)
    client.start()
    try:
        yield
    finally:
        stop.set()
        client.join(40)
        assert not client.is_alive(), "a submission was never answered"


def resumed(mesh: Mesh) -> None:
    """Work goes on without anybody's help."""
    until(lambda: mesh.get("/ready").status_code == 200, RESUMED_WITHIN_S, what="readiness")
    until(lambda: mesh.submit().status == 202, 5, what="acceptance")
    until(lambda: all(mesh.state(job) in {"completed", "failed"} for job in mesh.acknowledged()), RESUMED_WITHIN_S)


def refusals(mesh: Mesh, since: int) -> list[float]:
    """Seconds until each refusal behind that place of the log; every one is a 503."""
    replies = [reply for reply in mesh.log[since:] if reply.status != 202]
    assert {reply.status for reply in replies} <= {503}, [reply for reply in replies if reply.status != 503][:3]
    return [reply.seconds for reply in replies]


def test_f5_kill_9_of_redis_under_load(mesh: Mesh, check: Check, seed: int, record_property: Any) -> None:
    rng = random.Random(seed)
    with load(mesh):
        time.sleep(rng.uniform(0.3, 1.0))
        mesh.kill("redis")
        time.sleep(rng.uniform(0.0, 1.0))
        mesh.start("redis")
        back = time.monotonic()
        answered = len([reply for reply in mesh.log if reply.status == 202])
        until(lambda: len([reply for reply in mesh.log if reply.status == 202]) > answered + 3, what="acceptance")
        record_property("resumed_s", time.monotonic() - back)
    assert set(ended(check())) == {"completed"}, "Redis is no reason to fail"


@pytest.mark.reps(1)
def test_f6_redis_falls_silent(mesh: Mesh, check: Check, seed: int) -> None:
    """Bytes vanish; the connections of before never speak again, nor are they closed."""
    rng = random.Random(seed)
    silence_s = 30.0 if FULL else 8.0
    with load(mesh):
        time.sleep(rng.uniform(0.2, 0.6))
    if seed % 2:
        mesh.wait_all()  # every worker waits for the queue: nothing but a blocked read is there to notice
    began, since = time.monotonic(), len(mesh.log)
    mesh.proxy.drop()
    until(lambda: mesh.submit(timeout_s=20).status == 503, 5, what="the first refusal")
    assert mesh.get("/health", timeout_s=2).status_code == 200, "liveness does not depend on Redis"
    ready = mesh.get("/ready", timeout_s=REFUSED_WITHIN_S)
    assert ready.status_code == 503 and ready.json()["dependencies"]["redis"] != "ok"
    assert max(refusals(mesh, since)) <= REFUSED_WITHIN_S
    time.sleep(max(0.0, silence_s - (time.monotonic() - began)))
    mesh.proxy.pass_through()
    resumed(mesh)
    assert set(ended(check())) == {"completed"}, "Redis is no reason to fail"


def test_f6_a_storm_of_resets(mesh: Mesh, check: Check, seed: int) -> None:
    rng = random.Random(seed)
    with load(mesh):
        for _ in range(10 if FULL else 3):
            time.sleep(rng.uniform(0.05, 0.4))
            mesh.proxy.reset()
        time.sleep(rng.uniform(0.05, 0.4))
        since = len(mesh.log)
        mesh.proxy.refuse()
        until(lambda: len(refusals(mesh, since)) > 0, 20, what="a refusal")
        assert mesh.get("/health", timeout_s=2).status_code == 200
        assert mesh.get("/ready", timeout_s=REFUSED_WITHIN_S).status_code == 503
        mesh.proxy.pass_through()
    assert max(refusals(mesh, since)) <= REFUSED_WITHIN_S
    resumed(mesh)
    assert set(ended(check())) == {"completed"}, "Redis is no reason to fail"


def _submits(mesh: Mesh) -> None:
    key = f"lost-{len(mesh.log)}"
    first, again = mesh.submit(key=key), mesh.submit(key=key)
    assert first.status in {202, 503}, first
    assert again.status == 202, again


def _fails(mesh: Mesh) -> None:
    mesh.script("reconstruction", [{"fault": "html_200"}])
    job_id = mesh.submit().job_id
    mesh.wait_all()
    mesh.script("reconstruction", [])
    assert mesh.state(job_id) == "failed"


def _beats(mesh: Mesh) -> None:
    job_id = _carried(mesh)
    until(lambda: mesh.state(job_id) == "completed", what="the end")


def _carried(mesh: Mesh) -> str:
    """A job that an engine works on for a while."""
    mesh.script("image", [{"times": 1, "duration_s": 2.0}])
    job_id = mesh.submit().job_id
    until(lambda: any(line["job_id"] == job_id for line in mesh.journal()), what="the call of the engine")
    return job_id


def _cancels(mesh: Mesh) -> None:
    job_id = _carried(mesh)
    assert mesh.cancel(job_id) == 200
    assert mesh.fields(job_id)["error_code"] == "cancelled"


def _hands_back(mesh: Mesh) -> None:
    job_id = _carried(mesh)
    carrier = next(name for name in mesh.names("worker") if job_id in mesh.logs(name))
    mesh.terminate(carrier)
    until(lambda: not mesh.alive(carrier), 8, what="leaving within the grace")
    mesh.start(carrier)
    mesh.wait_all()
    assert mesh.fields(job_id).get("losses", "0") == "0"


def _deletes(mesh: Mesh) -> None:
    job_id = mesh.submit().job_id
    mesh.wait_all()
    assert mesh.delete(job_id) == 204
    assert not mesh.fields(job_id)


#: Kind of write → what its request contains (a script's name, or the event it tells), and what causes one.
WRITES: dict[str, tuple[str, Callable[[Mesh], None]]] = {
    "submit": ("submit", _submits),
    "claim": ("claim", _submits),
    "beat": ("beat", _beats),
    "advance": ("stage", _submits),
    "complete": ("completed", _submits),
    "fail": ("failed", _fails),
    "cancel": ("failed", _cancels),
    "release": ("requeued", _hands_back),
    "delete": ("delete", _deletes),
    "grant": ("grant", _submits),
    "hold": ("hold", _submits),
}


@pytest.mark.reps(1)
@pytest.mark.parametrize("write", list(WRITES))
def test_f7_a_reply_is_lost_after_execution(mesh: Mesh, check: Check, seed: int, write: str) -> None:
    name, cause = WRITES[write]
    _deletes(mesh)  # every script has been used: a reply that is lost is that of an execution
    lost = mesh.proxy.lost
    mesh.proxy.lose_replies(1, after=needle(name))
    cause(mesh)
    until(lambda: mesh.proxy.lost > lost, what=f"a lost reply of {write}")
    found = check()
    assert [job.losses for job in found] == [0] * len(found), "a lost reply is no lost worker"
    assert [job.attempt for job in found] == [2 if write == "release" else 1] * len(found)


def test_f8_redis_is_full(mesh: Mesh, check: Check, seed: int) -> None:
    rng = random.Random(seed)
    with load(mesh), mesh.redis() as connection:
        time.sleep(rng.uniform(0.1, 0.4))
        since = len(mesh.log)
        connection.config_set("maxmemory", 1)
        until(lambda: len(refusals(mesh, since)) > 2, what="refusals")
        assert mesh.get("/health").status_code == 200
        connection.config_set("maxmemory", 0)
    assert max(refusals(mesh, since)) <= REFUSED_WITHIN_S
    resumed(mesh)
    assert set(ended(check())) == {"completed"}, "Redis is no reason to fail"


def test_f8_redis_is_a_replica_for_a_while(mesh: Mesh, check: Check, seed: int) -> None:
    rng = random.Random(seed)
    with load(mesh), mesh.redis() as connection:
        time.sleep(rng.uniform(0.1, 0.4))
        since = len(mesh.log)
        connection.replicaof("127.0.0.1", 9)
        until(lambda: len(refusals(mesh, since)) > 2, what="refusals")
        assert mesh.get("/health").status_code == 200
        connection.replicaof("NO", "ONE")
    assert max(refusals(mesh, since)) <= REFUSED_WITHIN_S
    resumed(mesh)
    assert set(ended(check())) == {"completed"}, "Redis is no reason to fail"


@pytest.mark.reps(1)
def test_f8_failover_with_a_lost_tail(own_mesh: Mesh, seed: int) -> None:
    """The new master does not know what happened last: jobs are gone, and one has gone back to an earlier state."""
    mesh, aof, copy = own_mesh, own_mesh.redis_dir / "appendonly.aof", own_mesh.redis_dir / "copy.aof"
    done = mesh.submit(key="done").job_id
    mesh.wait_all()
    mesh.script("reconstruction", [{"duration_s": 1.5}])
    rewound = mesh.submit(key="rewound").job_id
    until(lambda: mesh.state(rewound) == "reconstructing_3d", what="the second stage")
    until(lambda: b"reconstructing_3d" in aof.read_bytes().split(rewound.encode(), 1)[-1], what="fsync")
    shutil.copy(aof, copy)
    until(lambda: mesh.state(rewound) == "completed", what="the end that will be forgotten")
    forgotten = [mesh.submit(key=f"tail-{n}").job_id for n in range(3)]
    until(lambda: mesh.state(forgotten[0]) == "reconstructing_3d", what="a job in flight")
    mesh.kill("redis")
    copy.replace(aof)
    mesh.start("redis")
    assert [mesh.get(f"/3d/status/{job_id}").status_code for job_id in forgotten] == [404] * 3
    mesh.forget(*forgotten)
    again = [mesh.submit(key=f"tail-{n}").job_id for n in range(3)]
    assert not set(again) & set(forgotten)
    found = {job.id: job for job in invariants.check(mesh)}
    assert ended(found.values()) == {"completed": 5}
    assert found[done].attempt == 1


@contextmanager
def no_space(directory: Path) -> Iterator[None]:
    """Nothing can be written there: a full file system where we may mount one, else no directory at all."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(directory)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0
    away = directory.with_name("away")
    if mounted:
        (directory / "ballast").write_bytes(bytes(4096))
    else:
        directory.rename(away)
        directory.write_text("not a directory")
    try:
        yield
    finally:
        if mounted:
            subprocess.run(["umount", str(directory)], check=True)
        else:
            directory.unlink()
            away.rename(directory)


@pytest.mark.parametrize("back", [False, True], ids=["until the end", "for a while"])
def test_f9_outputs_cannot_be_written(mesh: Mesh, check: Check, seed: int, back: bool) -> None:
    rng = random.Random(seed)
    mesh.script("reconstruction", [{"duration_s": 0.3}])
    with no_space(mesh.data_dir / "outputs"):
        jobs = [mesh.submit().job_id for _ in range(2)]
        assert mesh.get("/health").status_code == 200
        until(lambda: mesh.journal()[-1]["event"] == "failed", what="a failed write")
        if back:
            time.sleep(rng.uniform(0.0, 0.1))
        else:
            until(lambda: all(mesh.state(job_id) == "failed" for job_id in jobs), what="the end of both")
    mesh.script("reconstruction", [])
    jobs.append(mesh.submit().job_id)
    found = {job.id: job for job in check()}
    assert found[jobs[-1]].state == "completed", "the services survive, and space is used again"
    if not back:
        for job_id in jobs[:-1]:
            problem = found[job_id].problem
            assert problem and (problem.code, problem.stage, problem.retryable) == (
                "storage",
                "reconstructing_3d",
                True,
            )
