"""Clients that repeat, cancel, flood, leave and read slowly (F12, F13, F18, F19, F20, I12)."""

import asyncio
import base64
import hashlib
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import invariants
import psutil
import pytest
import uvicorn
from load import Load, asking_for, half_an_upload, leave
from processes import Mesh, Reply, until
from stub_files import png

from conftest import FULL
from orchestrator.app import create_app
from orchestrator.settings import Settings
from orchestrator.store_redis import RedisStore
from scratch3d.servicekit.logging import configure
from scratch3d.up.supervisor import free_port

pytestmark = pytest.mark.timeout(900 if FULL else 120)
TIMES = 1000 if FULL else 60
CANCEL_WITHIN_S = 2.0
STAGES = {
    "generating_images": "image",
    "reconstructing_3d": "reconstruction",
    "post_processing": "postprocess",
}
PADDING = 8 * 2**20


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    settings = {"LEASE_S": "3", "WORKER_CONCURRENCY": "12"}
    with Mesh(tmp_path_factory.mktemp("clients"), settings=settings) as running:
        yield running
        invariants.check(running)


@pytest.fixture(autouse=True)
def _well_again(mesh: Mesh) -> Iterator[None]:
    yield
    for service in STAGES.values():
        mesh.script(service, [])


def completed(mesh: Mesh, **body: Any) -> str:
    job_id = mesh.submit(**body).job_id
    until(lambda: mesh.state(job_id) == "completed", what="completion")
    return job_id


def held_in(mesh: Mesh, state: str) -> str:
    """A job whose engine works, in this state, until it is cancelled."""
    service = STAGES[state]
    mesh.stop("worker-1")
    job_id = mesh.submit().job_id
    mesh.script(service, [{"match": {"job_id": job_id}, "duration_s": 3600.0}])
    mesh.cont("worker-1")
    until(lambda: any(line["job_id"] == job_id and line["service"] == service for line in mesh.journal()), what=state)
    return job_id


# -- F12: the same request again ---------------------------------------------------------------------------------


def jobs_kept(mesh: Mesh) -> int:
    with mesh.redis() as connection:
        return int(connection.zcard("3d:jobs:anybody"))  # type: ignore[arg-type]


@pytest.mark.reps(2)
def test_a_hundred_submissions_with_one_key_are_one_job(mesh: Mesh, seed: int) -> None:
    before, key = jobs_kept(mesh), f"hundred-{seed}"
    with ThreadPoolExecutor(50) as pool:
        replies = list(pool.map(lambda _: mesh.submit(key=key, seed=seed), range(100)))
    assert Counter(reply.status for reply in replies) == {202: 100}
    assert len({reply.job_id for reply in replies}) == 1
    assert jobs_kept(mesh) == before + 1


def test_a_request_that_is_repeated_after_a_timeout_is_one_job(mesh: Mesh) -> None:
    before = jobs_kept(mesh)
    mesh.proxy.delay_s = 0.1
    gone = mesh.submit(key="timeout", timeout_s=0.15)
    mesh.proxy.pass_through()
    assert gone.status == 0, gone
    again = mesh.submit(key="timeout")
    assert again.job_id == mesh.submit(key="timeout").job_id
    assert jobs_kept(mesh) == before + 1


def test_a_key_with_another_body_is_refused(mesh: Mesh) -> None:
    first = mesh.submit(key="reused", seed=1)
    other = mesh.submit(key="reused", seed=2)
    assert first.status == 202 and other.status == 422, other
    assert other.body["code"] == "idempotency_key_reused"
    assert mesh.submit(key="reused", seed=1).job_id == first.job_id


def picture(shade: int) -> str:
    return "data:image/png;base64," + base64.b64encode(png() + bytes([shade])).decode()


@pytest.mark.parametrize("route", ["from-image", "retry", "replay", "batch"])
def test_every_post_route_knows_the_key(mesh: Mesh, route: str) -> None:
    """The same key and body: the same answer, and nothing new; another body: 422."""
    path, body, other = _post(mesh, route)
    headers = {"Idempotency-Key": f"route-{route}"}
    with httpx.Client(base_url=mesh.url, trust_env=False, timeout=30) as http:
        first = http.post(path, json=body, headers=headers)
        assert first.status_code == 202, first.text
        kept = jobs_kept(mesh)
        again = http.post(path, json=body, headers=headers)
        assert again.status_code == 202 and _jobs_in(again.json()) == _jobs_in(first.json())
        changed = http.post(other[0], json=other[1], headers=headers)
        assert changed.status_code == 422 and changed.json()["code"] == "idempotency_key_reused", changed.text
    assert jobs_kept(mesh) == kept
    for number, job_id in enumerate(_jobs_in(first.json())):
        note(mesh, job_id, key=None if number else headers["Idempotency-Key"])


def test_a_cancel_that_is_repeated_with_its_key_is_answered_again(mesh: Mesh) -> None:
    one, other = (held_in(mesh, "generating_images"), mesh.submit().job_id)
    with httpx.Client(base_url=mesh.url, trust_env=False, headers={"Idempotency-Key": "cancel"}) as http:
        answers = [http.post(f"/3d/jobs/{one}/cancel").status_code for _ in range(3)]
        assert answers == [200, 200, 200]
        assert http.post(f"/3d/jobs/{other}/cancel").status_code == 422
    note(mesh, one, key="cancel")
    until(lambda: mesh.state(other) == "completed", what="the job that was not cancelled")


def note(mesh: Mesh, job_id: str, *, key: str | None) -> None:
    """What was not asked by the mesh's own client is looked at with the rest."""
    mesh.log.append(Reply(at=time.time(), seconds=0, path="", key=key, status=202, body={"job_id": job_id}))


def _post(mesh: Mesh, route: str) -> tuple[str, Any, tuple[str, Any]]:
    """Path and body of a request, and another one that the same key may not stand for."""
    if route == "from-image":
        path = "/3d/from-image"
        return path, {"image_urls": [picture(1)]}, (path, {"image_urls": [picture(2)]})
    if route == "batch":
        path = "/3d/batch"
        one, two = ({"prompt": "a red cube", "quality_tier": "fast", "seed": seed} for seed in (1, 2))
        return path, {"requests": [one, two]}, (path, {"requests": [two, one]})
    if route == "replay":
        path = f"/3d/jobs/{completed(mesh)}/replay"
        body = {"from": "reconstructing_3d"}
        return path, body, (path, {"from": "post_processing"})
    mesh.script("image", [{"fault": "wrong_sha"}])
    failing = [mesh.submit().job_id for _ in range(2)]
    until(lambda: all(mesh.state(job_id) == "failed" for job_id in failing), what="failing")
    mesh.script("image", [])
    first, second = (f"/3d/jobs/{job_id}/retry" for job_id in failing)
    return first, None, (second, None)


def _jobs_in(answer: Any) -> list[str]:
    """Every job id in an answer, in order."""
    if isinstance(answer, dict):
        own = [answer["job_id"]] if answer.get("job_id") else []
        return own + [found for value in answer.values() for found in _jobs_in(value)]
    return [found for value in answer for found in _jobs_in(value)] if isinstance(answer, list) else []


# -- F13: cancel -------------------------------------------------------------------------------------------------


def check_cancelled(mesh: Mesh, job_id: str) -> None:
    status = mesh.status(job_id)
    assert (status["state"], status["problem"]["code"]) == ("failed", "cancelled"), status


@pytest.mark.parametrize("state", ["queued", *STAGES])
def test_cancel_in_every_state(mesh: Mesh, state: str) -> None:
    if state == "queued":
        mesh.stop("worker-1")
    job_id = mesh.submit().job_id if state == "queued" else held_in(mesh, state)
    assert mesh.state(job_id) == state
    began = time.monotonic()
    assert mesh.cancel(job_id) == 200
    check_cancelled(mesh, job_id)
    if state == "queued":
        mesh.cont("worker-1")
    else:

        def freed() -> bool:
            return [line["event"] for line in mesh.journal() if line["job_id"] == job_id][-1] == "cancelled"

        until(freed, CANCEL_WITHIN_S, what="the engine's stop")
    assert time.monotonic() - began < CANCEL_WITHIN_S + 0.5
    assert mesh.cancel(job_id) == 409
    completed(mesh)


def race(mesh: Mesh, chance: random.Random) -> tuple[str, int]:
    """Submit a job and cancel it somewhere on its way, half of the time around its end; it ends in time."""
    wait_s = chance.uniform(0, 0.4)
    job_id = mesh.submit().job_id
    if chance.random() < 0.5:
        until(lambda: mesh.state(job_id) in {"post_processing", "completed"}, 60, what="the last stage")
        wait_s = chance.uniform(0, 0.12)
    time.sleep(wait_s)
    answer = mesh.cancel(job_id)
    until(lambda: mesh.state(job_id) in {"completed", "failed"}, CANCEL_WITHIN_S, what=f"end after {answer}")
    return job_id, answer


@pytest.mark.reps(1)
def test_cancel_races_with_completion(mesh: Mesh, seed: int) -> None:
    """Sixty interleavings a seed, under FULL more than a thousand in all."""
    chances = [random.Random(f"{seed}-{number}") for number in range(60)]
    for service in STAGES.values():
        mesh.script(service, [{"duration_s": 0.02}])
    with ThreadPoolExecutor(6) as pool:
        raced = list(pool.map(lambda chance: race(mesh, chance), chances))
    answers = Counter(answer for _, answer in raced)
    assert set(answers) <= {200, 409} and answers[200], answers
    for job_id, answer in raced:
        if answer == 200:
            check_cancelled(mesh, job_id)
        else:
            assert mesh.state(job_id) == "completed"
    until(lambda: not _held_slots(mesh), CANCEL_WITHIN_S, what="giving back of every slot")
    invariants.check(mesh)


def _held_slots(mesh: Mesh) -> list[str]:
    with mesh.redis() as connection:
        return [key for key in connection.scan_iter("3d:slots:*:held") if connection.hlen(key)]


# -- F18: more than can be done ----------------------------------------------------------------------------------


def test_a_full_queue_refuses_before_it_accepts(tmp_path: Path) -> None:
    room, per_s, for_s = (10_000, 1000, 60.0) if FULL else (200, 200, 2.0)
    settings = {"MAX_QUEUED": str(room), "LOG_LEVEL": "WARNING"}
    with Mesh(tmp_path, settings=settings) as mesh:
        first = completed(mesh)
        mesh.stop("worker-1")
        load = Load(mesh, per_s=per_s, for_s=for_s)
        api = psutil.Process(mesh.pid("api"))
        before = api.memory_info().rss
        sending = threading.Thread(target=load.run)
        sending.start()
        slowest = 0.0
        while sending.is_alive():
            began = time.monotonic()
            assert mesh.status(first)["state"] == "completed"
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.1)
        refused = load.count - room
        assert load.answers == {202: room, 429: refused}, load.answers
        assert refused > 0 and not load.without_retry_after
        assert jobs_kept(mesh) == room + 1, "what was refused must not be kept"
        assert slowest < 5.0, f"a status took {slowest:.1f} s meanwhile"
        assert api.memory_info().rss - before < 150 * 2**20
        late = mesh.submit()
        assert late.status == 429 and late.body["code"] == "queue_full" and late.body["retryable"]


# -- F19: leaving ------------------------------------------------------------------------------------------------


@pytest.fixture
def leavings(mesh: Mesh) -> Iterator[dict[str, bytes]]:
    """A download that is larger than all buffers, a stream that does not end, an upload that stops half way."""
    mesh.script("postprocess", [{"padding": PADDING}])
    large = completed(mesh)
    endless = held_in(mesh, "generating_images")
    yield {
        "download": asking_for(f"/3d/download/{large}"),
        "events": asking_for(f"/3d/events/{endless}"),
        "upload": half_an_upload(),
    }
    mesh.cancel(endless)


@pytest.mark.parametrize("kind", ["download", "events", "upload"])
def test_clients_that_leave_keep_nothing_open(mesh: Mesh, leavings: dict[str, bytes], kind: str) -> None:
    api, chance = psutil.Process(mesh.pid("api")), random.Random(kind)
    leave(mesh.api_port, leavings[kind], chance)
    inputs = set((mesh.data_dir / "inputs").iterdir())
    until(lambda: mesh.get("/health").is_success)
    before, connections = api.num_fds(), _redis_connections(mesh)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: leave(mesh.api_port, leavings[kind], random.Random(f"{kind}-{n}")), range(TIMES)))
    # Streams look up at their next ping or event, connections of the pool to Redis may stay.
    until(lambda: api.num_fds() <= before + 12, 30, what=f"closing of what {TIMES} clients left ({before} before)")
    assert _redis_connections(mesh) <= connections + 12
    until(lambda: set((mesh.data_dir / "inputs").iterdir()) <= inputs, 10, what="removal of cut uploads")


def _redis_connections(mesh: Mesh) -> int:
    with mesh.redis() as connection:
        return len(connection.client_list())


class LocalApi:
    """The API in a thread of this process, so that its tasks can be counted."""

    def __init__(self, mesh: Mesh) -> None:
        urls = {f"{name}_urls": (mesh.stubs[f"{stub}-1"],) for name, stub in _SETTINGS_OF.items()}
        redis_url = f"redis://127.0.0.1:{mesh.redis_port}/0"
        configure("api", level="CRITICAL")
        app = create_app(Settings(data_dir=mesh.data_dir, redis_url=redis_url, **urls))
        self.port = free_port()
        self.server = uvicorn.Server(uvicorn.Config(app, port=self.port, log_level="critical"))
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=lambda: self.loop.run_until_complete(self.server.serve()))

    def __enter__(self) -> "LocalApi":
        self.thread.start()
        until(lambda: self.server.started, what="start of the API")
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join(20)
        self.loop.close()

    def tasks(self) -> int:
        async def count() -> int:
            return len(asyncio.all_tasks())

        return asyncio.run_coroutine_threadsafe(count(), self.loop).result(10)


_SETTINGS_OF = {"image_service": "image", "reconstruction": "reconstruction", "postprocess": "postprocess"}


def test_clients_that_leave_leave_no_task(mesh: Mesh, leavings: dict[str, bytes]) -> None:
    with LocalApi(mesh) as api:
        chance = random.Random(19)
        for request in leavings.values():
            leave(api.port, request, chance)
        before = api.tasks()
        for number in range(TIMES):
            leave(api.port, list(leavings.values())[number % len(leavings)], chance)
        until(lambda: api.tasks() <= before + 3, 30, what=f"end of tasks ({before} before)")


# -- F20: reading while it is written ----------------------------------------------------------------------------

_WRITER = """
import hashlib, itertools, os, sys
from pathlib import Path
from scratch3d.servicekit.artifacts import ArtifactStore
store = ArtifactStore(Path(sys.argv[1]))
for number in itertools.count():
    body = os.urandom(1024) * 2048
    store.put("outputs/job/1/model.glb", hashlib.sha256(body).digest() + body)
"""


@pytest.mark.reps(2)
def test_a_reader_never_sees_a_part_of_a_file(tmp_path: Path, seed: int) -> None:
    """The writer is killed again and again, somewhere between its first byte and the rename."""
    chance, final, seen = random.Random(seed), tmp_path / "outputs/job/1/model.glb", Counter[bool]()
    for _ in range(5):
        writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path)], stderr=subprocess.DEVNULL)
        until(final.exists, what="the first file")
        ends = time.monotonic() + chance.uniform(0.2, 0.5)
        while time.monotonic() < ends:
            content = final.read_bytes()
            seen[hashlib.sha256(content[32:]).digest() == content[:32]] += 1
            time.sleep(0.002)
        writer.kill()
        writer.wait()
        content = final.read_bytes()
        seen[hashlib.sha256(content[32:]).digest() == content[:32]] += 1
    assert seen[True] > 20 and not seen[False], seen


def test_what_a_dead_writer_left_is_swept(mesh: Mesh) -> None:
    mesh.script("postprocess", [{"fault": "crash_before_rename", "times": 1}])
    job_id = mesh.submit().job_id
    until(lambda: not mesh.alive("postprocess-1"), what="death between write and rename")
    left = _leftovers(mesh)
    assert left and not (left[0].parent / "model.glb").exists()
    yesterday = time.time() - 86_400
    for path in left:
        os.utime(path, (yesterday, yesterday))
    mesh.start("postprocess-1")
    until(lambda: mesh.state(job_id) == "completed", what="completion after the death")
    mesh.kill("api")
    mesh.start("api")
    until(lambda: not _leftovers(mesh), 15, what="sweeping of temporary files of yesterday")


def _leftovers(mesh: Mesh) -> list[Path]:
    return [path for path in mesh.data_dir.rglob(".*") if path.is_file()]


# -- I12: streams ------------------------------------------------------------------------------------------------


def read_events(url: str, after: str | None, enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """Events of a stream until there are enough or it ends."""
    found: list[dict[str, Any]] = []
    headers = {"Last-Event-ID": after} if after else {}
    with httpx.stream("GET", url, headers=headers, timeout=30, trust_env=False) as stream:
        assert stream.status_code == 200, stream.status_code
        for line in stream.iter_lines():
            if line.startswith("data:"):
                found.append(json.loads(line[5:]))
                if enough(found):
                    break
    return found


@pytest.mark.reps(3)
def test_a_stream_that_is_resumed_loses_and_repeats_nothing(mesh: Mesh, seed: int) -> None:
    chance, seen = random.Random(seed), list[dict[str, Any]]()
    mesh.script("reconstruction", [{"duration_s": 1.0}])
    job_id = mesh.submit().job_id
    while not seen or seen[-1]["type"] not in {"completed", "failed"}:
        length = chance.randint(1, 4)
        part = read_events(
            f"{mesh.url}/3d/events/{job_id}",
            seen[-1]["id"] if seen else None,
            lambda found, n=length: len(found) >= n,  # type: ignore[misc]
        )
        seen += part
    assert [event["id"] for event in seen] == [event["id"] for event in mesh.events(job_id)]
    assert [event["type"] for event in seen].count("completed") == 1
    assert read_events(f"{mesh.url}/3d/events/{job_id}", seen[-1]["id"], lambda _: False) == []


@pytest.mark.reps(2)
def test_the_stream_of_all_jobs_is_resumed_without_loss(mesh: Mesh, seed: int) -> None:
    """Five jobs at once, read in pieces; every job's own history is in it, whole and in order."""
    chance, seen = random.Random(seed), list[dict[str, Any]]()
    url = f"{mesh.url}/3d/events"
    completed(mesh)
    with mesh.redis() as connection:
        after: str = connection.xrevrange("3d:events", count=1)[0][0]  # type: ignore[index]
    jobs = [mesh.submit().job_id for _ in range(5)]
    ends = 0
    while ends < len(jobs):
        limit = (chance.randint(1, 9), len(jobs) - ends)
        part = read_events(url, seen[-1]["id"] if seen else after, lambda found, limit=limit: _enough(found, *limit))  # type: ignore[misc]
        seen, ends = seen + part, ends + _ends(part)
    for job_id in jobs:
        told = [event["id"] for event in seen if event["job_id"] == job_id]
        assert told == [event["id"] for event in mesh.events(job_id)]


def _ends(found: list[dict[str, Any]]) -> int:
    return sum(event["type"] == "completed" for event in found)


def _enough(found: list[dict[str, Any]], length: int, ends: int) -> bool:
    return len(found) >= length or _ends(found) == ends


def test_a_reader_who_does_not_read_holds_nobody_up(mesh: Mesh) -> None:
    job_id = held_in(mesh, "generating_images")
    with socket.socket() as idle:
        idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        idle.connect(("127.0.0.1", mesh.api_port))
        idle.sendall(asking_for(f"/3d/events/{job_id}"))
        idle.recv(100)
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(read_events, f"{mesh.url}/3d/events/{job_id}", None, lambda found: len(found) > 1500)
            _flood(mesh, job_id, 1500)
            assert len(reading.result(30)) > 1500
        assert mesh.get("/health", timeout_s=5).is_success
        assert mesh.cancel(job_id) == 200


def _flood(mesh: Mesh, job_id: str, count: int) -> None:
    """A history of megabytes: the worker's notes, many at a time."""

    async def beat() -> None:
        store = RedisStore(f"redis://127.0.0.1:{mesh.redis_port}/0")
        job = await store.get(job_id)
        assert job is not None
        for number in range(count):
            await store.beat(job, lease_s=10, progress=3, phase=f"{number} " + "x" * 2000)
        await store.close()

    asyncio.run(beat())
