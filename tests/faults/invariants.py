"""What must hold after every fault, from Redis, the disk, the engines' journals and the client's log.

I4 (fencing) shows as I2, I5 and I12: a worker that lost its job adds no event and no file to it. I13 is seen in the
client's log. I15 has no trace afterwards: the unit suite of the store looks at it.
"""

import asyncio
import hashlib
import json
import re
import struct
import time
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from processes import Mesh, until

from orchestrator.domain import NEXT, STAGES, Job
from orchestrator.store_redis import RedisStore
from scratch3d.contracts.jobs import State

MAX_ATTEMPTS = 3
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: Keys that belong to no single job.
SHARED_KEYS = re.compile(r"^3d:(queue|leases|claims|pace|events|workers|(jobs|unfinished|idem|slots):\S+)$")
#: What no client should read: a stack trace, or where files lie on the host.
TELLTALE = re.compile(r"Traceback|File \"|\.py\b|/work/|/home/|/root/|/tmp/|/usr/")


def check(mesh: Mesh, *, deadline_s: float = 60.0, max_attempts: int = MAX_ATTEMPTS) -> list[Job]:
    """All invariants over every job that the mesh acknowledged; the jobs."""
    mesh.wait_all(deadline_s)
    jobs = asyncio.run(_jobs(mesh))
    for job in jobs:
        _ended_once(mesh, job)
        _tried_at_most(job, mesh.events(job.id), max_attempts)
        if job.state is State.COMPLETED:
            _files_are_whole(mesh, job)
        else:
            _says_why(job)
    _refused_before_accepting(mesh)
    _one_job_per_key(mesh)
    _one_run_at_a_time(mesh.journal())
    until(lambda: not _held(mesh), 20.0, what=f"I16: letting go of queue, leases, claims and slots ({_held(mesh)})")
    _no_debris(mesh)
    _keys_explained(mesh, jobs)
    assert [job.model_dump() for job in jobs] == [job.model_dump() for job in asyncio.run(_jobs(mesh))], (
        "I2: an ended job changed"
    )
    return jobs


async def _jobs(mesh: Mesh) -> list[Job]:
    store = RedisStore(f"redis://127.0.0.1:{mesh.redis_port}/0")
    found = [(job_id, await store.get(job_id)) for job_id in mesh.acknowledged()]
    await store.close()
    lost = [job_id for job_id, job in found if job is None]
    assert not lost, f"I1: acknowledged and lost: {lost}"
    return [job for _, job in found if job is not None]


def _ended_once(mesh: Mesh, job: Job) -> None:
    events = mesh.events(job.id)
    ends = [event["type"] for event in events if event["type"] in {"completed", "failed"}]
    assert ends == [job.state.value], f"I12: {job.id} is {job.state} and told {ends}"
    assert events[-1]["type"] == ends[0], f"I2: {job.id} told {events[-1]} after its end"
    assert events[0]["type"] == "submitted", f"I3: {job.id} began with {events[0]}"
    for here, there in pairwise(State(event["state"]) for event in events):
        assert here is there or there in NEXT.get(here, ()), f"I3: {job.id} went from {here} to {there}"
    for before, after in pairwise(events):
        assert before["progress"] <= after["progress"], f"I12: progress of {job.id} went back: {before} → {after}"
    kept = [event for event in events if event["type"] in {"stage", "skipped", "completed"}]
    entered = Counter(event["state"] for event in kept)
    assert all(n == 1 for n in entered.values()), f"I5: {job.id} kept a stage's result twice: {entered}"
    if job.state is State.COMPLETED:
        assert set(job.results) == set(STAGES), f"I5: {job.id} completed with results of {set(job.results)}"


def _tried_at_most(job: Job, events: list[dict[str, Any]], max_attempts: int) -> None:
    claims = sum(event["type"] == "claimed" for event in events)
    returns = sum(event["type"] in {"requeued", "resumed"} for event in events)
    assert job.attempt == claims, f"I5: {job.id} was claimed {claims} times in {job.attempt} attempts"
    assert job.losses <= max_attempts, f"I10: {job.id} lost {job.losses} workers"
    assert claims <= returns + 1, f"I3: {job.id} was claimed {claims} times and handed back {returns} times"


def _files_are_whole(mesh: Mesh, job: Job) -> None:
    assert job.asset is not None, f"I8: {job.id} completed without an asset"
    for output in job.outputs:
        ref = output.ref
        assert job.id in ref.key.split("/"), f"I5: {job.id} has a file of another job: {ref.key}"
        path = mesh.data_dir / ref.key
        assert path.is_file(), f"I8: {ref.key} is not there"
        content = path.read_bytes()
        assert content, f"I8: {ref.key} is empty"
        assert len(content) == ref.size_bytes, f"I8: {ref.key} has {len(content)} bytes, recorded are {ref.size_bytes}"
        assert hashlib.sha256(content).hexdigest() == ref.sha256, f"I8: {ref.key} is not what was recorded"
        if ref.name.endswith(".glb"):
            magic, _, total = struct.unpack_from("<4sII", content)
            assert (magic, total) == (b"glTF", len(content)), f"I9: {ref.key} is no whole GLB"


def _says_why(job: Job) -> None:
    problem = job.problem
    assert problem is not None and problem.code, f"I17: {job.id} failed without a code"
    assert problem.stage or problem.code == "cancelled" or not job.results, f"I17: {job.id} failed without a stage"
    told = json.dumps(problem.model_dump(mode="json"))
    assert not TELLTALE.search(told), f"I17: {job.id} tells the inside: {told}"


def _refused_before_accepting(mesh: Mesh) -> None:
    for reply in mesh.log:
        if reply.status in {429, 503}:
            assert "retry-after" in reply.headers, f"I13: {reply.status} without Retry-After: {reply.body}"
        if reply.status >= 400:
            assert isinstance(reply.body, dict) and reply.body.get("code"), f"I17: no problem document: {reply}"
            assert not TELLTALE.search(json.dumps(reply.body)), f"I17: the answer tells the inside: {reply.body}"


def _one_job_per_key(mesh: Mesh) -> None:
    by_key: dict[str, set[str]] = {}
    for reply in mesh.log:
        if reply.key and reply.status == 202 and reply.job_id not in mesh.deleted:
            by_key.setdefault(reply.key, set()).add(reply.job_id)
    twice = {key: jobs for key, jobs in by_key.items() if len(jobs) > 1}
    assert not twice, f"I7: one key, several jobs: {twice}"
    unknown = _known_ids(mesh) - set(mesh.acknowledged()) - mesh.deleted
    unanswered = sum(reply.status in {0, 503} for reply in mesh.log)
    # A request whose answer was lost may have been carried out; one that was refused may not.
    assert len(unknown) <= unanswered, f"I7: jobs nobody asked for: {unknown}"


def _one_run_at_a_time(journal: Iterable[dict[str, Any]]) -> None:
    running: dict[tuple[int, int], dict[str, Any]] = {}
    for line in journal:
        replica = (line["port"], line["pid"])
        if line["event"] == "begin":
            assert replica not in running, f"I6: {replica} ran {running[replica]['key']} and {line['key']} at once"
            running[replica] = line
        elif line["event"] in {"end", "cancelled", "failed"}:
            running.pop(replica, None)


def _known_ids(mesh: Mesh) -> set[str]:
    with mesh.redis() as connection:
        return {found[0] for key in connection.scan_iter("job:*", 1000) if (found := UUID.findall(key))}


def _held(mesh: Mesh) -> dict[str, Any]:
    """What ended jobs must not hold any more, where it is not empty."""
    with mesh.redis() as connection:
        found: dict[str, Any] = {
            "3d:queue": connection.lrange("3d:queue", 0, 9),
            "3d:leases": connection.zrange("3d:leases", 0, 9),
            "3d:claims": connection.hgetall("3d:claims"),
            **{key: connection.smembers(key) for key in connection.scan_iter("3d:unfinished:*")},
            **{key: connection.hgetall(key) for key in connection.scan_iter("3d:slots:*:held")},
        }
        seconds, micros = connection.time()  # type: ignore[misc]
    now_ms = seconds * 1000 + micros // 1000
    for key in [key for key in found if key.endswith(":held")]:
        # The grant of a holder that died ends by its lease; it is written over by the next.
        found[key] = {url: kept for url, kept in found[key].items() if int(kept.split()[1]) > now_ms}
    return {key: value for key, value in found.items() if value}


def _no_debris(mesh: Mesh) -> None:
    old, found = time.time() - 5.0, list[str]()
    for root in ("inputs", "outputs", "cache"):
        hidden = [path for path in (mesh.data_dir / root).rglob(".*") if path.is_file()]
        found += [str(path) for path in hidden if path.stat().st_mtime < old]
    # Who is killed between write and rename leaves one; it is swept when it is old.
    assert len(found) <= mesh.deaths_of_engines(), f"I16: temporary files are left: {found}"


def _keys_explained(mesh: Mesh, jobs: list[Job]) -> None:
    with mesh.redis() as connection:
        keys = set(connection.scan_iter(count=1000))
    retained = _known_ids(mesh)
    assert {job.id for job in jobs} <= retained, "I1: a job is not kept"
    stray = [key for key in keys if (found := UUID.findall(key)) and found[0] not in retained]
    assert not stray, f"I16: keys of jobs that are not there: {stray}"
    per_job = Counter(found[0] for key in keys if key.startswith("job:") and (found := UUID.findall(key)))
    assert set(per_job.values()) <= {2}, f"I16: a job explains its hash and its history, not {per_job.most_common(1)}"
    shared = {key for key in keys if not key.startswith("job:")}
    unknown = [key for key in shared if not SHARED_KEYS.match(key)]
    assert not unknown, f"I16: keys nothing explains: {unknown}"
    asked = {reply.key for reply in mesh.log if reply.key}
    assert sum(key.startswith("3d:idem:") for key in shared) <= len(asked), "I16: more idempotency keys than were sent"
    assert sum(not key.startswith("3d:idem:") for key in shared) <= 40, f"I16: keys grew: {sorted(shared)[:60]}"


def ended(jobs: Iterable[Job]) -> Counter[str]:
    """How many jobs ended how: `completed`, or the code of the failure."""
    return Counter(job.problem.code if job.problem else job.state.value for job in jobs)
