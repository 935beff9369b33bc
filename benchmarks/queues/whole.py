"""Measures of the real API and worker as processes: round trips, overhead, HTTP, event streams, memory."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import httpx
import mesh as meshes
import redis
import usage
from counting import CountingProxy
from processes import HERE, Processes, python, wait_for

#: How long an idle worker is watched: several turns of its housekeeping.
IDLE_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Road:
    """The whole road of one job, in figures.

    Round trips per job are net of the worker's housekeeping, which is a matter of seconds, not of jobs.
    """

    api_trips: float
    #: one job at a time, and from a full queue
    worker_trips: tuple[float, float]
    housekeeping_per_s: float
    overhead_ms: tuple[float, ...]
    jobs_per_s: float


def road(processes: Processes, redis_url: str, *, jobs: int, engine_s: float) -> Road:
    """Round trips on a counted way to Redis; overhead and throughput on the straight one."""
    trips = _trips(processes, redis_url, jobs, engine_s)
    with Processes(processes.directory) as own:
        mesh = meshes.start(own, f"{redis_url}/0", engine_s=engine_s)
        _one_after_the_other(mesh, redis_url, 5)
        overhead = _overhead(mesh, _one_after_the_other(mesh, redis_url, jobs))
    with Processes(processes.directory) as own:
        mesh = meshes.start(own, f"{redis_url}/0", replicas=4, engine_s=0.0)
        _together(mesh, redis_url, 20)
        rate = _together(mesh, redis_url, jobs)
    return Road(**trips, overhead_ms=tuple(overhead), jobs_per_s=rate)


def _trips(processes: Processes, redis_url: str, jobs: int, engine_s: float) -> dict[str, Any]:
    """Round trips by Road's names, counted on the way; four replicas each, so that no slot is waited for."""
    port = urlsplit(redis_url).port or 0
    api, worker = CountingProxy(port), CountingProxy(port)
    with Processes(processes.directory) as own:
        mesh = meshes.start(
            own,
            f"redis://127.0.0.1:{api.port}/0",
            worker_redis_url=f"redis://127.0.0.1:{worker.port}/0",
            replicas=4,
            engine_s=engine_s,
        )
        _one_after_the_other(mesh, redis_url, 5)

        def counted(act: Callable[[], object]) -> tuple[float, float, float]:
            before, began = (api.round_trips, worker.round_trips), time.monotonic()
            act()
            return api.round_trips - before[0], worker.round_trips - before[1], time.monotonic() - began

        _, idle, idle_s = counted(lambda: time.sleep(IDLE_S))
        api_single, single, single_s = counted(lambda: _one_after_the_other(mesh, redis_url, jobs))
        _, full, full_s = counted(lambda: _together(mesh, redis_url, jobs))
    rate = idle / idle_s
    net = (single - rate * single_s) / jobs, (full - rate * full_s) / jobs
    return {"api_trips": api_single / jobs, "worker_trips": net, "housekeeping_per_s": rate}


def _one_after_the_other(mesh: meshes.Mesh, redis_url: str, count: int) -> dict[str, float]:
    """Seconds of each job from acceptance to end. Looks at Redis itself, so that nobody's trips are ours."""
    found = {}
    with redis.Redis.from_url(redis_url, decode_responses=True) as client, _http(mesh) as http:
        for _ in range(count):
            job_id = http.post("/3d/generate", json=meshes.PROMPT).raise_for_status().json()["job_id"]
            kept = wait_for(lambda job_id=job_id: _ended(client, job_id), f"the end of {job_id}")
            found[job_id] = float(kept["finished_at"]) - float(kept["created_at"])
    return found


def _overhead(mesh: meshes.Mesh, whole: dict[str, float]) -> list[float]:
    """Milliseconds of each job in which no engine worked for it."""
    working = dict.fromkeys(whole, 0.0)
    for entry in mesh.journal():
        if entry["job_id"] in working:
            working[entry["job_id"]] += {"begin": -entry["at"], "end": entry["at"]}.get(entry["event"], 0.0)
    return [(whole[job_id] - working[job_id]) * 1000 for job_id in whole]


def _together(mesh: meshes.Mesh, redis_url: str, count: int) -> float:
    """Jobs a second, all submitted at once."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client, _http(mesh) as http:
        began = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda _: http.post("/3d/generate", json=meshes.PROMPT), range(count)))
        for reply in replies:
            wait_for(lambda reply=reply: _ended(client, reply.json()["job_id"]), "the end of a job")
        return count / (time.monotonic() - began)


def _ended(client: "redis.Redis", job_id: str) -> dict[str, str] | None:
    kept: Any = client.hgetall(f"job:{job_id}")
    if kept.get("state") == "failed":
        raise RuntimeError(f"a job failed: {kept.get('message')}")
    return kept if kept.get("state") == "completed" else None


def _http(mesh: meshes.Mesh) -> httpx.Client:
    return httpx.Client(base_url=mesh.url, timeout=30, trust_env=False)


@dataclass(frozen=True, kw_only=True)
class Rate:
    """One kind of request at one number of connections: the median round of each side."""

    name: str
    connections: int
    bare: dict[str, float]
    ours: dict[str, float]


def http(processes: Processes, redis_url: str, *, rounds: int, seconds: float) -> list[Rate]:
    """Submission and status of the API and of the bare handlers, in turns, without a worker."""
    with Processes(processes.directory) as own:
        urls = {"bare": meshes.bare(own, f"{redis_url}/0"), "ours": meshes.start(own, f"{redis_url}/0", workers=0).url}
        pids = {"bare": own.pid("bare"), "ours": own.pid("api")}
        body = json.dumps(meshes.PROMPT)
        jobs = {
            side: json.loads(str(load(url, ["/3d/generate"], body, count=16)["last"])) for side, url in urls.items()
        }
        kinds = [("POST /3d/generate", dict.fromkeys(urls, "/3d/generate"), body)]
        kinds.append(("GET /3d/status/{id}", {side: f"/3d/status/{jobs[side]['job_id']}" for side in urls}, ""))
        found = []
        for name, paths, sent in kinds:
            for connections in (16, 64):
                told: dict[str, list[dict[str, Any]]] = {side: [] for side in urls}
                for _ in range(rounds):
                    for side, url in urls.items():
                        used = usage.seconds({pids[side]})
                        one = load(url, [paths[side]], sent, connections=connections, seconds=seconds)
                        told[side].append({**one, "cpu_us": (usage.seconds({pids[side]}) - used) / one["count"] * 1e6})
                middle = {side: _middle(several) for side, several in told.items()}
                found.append(Rate(name=name, connections=connections, **middle))
        return found


def load(
    url: str, paths: Sequence[str], body: str = "", *, connections: int = 1, seconds: float = 0.0, count: int = 0
) -> dict[str, Any]:
    """What the load generator tells, in a process of its own; any reply but 2xx is an error."""
    command = python("load", url, connections, seconds, count, *([body] if body else []))
    done = subprocess.run(command, input="\n".join(paths).encode(), stdout=subprocess.PIPE, check=True)
    told: dict[str, Any] = json.loads(done.stdout)
    if told["failed"]:
        raise RuntimeError(f"{told['failed']} of {told['count']} requests failed, the last with {told['last']}")
    return told


def _middle(several: Sequence[dict[str, Any]]) -> dict[str, float]:
    return {name: median(one[name] for one in several) for name in ("per_s", "p50_ms", "p99_ms", "cpu_us")}


def streams(processes: Processes, redis_url: str, *, clients: int, jobs: int, seconds: float) -> dict[str, float]:
    """So many clients over so many jobs, each job with one event a second, on one API process."""
    with Processes(processes.directory) as own:
        mesh = meshes.start(own, f"{redis_url}/0", workers=0)
        environment = {**os.environ, "REDIS_URL": f"{redis_url}/0"}
        writer = _talker(python("streams", "publish", jobs, seconds), environment)
        ids = json.loads(_line(writer))
        listener = _talker(python("streams", "listen", mesh.url, seconds + 3.0), environment)
        assert listener.stdin and writer.stdin
        listener.stdin.write("\n".join(f"/3d/events/{ids[n % jobs]}" for n in range(clients)).encode())
        listener.stdin.close()
        _line(listener)
        used = usage.seconds({own.pid("api")})
        writer.stdin.write(b"go\n")
        writer.stdin.flush()
        rate = json.loads(_line(writer))["per_s"]
        used = usage.seconds({own.pid("api")}) - used
        heard = json.loads(_line(listener))
        writer.wait(30)
        listener.wait(30)
    return {**heard, "written_per_s": rate, "expected": clients * int(seconds), "cores": used / seconds}


def _talker(command: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, cwd=HERE, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout
    if line := process.stdout.readline():
        return line
    raise RuntimeError(f"{process.args!r} ended without a word")


@dataclass(frozen=True, kw_only=True)
class Full:
    """A long queue."""

    queued: int
    bytes_per_job: float
    history_bytes: float
    empty: dict[str, Any]
    full: dict[str, Any]


def queue_full(processes: Processes, redis_url: str, *, queued: int, seconds: float) -> Full:
    """Bytes of Redis per waiting job, and the status of jobs with an empty and with a long queue, in turns."""
    with Processes(processes.directory) as own, redis.Redis.from_url(redis_url, decode_responses=True) as client:
        mesh = meshes.start(own, f"{redis_url}/0", workers=0)
        body = json.dumps(meshes.PROMPT)
        first = json.loads(str(load(mesh.url, ["/3d/generate"], body, count=16)["last"]))["job_id"]
        empty = load(mesh.url, [f"/3d/status/{first}"], seconds=seconds)
        before: Any = client.info("memory")
        load(mesh.url, ["/3d/generate"], body, connections=16, count=queued)
        after: Any = client.info("memory")
        ids: Any = client.lrange("3d:queue", 0, -1)
        full = load(mesh.url, [f"/3d/status/{job_id}" for job_id in ids[:: len(ids) // 100]], seconds=seconds)
        shared: Any = client.memory_usage("3d:events", samples=0)
    grown = (after["used_memory"] - before["used_memory"]) / queued
    return Full(queued=queued, bytes_per_job=grown, history_bytes=(shared or 0) / queued, empty=empty, full=full)
