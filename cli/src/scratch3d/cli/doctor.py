"""`scratch3d doctor`: the usual mistakes, found before they bite."""

import os
import resource
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
from redis import Redis
from redis.exceptions import RedisError

from orchestrator.settings import LOOPBACK, REAP_EVERY_S, Settings
from scratch3d.client import Client, Unreachable
from scratch3d.up import redis_server

#: A finished job of the CPU mesh takes about 15 MB.
FREE_DISK_GB = 2.0
#: Event streams and calls of one busy API.
MIN_FILES = 4096
#: A killed worker's job is taken up again within this time; a shorter lease than the other may end while a machine swaps.
TAKEOVER_S, MIN_LEASE_S = 15.0, 3.0
#: A queue on another continent works, but nobody wants it.
SLOW_MS = 20.0


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    detail: str


def examine(url: str, data_dir: Path) -> Iterator[Finding]:
    """Look at this machine, and at the mesh if one runs."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding(what="python", ok=sys.version_info >= (3, 11), detail=f"{version} (3.11 or later is needed)")
    yield _redis()
    yield from _packages()
    yield _disk(data_dir)
    yield _writable(data_dir)
    yield _descriptors()
    yield from _settings()
    if given := os.environ.get("REDIS_URL"):
        yield from _store(given)
    yield from _mesh(url)


def _redis() -> Finding:
    if given := os.environ.get("REDIS_URL"):
        return Finding(what="redis", ok=True, detail=f"REDIS_URL is set: {given.rsplit('@', 1)[-1]}")
    try:
        return Finding(what="redis", ok=True, detail=f"will start {redis_server.executable()}")
    except redis_server.NoRedis as error:
        return Finding(what="redis", ok=False, detail=str(error))


def _packages() -> Iterator[Finding]:
    for module in ("orchestrator", "image_service", "reconstruction_service", "postprocess_service"):
        here = find_spec(module) is not None
        yield Finding(what=module, ok=here, detail="installed" if here else "not installed: run scripts/setup")


def _disk(data_dir: Path) -> Finding:
    where = data_dir if data_dir.exists() else Path.cwd()
    free = shutil.disk_usage(where).free / 1e9
    return Finding(what="disk", ok=free >= FREE_DISK_GB, detail=f"{free:.1f} GB free at {where}")


def _writable(data_dir: Path) -> Finding:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        probe = data_dir / ".doctor"
        probe.touch()
        probe.unlink()
    except OSError as error:
        return Finding(what="data", ok=False, detail=f"{data_dir} cannot be written: {error.strerror}")
    return Finding(what="data", ok=True, detail=f"{data_dir} can be written")


def _descriptors() -> Finding:
    """Every event stream is a descriptor."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    detail = f"{soft} open files per process" + ("" if soft >= MIN_FILES else ": raise it with `ulimit -n 65536`")
    return Finding(what="files", ok=soft >= MIN_FILES, detail=detail)


def _settings() -> Iterator[Finding]:
    """The environment, read as the API and the worker read it."""
    try:
        settings = Settings()
    except ValueError as error:
        reason = " ".join(str(error).split())[:200]
        yield Finding(what="settings", ok=False, detail=f"cannot be read, lists are JSON: {reason}")
        return
    if settings.auth_required and not settings.api_keys.get_secret_value():
        yield Finding(what="auth", ok=False, detail="keys are required, and API_KEYS is empty: nobody can get in")
    elif not settings.auth_required and settings.host not in LOOPBACK:
        yield Finding(what="auth", ok=False, detail=f"AUTH=off on {settings.host}: everybody who connects is let in")
    else:
        yield Finding(
            what="auth", ok=True, detail="keys are asked for" if settings.auth_required else "off, on loopback"
        )
    late = settings.lease_s + REAP_EVERY_S > TAKEOVER_S
    why = f"a dead worker's job waits longer than {TAKEOVER_S:g} s" if late else "a busy machine may lose jobs it holds"
    good = settings.lease_s >= MIN_LEASE_S and not late
    yield Finding(what="lease", ok=good, detail=f"LEASE_S is {settings.lease_s:g}" + ("" if good else f": {why}"))


def _store(url: str) -> Iterator[Finding]:
    """What a Redis must be for nothing to be lost."""
    try:
        with Redis.from_url(url, decode_responses=True, socket_timeout=3, socket_connect_timeout=3) as redis:
            began = time.perf_counter()
            redis.ping()
            took_ms = (time.perf_counter() - began) * 1000
            facts: dict[str, Any] = redis.info()
    except (RedisError, OSError, ValueError) as error:
        yield Finding(what="redis", ok=False, detail=f"does not answer: {error}")
        return
    version = str(facts["redis_version"])
    recent = tuple(int(part) for part in version.split(".")[:2]) >= (6, 2)
    yield Finding(what="redis version", ok=recent, detail=f"{version} (6.2 or later is needed)")
    kept = bool(facts.get("aof_enabled")) and facts.get("aof_last_write_status", "ok") == "ok"
    mend = "on" if kept else "off or failing: set `appendonly yes`, or jobs are lost when Redis dies"
    yield Finding(what="redis journal", ok=kept, detail=mend)
    policy = facts.get("maxmemory_policy", "noeviction")
    yield Finding(
        what="redis memory",
        ok=policy == "noeviction",
        detail=policy if policy == "noeviction" else f"{policy} throws jobs away: set `maxmemory-policy noeviction`",
    )
    single = not facts.get("cluster_enabled") and facts.get("role") == "master"
    yield Finding(
        what="redis role", ok=single, detail="single node" if single else "a cluster or a replica: not supported"
    )
    yield Finding(what="redis latency", ok=took_ms < SLOW_MS, detail=f"{took_ms:.1f} ms a round trip")


def _mesh(url: str) -> Iterator[Finding]:
    try:
        with Client(url, timeout_s=10) as client:
            readiness = client.ready()
    except Unreachable:
        free = _port_free(url)
        word = "no mesh runs there; start one with `scratch3d up`" if free else "something else answers there"
        yield Finding(what="mesh", ok=free, detail=f"{url}: {word}")
        return
    for name, word in readiness.dependencies.items():
        yield Finding(what=name, ok=word == "ok", detail=word)
    yield from _figures(url)


def _figures(url: str) -> Iterator[Finding]:
    """What the API's metrics tell about workers and replicas."""
    try:
        text = httpx.get(f"{url}/metrics", timeout=5, trust_env=False).raise_for_status().text
    except httpx.HTTPError:
        return  # a proxy may keep metrics inside
    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    workers = int(float(figures.get("scratch3d_workers", 0)))
    queued = int(float(figures.get("scratch3d_queue_length", 0)))
    detail = f"{workers} at work, {queued} jobs wait" if workers else f"none: {queued} jobs wait for `scratch3d-worker`"
    yield Finding(what="workers", ok=workers > 0, detail=detail)
    for name, value in figures.items():
        if name.startswith("scratch3d_slots{") and 'state="away"' in name and float(value):
            pool = name.split('pool="')[1].split('"')[0]
            yield Finding(what=pool, ok=False, detail=f"{float(value):g} replicas failed a moment ago and are left out")


def _port_free(url: str) -> bool:
    port = int(url.rsplit(":", 1)[-1].split("/")[0]) if url.count(":") > 1 else 80
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
