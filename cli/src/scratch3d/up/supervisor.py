"""Starts the mesh, watches it, starts again what dies, and stops it as a whole."""

import asyncio
import contextlib
import ctypes
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from scratch3d.contracts.jobs import Readiness

from . import redis_server

#: Pause before a process that died is started again; doubles up to the last one.
RESTART_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
STOP_TIMEOUT_S = 8.0
START_TIMEOUT_S = 180.0
_LISTENING = (15000, 30000)
_handed_out: set[int] = set()


class StartFailed(Exception):
    """The mesh did not come up; the message says which part and shows the end of its log."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One process of the mesh."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)


def free_port() -> int:
    """A loopback port nobody listens on, never the same twice.

    Below the range that systems take for outgoing connections (RFC 6056; Linux from 32768): what is free now is still
    free when the process that shall listen there has started, and when it is started again.
    """
    for _ in range(_LISTENING[1] - _LISTENING[0]):
        port = secrets.choice(range(*_LISTENING))
        if port in _handed_out:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _handed_out.add(port)
            return port
    raise StartFailed("no loopback port between {} and {} is free".format(*_LISTENING))


def plan(
    data_dir: Path, *, host: str, port: int, ui_dir: Path | None, outside: Mapping[str, str], redis_url: str | None
) -> list[Part]:
    """Every process with its command and environment; a given `redis_url` wins over a Redis of our own."""
    parts: list[Part] = []
    if not redis_url:
        redis_port = free_port()
        redis_url = f"redis://127.0.0.1:{redis_port}/0"
        parts.append(Part(name="redis", command=redis_server.command(redis_port, data_dir / "cache" / "redis")))
    shared = {"DATA_DIR": str(data_dir.absolute()), "REDIS_URL": redis_url, **outside}
    if "NUMBA_CACHE_DIR" not in os.environ:
        shared["NUMBA_CACHE_DIR"] = str((data_dir / "cache" / "numba").absolute())
    urls = {}
    for name, module in (
        ("image-service", "image_service"),
        ("reconstruction-service", "reconstruction_service"),
        ("postprocess-service", "postprocess_service"),
    ):
        at = free_port()
        urls[name] = f"http://127.0.0.1:{at}"
        where = {"HOST": "127.0.0.1", "PORT": str(at)}
        parts.append(Part(name=name, command=[sys.executable, "-m", module], environment={**shared, **where}))
    # pydantic-settings reads lists as JSON.
    shared["IMAGE_SERVICE_URLS"] = f'["{urls["image-service"]}"]'
    shared["RECONSTRUCTION_URLS"] = f'["{urls["reconstruction-service"]}"]'
    shared["POSTPROCESS_URLS"] = f'["{urls["postprocess-service"]}"]'
    door = {**shared, "HOST": host, "PORT": str(port), **({"UI_DIR": str(ui_dir)} if ui_dir else {})}
    orchestrator = [sys.executable, "-m", "orchestrator"]
    parts.append(Part(name="api", command=[*orchestrator, "api"], environment=door))
    parts.append(Part(name="worker", command=[*orchestrator, "worker"], environment=shared))
    return parts


class Supervisor:
    """Owns the processes of the mesh; leaving the context stops them all."""

    def __init__(self, parts: list[Part], *, log_dir: Path, say: Callable[[str], None]) -> None:
        self.parts, self.log_dir, self._say = parts, log_dir, say
        self.processes: dict[str, asyncio.subprocess.Process] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._stopping = False

    async def __aenter__(self) -> "Supervisor":
        self.log_dir.mkdir(parents=True, exist_ok=True)
        for part in self.parts:
            await self._start(part)
            self._keepers.append(asyncio.create_task(self._keep(part)))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        # Redis goes last, so that a worker can hand its jobs back.
        await asyncio.gather(*(self._stop(name) for name in self.processes if name != "redis"))
        if "redis" in self.processes:
            await self._stop("redis")

    async def wait_ready(self, url: str, timeout_s: float = START_TIMEOUT_S) -> None:
        """Until the API says that it and all it needs are ready; StartFailed with the reason otherwise."""
        waiting = "api"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s), httpx.AsyncClient(trust_env=False) as http:
                while True:
                    with contextlib.suppress(httpx.HTTPError, ValueError):
                        reply = await http.get(f"{url}/ready", timeout=5.0)
                        found = Readiness.model_validate_json(reply.content)
                        if found.ready:
                            return
                        waiting = next(name for name, word in found.dependencies.items() if word != "ok")
                    await asyncio.sleep(0.1)
        raise StartFailed(f"{waiting} is not ready after {timeout_s:g} s.\n{self.tail(waiting)}")

    def tail(self, name: str, lines: int = 15) -> str:
        """The end of a part's log."""
        path = self.log_dir / f"{name}.log"
        if not path.is_file():
            return f"{path} is not there"
        return f"The end of {path}:\n" + "\n".join(path.read_text(errors="replace").splitlines()[-lines:])

    async def _start(self, part: Part) -> None:
        # Opening a log takes microseconds and happens at a start only.
        with open(self.log_dir / f"{part.name}.log", "ab") as log:  # noqa: ASYNC230
            self.processes[part.name] = await asyncio.create_subprocess_exec(
                *part.command,
                env={**os.environ, **part.environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C in the terminal reaches us alone; we stop the others in order.
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    async def _keep(self, part: Part) -> None:
        deaths = 0
        while not self._stopping:
            began = asyncio.get_running_loop().time()
            code = await self.processes[part.name].wait()
            if asyncio.get_running_loop().time() - began > 60:
                deaths = 0
            pause = RESTART_PAUSES_S[min(deaths, len(RESTART_PAUSES_S) - 1)]
            deaths += 1
            self._say(f"{part.name} ended with status {code}; starting it again in {pause:g} s")
            await asyncio.sleep(pause)
            await self._start(part)

    async def _stop(self, name: str) -> None:
        process = self.processes[name]
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _die_with_parent() -> None:
    """In the child, before exec: a supervisor that is killed takes its mesh along."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
