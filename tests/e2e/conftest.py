"""The real mesh as local processes, on a Redis of its own, started once for the whole suite."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from scratch3d.client import Client
from scratch3d.contracts.jobs import JobStatus
from scratch3d.up.mesh import page_dir
from scratch3d.up.supervisor import Supervisor, free_port, plan

# Meshes of this suite share compiled kernels, as they would share an installation.
os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(sys.prefix) / "numba-cache"))
TOOLS = Path(__file__).parents[1] / "tools"


@dataclass
class Mesh:
    """A running mesh and its processes."""

    url: str
    data_dir: Path
    supervisor: Supervisor
    redis_url: str

    def pid(self, part: str) -> int:
        return self.supervisor.processes[part].pid

    def path(self, key: str) -> Path:
        return self.data_dir / key.lstrip("/")


class MeshThread:
    """Runs a supervisor in a thread of its own, so that tests can be plain functions."""

    def __init__(
        self, data_dir: Path, *, leave_out: tuple[str, ...] = (), settings: dict[str, str] | None = None
    ) -> None:
        port = free_port()
        parts = plan(data_dir, host="127.0.0.1", port=port, ui_dir=page_dir(), outside=settings or {}, redis_url=None)
        redis_url = next(p.environment["REDIS_URL"] for p in parts if p.name == "api")
        self.left_out = {p.name: p for p in parts if p.name in leave_out}
        supervisor = Supervisor([p for p in parts if p.name not in leave_out], log_dir=data_dir / "logs", say=print)
        self.mesh = Mesh(f"http://127.0.0.1:{port}", data_dir, supervisor, redis_url)
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()), daemon=True)

    def __enter__(self) -> Mesh:
        self._thread.start()
        self._ready.wait(240)
        if self._error:
            raise self._error
        return self.mesh

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            async with self.mesh.supervisor as supervisor:
                await supervisor.wait_ready(self.mesh.url)
                self._ready.set()
                await self._stop.wait()
        except BaseException as error:
            self._error = error
            self._ready.set()


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with MeshThread(tmp_path_factory.mktemp("volumes"), settings={"LEASE_S": "3"}) as running:
        yield running


@pytest.fixture
def client(mesh: Mesh) -> Iterator[Client]:
    with Client(mesh.url) as made:
        yield made


@pytest.fixture
def http(mesh: Mesh) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=mesh.url, timeout=30) as made:
        yield made


def until(condition: Callable[[], Any], timeout_s: float = 30.0) -> Any:
    """The first true answer; fails when there is none in time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"did not happen within {timeout_s} s")


def ended(client: Client, job_id: str, timeout_s: float = 60.0) -> JobStatus:
    """The job's last status."""

    def look() -> JobStatus | None:
        status = client.status(job_id)
        return status if status.state in {"completed", "failed"} else None

    return until(look, timeout_s)  # type: ignore[no-any-return]


def validate(*files: Path) -> list[dict[str, Any]]:
    """The Khronos validator's counts for each file."""
    node = Path(sys.executable).parent / "node"
    command = [str(node), str(TOOLS / "validate.cjs"), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]
