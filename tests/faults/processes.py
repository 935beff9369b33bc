"""The whole mesh as processes that can be killed: a real Redis behind a proxy, stub engines, the API and workers."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import redis
from proxy import Proxy

from scratch3d.up import redis_server
from scratch3d.up.supervisor import free_port

HERE = Path(__file__).parent
SERVICES = ("image", "reconstruction", "postprocess")
FINAL = {"completed", "failed"}
_URLS_OF = {"image": "IMAGE_SERVICE_URLS", "reconstruction": "RECONSTRUCTION_URLS", "postprocess": "POSTPROCESS_URLS"}
_LIBC = ctypes.CDLL(None)
_START_TIMEOUT_S = 30.0


def until(condition: Callable[[], Any], timeout_s: float = 30.0, *, what: str = "it") -> Any:
    """The first true answer; fails when there is none in time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen within {timeout_s:g} s")


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One submission as the client saw it; status 0: no answer came."""

    at: float
    seconds: float
    path: str
    key: str | None
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None

    @property
    def job_id(self) -> str:
        """The acknowledged job; fails when there is none."""
        assert self.status == 202, f"{self.path} answered {self.status}: {self.body}"
        return str(self.body["job_id"])


@dataclass
class _Part:
    """One process: how it is started, and the present one."""

    command: list[str]
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0


class Mesh:
    """Starts everything in `directory`; leaving the context kills everything.

    Names: `redis`, `api`, `image-1`, `reconstruction-1`, `postprocess-1`, `worker-1`, … `worker_settings` are the
    environments of single workers, `settings` that of the API and of every worker; what is `idle` is not started.
    """

    def __init__(
        self,
        directory: Path,
        *,
        workers: int = 1,
        worker_settings: Sequence[Mapping[str, str]] = (),
        engines: Mapping[str, int] | None = None,
        settings: Mapping[str, str] | None = None,
        through_proxy: bool = True,
        idle: Collection[str] = (),
    ) -> None:
        self.data_dir, self.directory = directory / "volumes", directory
        self.redis_dir, self.log_dir = directory / "redis", directory / "logs"
        for made in (self.data_dir, self.log_dir):
            made.mkdir(parents=True, exist_ok=True)
        self.redis_port, self.api_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.api_port}"
        self.proxy = Proxy(self.redis_port)
        self.log: list[Reply] = []
        #: acknowledged jobs that need not be there any more
        self.deleted: set[str] = set()
        self.stubs: dict[str, str] = {}
        self._idle = idle
        self._parts: dict[str, _Part] = {}
        self._lock = threading.Lock()
        # Shorter than the API keeps an idle connection: none is used that it is about to close.
        limits = httpx.Limits(max_connections=200, keepalive_expiry=2.0)
        self._http = httpx.Client(base_url=self.url, trust_env=False, timeout=30, limits=limits)
        self._plan(
            workers, worker_settings, {**dict.fromkeys(SERVICES, 1), **(engines or {})}, settings or {}, through_proxy
        )

    def _plan(
        self,
        workers: int,
        worker_settings: Sequence[Mapping[str, str]],
        engines: Mapping[str, int],
        settings: Mapping[str, str],
        through_proxy: bool,
    ) -> None:
        self._add("redis", redis_server.command(self.redis_port, self.redis_dir), {})
        urls: dict[str, list[str]] = {service: [] for service in SERVICES}
        for service in SERVICES:
            for number in range(1, engines[service] + 1):
                name, port = f"{service}-{number}", free_port()
                self.stubs[name] = f"http://127.0.0.1:{port}"
                urls[service].append(self.stubs[name])
                journal = self.log_dir / f"{name}.journal"
                options = {"port": port, "data-dir": self.data_dir, "service": service, "journal": journal}
                flags = [word for key, value in options.items() for word in (f"--{key}", str(value))]
                self._add(name, [sys.executable, str(HERE / "stub_engine.py"), *flags], {})
        redis_port = self.proxy.port if through_proxy else self.redis_port
        shared = {
            "DATA_DIR": str(self.data_dir),
            "REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
            **{_URLS_OF[service]: json.dumps(urls[service]) for service in SERVICES},
            **settings,
        }
        launcher = [sys.executable, str(HERE / "doomed.py")]
        self._add("api", [*launcher, "api"], {**shared, "PORT": str(self.api_port)})
        for number in range(1, workers + 1):
            own = worker_settings[number - 1] if number <= len(worker_settings) else {}
            self._add(f"worker-{number}", [*launcher, "worker"], {**shared, **own})

    def _add(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        self._parts[name] = _Part(command, environment, self.log_dir / f"{name}.log")

    def __enter__(self) -> "Mesh":
        try:
            wanted = [name for name in self._parts if name not in self._idle]
            for name in wanted:
                self._spawn(name, {})
            for name in wanted:
                self.wait_up(name)
            until(lambda: self.get("/ready").status_code == 200, _START_TIMEOUT_S, what="readiness")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(self._parts):
            if self.alive(name):
                self.kill(name)
        self.proxy.close()
        self._http.close()

    # --- processes

    def start(self, name: str, environment: Mapping[str, str] | None = None, *, wait: bool = True) -> None:
        """Start a process that ended, with its own environment and these additions."""
        self._spawn(name, environment or {})
        if wait:
            self.wait_up(name)

    def wait_up(self, name: str) -> None:
        """Until the process does its work."""
        until(lambda: self._living(name) and self._works(name), _START_TIMEOUT_S, what=f"start of {name}")

    def kill(self, name: str) -> None:
        """SIGKILL, and wait."""
        self._signal(name, signal.SIGKILL)
        self._process(name).wait(10)

    def terminate(self, name: str) -> None:
        """SIGTERM; does not wait."""
        self._signal(name, signal.SIGTERM)

    def stop(self, name: str) -> None:
        """SIGSTOP, and wait until the process stands."""
        self._signal(name, signal.SIGSTOP)
        until(lambda: _process_state(self.pid(name)) == "T", 5, what=f"stop of {name}")

    def cont(self, name: str) -> None:
        """SIGCONT."""
        self._signal(name, signal.SIGCONT)

    def pid(self, name: str) -> int:
        """Of the present or the last process of that name."""
        return self._process(name).pid

    def alive(self, name: str) -> bool:
        """Whether the process has not ended."""
        process = self._parts[name].process
        return process is not None and process.poll() is None

    def exit_code(self, name: str) -> int | None:
        """Of a process that ended; negative is a signal."""
        return self._process(name).poll()

    def names(self, kind: str) -> list[str]:
        """Parts of a kind: `worker`, `image`, …"""
        return [name for name in self._parts if name.split("-")[0] == kind]

    def deaths_of_engines(self) -> int:
        """How often a stub engine ended."""
        return sum(self._parts[name].starts - self.alive(name) for name in self.stubs)

    def logs(self, name: str) -> str:
        """What the process of that name wrote, over all its lives."""
        path = self._parts[name].log
        return path.read_text(errors="replace") if path.exists() else ""

    # --- what is kept

    def redis(self) -> "redis.Redis":
        """A connection straight to Redis, past the proxy."""
        return redis.Redis(host="127.0.0.1", port=self.redis_port, decode_responses=True, socket_timeout=10)

    def journal(self) -> list[dict[str, Any]]:
        """All that the stub engines wrote, in order of time."""
        lines = [line for name in self.stubs for line in _json_lines(self.log_dir / f"{name}.journal")]
        return sorted(lines, key=lambda line: line["at"])

    def script(self, service: str, rules: list[dict[str, Any]]) -> None:
        """Give every running stub of a service these rules instead of its present ones."""
        for name in self.names(service):
            if self.alive(name):
                httpx.post(
                    f"{self.stubs[name]}/_stub/rules", json=rules, timeout=10, trust_env=False
                ).raise_for_status()

    # --- the client

    def get(self, path: str, *, timeout_s: float = 30.0) -> httpx.Response:
        """One request to the API."""
        return self._http.get(path, timeout=timeout_s)

    def post(self, path: str, body: Any = None, *, timeout_s: float = 30.0) -> httpx.Response:
        """One request to the API that is no submission."""
        return self._http.post(path, json=body, timeout=timeout_s)

    def submit(
        self, *, path: str = "/3d/generate", key: str | None = None, timeout_s: float = 30.0, **body: Any
    ) -> Reply:
        """Submit a job and note the answer, whatever it is."""
        body = {"prompt": "a red cube", "quality_tier": "fast", **body}
        headers = {"Idempotency-Key": key} if key else {}
        at, began = time.time(), time.monotonic()
        try:
            answer = self._http.post(path, json=body, headers=headers, timeout=timeout_s)
        except httpx.HTTPError as error:
            reply = Reply(at=at, seconds=time.monotonic() - began, path=path, key=key, status=0, body=repr(error))
        else:
            is_json = "json" in answer.headers.get("content-type", "")
            reply = Reply(
                at=at,
                seconds=time.monotonic() - began,
                path=path,
                key=key,
                status=answer.status_code,
                headers=dict(answer.headers),
                body=answer.json() if is_json else answer.text,
            )
        with self._lock:
            self.log.append(reply)
        return reply

    def status(self, job_id: str) -> dict[str, Any]:
        """`GET /3d/status/{job_id}`."""
        return dict(self._http.get(f"/3d/status/{job_id}").raise_for_status().json())

    def cancel(self, job_id: str) -> int:
        """Cancel a job; the status code."""
        return self._http.post(f"/3d/jobs/{job_id}/cancel").status_code

    def delete(self, job_id: str) -> int:
        """Delete an ended job; the status code."""
        status = self._http.delete(f"/3d/jobs/{job_id}").status_code
        if status == 204:
            self.forget(job_id)
        return status

    def forget(self, *job_ids: str) -> None:
        """These jobs need not be kept any more."""
        self.deleted.update(job_ids)

    def acknowledged(self) -> list[str]:
        """Jobs that were answered with 202 and not deleted, each once, in order."""
        with self._lock:
            found = dict.fromkeys(reply.job_id for reply in self.log if reply.status == 202)
        return [job_id for job_id in found if job_id not in self.deleted]

    def fields(self, job_id: str) -> dict[str, str]:
        """The job's hash."""
        with self.redis() as connection:
            return dict(connection.hgetall(f"job:{job_id}"))  # type: ignore[arg-type]

    def state(self, job_id: str) -> str | None:
        """The job's state as Redis has it."""
        with self.redis() as connection:
            return connection.hget(f"job:{job_id}", "state")  # type: ignore[return-value]

    def events(self, job_id: str) -> list[dict[str, Any]]:
        """The job's history: each event with its `id` and, in seconds, `at`."""
        with self.redis() as connection:
            entries: Any = connection.xrange(f"job:{job_id}:events")
        return [
            {**json.loads(fields["event"]), "id": entry, "at": int(entry.split("-")[0]) / 1000}
            for entry, fields in entries
        ]

    def wait_all(self, timeout_s: float = 60.0) -> dict[str, str]:
        """Until every acknowledged job has ended; their states."""
        jobs, deadline = self.acknowledged(), time.monotonic() + timeout_s
        with self.redis() as connection:
            while True:
                pipeline = connection.pipeline(transaction=False)
                for job_id in jobs:
                    pipeline.hget(f"job:{job_id}", "state")
                states = dict(zip(jobs, pipeline.execute(), strict=True))
                open_jobs = {job_id: state for job_id, state in states.items() if state not in FINAL}
                if not open_jobs:
                    return states
                assert time.monotonic() < deadline, f"I1: not ended within {timeout_s:g} s: {open_jobs}"
                time.sleep(0.05)

    # --- inside

    def _spawn(self, name: str, environment: Mapping[str, str]) -> None:
        assert not self.alive(name), f"{name} runs already"
        part = self._parts[name]
        with open(part.log, "ab") as log:
            part.starts += 1
            part.process = subprocess.Popen(
                part.command,
                env={**os.environ, **part.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    def _living(self, name: str) -> bool:
        assert self.alive(name), f"{name} ended while starting:\n{self.logs(name)[-2000:]}"
        return True

    def _works(self, name: str) -> bool:
        if name == "redis":
            return self._redis_answers()
        if name.startswith("worker"):
            return f'"worker_started", "pid": {self.pid(name)}}}' in self.logs(name)
        return _healthy(self.url if name == "api" else self.stubs[name])

    def _process(self, name: str) -> "subprocess.Popen[bytes]":
        process = self._parts[name].process
        assert process is not None, f"{name} was never started"
        return process

    def _signal(self, name: str, number: signal.Signals) -> None:
        assert self.alive(name), f"{name} had ended by itself:\n{self.logs(name)[-2000:]}"
        self._process(name).send_signal(number)

    def _redis_answers(self) -> bool:
        try:
            with self.redis() as connection:
                return bool(connection.ping())
        except redis.RedisError:
            return False


def _healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _json_lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    # A process that was killed may have left half a line.
    return [
        json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n") and line.strip()
    ]


def _process_state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0]


def _die_with_parent() -> None:
    """In the child, before exec: a test run that is killed takes its mesh along."""
    pr_set_pdeathsig = 1
    _LIBC.prctl(pr_set_pdeathsig, signal.SIGKILL)
