"""The mesh as a command wants it: one context, one URL."""

import fcntl
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from .supervisor import StartFailed, Supervisor, plan

#: A mesh that was told to stop holds its data directory a few seconds longer.
LOCK_PATIENCE_S = 6.0


@dataclass(frozen=True, kw_only=True)
class RunningMesh:
    """A mesh that is up."""

    url: str
    data_dir: Path
    supervisor: Supervisor


@asynccontextmanager
async def running(
    data_dir: Path, *, host: str, port: int, say: Callable[[str], None], outside: dict[str, str] | None = None
) -> AsyncIterator[RunningMesh]:
    """Start everything, wait until it is ready, and stop it at the end; StartFailed or NoRedis otherwise."""
    with _alone(data_dir):
        async with _started(data_dir, host=host, port=port, say=say, outside=outside or {}) as mesh:
            yield mesh


@contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    """Hold the data directory: two Redis servers on one append-only file would mix and lose jobs."""
    lock_path = data_dir / "cache" / "mesh.lock"
    lock_path.parent.mkdir(parents=True, exist_ok=True)
    with lock_path.open("w") as lock:
        deadline = time.monotonic() + LOCK_PATIENCE_S
        while not _locked(lock):
            if time.monotonic() > deadline:
                raise StartFailed(f"another mesh uses {data_dir}: stop it, or give another --data-dir")
            time.sleep(0.1)
        yield


def _locked(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@asynccontextmanager
async def _started(
    data_dir: Path, *, host: str, port: int, say: Callable[[str], None], outside: dict[str, str]
) -> AsyncIterator[RunningMesh]:
    if _taken(host, port):
        raise StartFailed(f"port {port} is taken: stop what listens there, or give another --port")
    parts = plan(
        data_dir,
        host=host,
        port=port,
        ui_dir=page_dir(),
        outside=outside,
        redis_url=os.environ.get("REDIS_URL"),
    )
    async with Supervisor(parts, log_dir=data_dir / "cache" / "logs", say=say) as supervisor:
        shown = "127.0.0.1" if host in {"0.0.0.0", "::"} else host
        url = f"http://{shown}:{port}"
        await supervisor.wait_ready(url)
        yield RunningMesh(url=url, data_dir=data_dir, supervisor=supervisor)


def _taken(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


def page_dir() -> Path | None:
    """The test page: UI_DIR, or the one of the checkout this package is installed from."""
    if given := os.environ.get("UI_DIR"):
        return Path(given)
    beside = Path(__file__).resolve().parents[4] / "ui" / "test_3d" / "public"
    return beside if (beside / "index.html").is_file() else None
