"""`scratch3d doctor`: the usual mistakes, found before they bite."""

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from scratch3d.client import Client, Unreachable
from scratch3d.up import redis_server

#: A finished job of the CPU mesh takes about 15 MB.
FREE_DISK_GB = 2.0


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


def _port_free(url: str) -> bool:
    port = int(url.rsplit(":", 1)[-1].split("/")[0]) if url.count(":") > 1 else 80
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
