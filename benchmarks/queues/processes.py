"""Processes of a benchmark: a real Redis of its own, workers, services; leaving the context kills them all."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import redis

from scratch3d.up import redis_server
from scratch3d.up.supervisor import free_port

HERE = Path(__file__).parent
START_TIMEOUT_S = 60.0


class Processes:
    """Starts processes in sessions of their own, so that one can be killed with its children."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._running: list[subprocess.Popen[bytes]] = []
        self._pids: dict[str, int] = {}

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._running):
            self.kill(process)

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """A process that writes to `name`.log."""
        with (self.directory / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=HERE, env={**os.environ, **environment}, stdout=log, stderr=log, start_new_session=True
            )
        self._running.append(process)
        self._pids[name] = process.pid
        return process

    def pid(self, name: str) -> int:
        """Of the last process of that name; also the number of its group."""
        return self._pids[name]

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """As `kill -9` does, with all its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process in self._running:
            self._running.remove(process)

    def redis(self) -> str:
        """Start Redis; its URL without a database number."""
        port = free_port()
        self.start("redis", redis_server.command(port, self.directory / "redis"), {})
        url = f"redis://127.0.0.1:{port}"
        with redis.Redis.from_url(url) as client:
            wait_for(lambda: _answers(client), "Redis")
        return url


def empty(url: str) -> None:
    """Forget all that Redis keeps."""
    with redis.Redis.from_url(url) as client:
        client.flushall()


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = START_TIMEOUT_S) -> Any:
    """The first true answer."""
    limit = time.monotonic() + timeout_s
    while time.monotonic() < limit:
        if found := condition():
            return found
        time.sleep(0.02)
    raise TimeoutError(f"{what} did not happen within {timeout_s:g} s")


def told(command: Sequence[str], environment: Mapping[str, str]) -> Any:
    """The JSON that a program prints."""
    done = subprocess.run(
        command,
        cwd=HERE,
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr.decode()[-2000:]}")
    return json.loads(done.stdout) if done.stdout.strip() else None


def python(name: str, *arguments: object, interpreter: str = sys.executable) -> list[str]:
    """The command line of a script of this folder."""
    return [interpreter, str(HERE / f"{name}.py"), *map(str, arguments)]


def many_files() -> None:
    """Let this process and its children open as many files as the machine allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _answers(client: "redis.Redis") -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
