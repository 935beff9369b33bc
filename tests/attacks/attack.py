"""What an attack is judged by: its replies, what it cost everybody else, and whom our processes connected to."""

import contextlib
import http.client
import importlib.util
import io
import selectors
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
from PIL import Image, ImageDraw

#: While one caller misbehaves, everybody else's smallest question is answered within this time.
LONGEST_STALL_S = 1.0
#: No input makes a process grow by more than this.
MOST_GROWTH = 256 * 2**20


def running_mesh() -> ModuleType:
    """The module that starts a mesh; it is another directory's conftest, so it cannot be imported by name."""
    name = "running_mesh"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / "e2e" / "conftest.py")
        assert spec and spec.loader
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


class Canary:
    """Listens where nobody may connect to, and remembers everybody who did."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._selector = selectors.DefaultSelector()
        self.port = self._listen("127.0.0.1", 0)
        # Port 80 too: a URL that names no port, or one rewritten to its default, ends there.
        for host, port in (("::1", self.port), ("127.0.0.1", 80), ("::1", 80)):
            with contextlib.suppress(OSError):
                self._listen(host, port)
        self._open = True
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._open = False
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()

    def _listen(self, host: str, port: int) -> int:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._selector.register(listener, selectors.EVENT_READ)
        return int(listener.getsockname()[1])

    def _serve(self) -> None:
        while self._open:
            for key, _ in self._selector.select(0.1):
                accepted, peer = key.fileobj.accept()  # type: ignore[union-attr]
                with accepted:
                    accepted.settimeout(0.2)
                    said = b""
                    with contextlib.suppress(OSError):
                        said = accepted.recv(200)
                    self.heard.append(f"{accepted.getsockname()[:2]} from {peer[:2]}: {said!r}")


class Poller:
    """Asks one service for its health again and again over one warm connection."""

    THREAD = "watch over a service"

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = str(parts.hostname), int(parts.port or 80)
        self.asked: list[tuple[float, float]] = []
        self.failures: list[str] = []
        self._began: float | None = None
        self._open = True
        self._thread = threading.Thread(target=self._poll, name=self.THREAD, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._open = False
        self._thread.join()

    def longest_since(self, start: float) -> float:
        """The longest wait for an answer that had not come before `start`."""
        began = self._began
        waiting = time.monotonic() - began if began is not None else 0.0
        return max([waiting, *(end - begin for begin, end in self.asked if end > start)])

    def _poll(self) -> None:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=30)
        while self._open:
            try:
                connection.connect() if connection.sock is None else None
                self._began = time.monotonic()
                connection.request("GET", "/health")
                reply = connection.getresponse()
                reply.read()
                if reply.status != 200:
                    self.failures.append(f"health answered {reply.status}")
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"health did not answer: {error!r}")
                connection.close()
            if self._began is not None:
                self.asked.append((self._began, time.monotonic()))
            self._began = None
            time.sleep(0.05)
        connection.close()


class Memory:
    """How much each process of the mesh grows."""

    def __init__(self, processes: list[psutil.Process]) -> None:
        self._roots = processes
        self._levels: dict[int, int] = {}
        self._peaks: dict[int, int] = {}
        self._lock = threading.Lock()
        self._open = True
        self.start_over()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._open = False
        self._thread.join()

    def start_over(self) -> None:
        """Take the present levels as the ones to grow from."""
        with self._lock:
            self._levels, self._peaks = {}, {}
            for pid in self._pids():
                with contextlib.suppress(OSError):
                    # The kernel keeps the highest level by itself, so that a peak between two looks is not missed.
                    Path(f"/proc/{pid}/clear_refs").write_text("5")
                    self._levels[pid] = _memory(pid, "VmRSS")

    def growth(self) -> dict[str, int]:
        """Bytes by which each process that grew too much was above its level."""
        self._look()
        with self._lock:
            # An engine that was started anew has no level of its own: the largest one stands in for it.
            usual = max(self._levels.values(), default=0)
            grown = {pid: peak - self._levels.get(pid, usual) for pid, peak in self._peaks.items()}
        return {_name(pid): size for pid, size in grown.items() if size > MOST_GROWTH}

    def _sample(self) -> None:
        while self._open:
            self._look()
            time.sleep(0.1)

    def _look(self) -> None:
        with self._lock:
            for pid in self._pids():
                with contextlib.suppress(OSError):
                    self._peaks[pid] = max(self._peaks.get(pid, 0), _memory(pid, "VmHWM"))

    def _pids(self) -> list[int]:
        found = []
        for root in self._roots:
            with contextlib.suppress(psutil.NoSuchProcess):
                found += [root.pid, *(child.pid for child in root.children(recursive=True))]
        return found


def _memory(pid: int, row: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(row):
            return int(line.split()[1]) * 1024
    return 0  # a zombie has none


def _name(pid: int) -> str:
    try:
        return f"{pid} {' '.join(psutil.Process(pid).cmdline()[1:4])}"
    except psutil.Error:
        return f"{pid} (ended)"


@dataclass
class Watch:
    """Everything that is looked at while an attack runs."""

    canary: Canary
    pollers: dict[str, Poller]
    memory: Memory
    #: Status of every reply since the start.
    replies: list[int] = field(default_factory=list)
    started: float = 0.0

    def start_over(self) -> None:
        self.replies.clear()
        self.canary.heard.clear()
        for poller in self.pollers.values():
            poller.asked.clear()
            poller.failures.clear()
        self.memory.start_over()
        self.started = time.monotonic()

    def stalls(self) -> dict[str, float]:
        """Services that kept their smallest question waiting for too long."""
        longest = {name: poller.longest_since(self.started) for name, poller in self.pollers.items()}
        return {name: waited for name, waited in longest.items() if waited > LONGEST_STALL_S}

    def judge(self) -> None:
        """Fail when an attack had an effect."""
        assert not [status for status in self.replies if status >= 500], f"answered {self.replies}"
        assert not self.canary.heard, f"connected to where nobody may: {self.canary.heard}"
        assert not (grown := self.memory.growth()), f"grew by bytes: {grown}"
        failures = {name: poller.failures for name, poller in self.pollers.items() if poller.failures}
        assert not failures, failures


class Attacker(httpx.Client):
    """A caller whose every reply is noted."""

    def __init__(self, url: str, watch: Watch) -> None:
        # What the environment calls a proxy is none of ours.
        self.watch = watch
        hooks = {"response": [lambda reply: watch.replies.append(reply.status_code)]}
        super().__init__(base_url=url, timeout=30, event_hooks=hooks, trust_env=False)

    def ended(self, reply: httpx.Response, timeout_s: float = 30.0) -> dict[str, Any]:
        """The last status of the job that a reply accepted."""
        assert reply.status_code == 202, reply.text
        path, deadline = reply.json()["status_url"], time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            status: dict[str, Any] = self.get(path).json()
            if status["state"] in {"completed", "failed"}:
                return status
            time.sleep(0.05)
        raise AssertionError(f"the job did not end within {timeout_s} s: {status}")


def named(problem: dict[str, Any]) -> str | None:
    """The first field a problem names."""
    errors = problem.get("errors") or [{}]
    return errors[0].get("field")


def check_refused(reply: httpx.Response, *fields: str) -> dict[str, Any]:
    """A problem of the caller's own making that names one of the fields; its document."""
    assert 400 <= reply.status_code < 500, (reply.status_code, reply.text[:500])
    assert reply.headers["content-type"] == "application/problem+json", reply.headers
    problem: dict[str, Any] = reply.json()
    assert problem["status"] == reply.status_code
    assert not fields or named(problem) in fields, problem
    return problem


def check_fails(http: Attacker, reply: httpx.Response, *fields: str, timeout_s: float = 30.0) -> dict[str, Any]:
    """Refused at once, or accepted and then failed for the same kind of reason; the problem."""
    if reply.status_code != 202:
        return check_refused(reply, *fields)
    status = http.ended(reply, timeout_s)
    assert status["state"] == "failed", status
    problem: dict[str, Any] = status["problem"]
    assert 400 <= problem["status"] < 500 and problem["code"] != "cancelled", problem
    assert not fields or named(problem) in fields, problem
    return problem


def check_survives(http: Attacker, reply: httpx.Response, *fields: str, timeout_s: float = 30.0) -> str:
    """Made into a model, or refused in the caller's terms; `completed` or the code of the problem."""
    if reply.status_code == 202 and http.ended(reply, timeout_s)["state"] == "completed":
        return "completed"
    return str(check_fails(http, reply, *fields, timeout_s=timeout_s)["code"])


def body_picture(mode: str = "RGBA", size_px: int = 64) -> Image.Image:
    """A red block: on nothing where the mode has transparency, on white where it has none."""
    clear = (255, 255, 255, 0) if "A" in mode else (255, 255, 255, 255)
    image = Image.new("RGBA", (size_px, size_px), clear)
    quarter = size_px // 4
    ImageDraw.Draw(image).rectangle((quarter, quarter, 3 * quarter, 3 * quarter), fill=(200, 30, 30, 255))
    return image if mode == "RGBA" else image.convert(mode)


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    """A picture as a file."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


GOOD_PNG = encoded(body_picture())


def raw_replies(url: str, request: bytes, watch: Watch, timeout_s: float = 10.0) -> list[int]:
    """Send bytes as they are; the status of each reply, until the server closes or falls silent."""
    return [_status(line) for line in _raw(url, request, watch, timeout_s).split(b"\r\n") if line[:5] == b"HTTP/"]


def _raw(url: str, request: bytes, watch: Watch, timeout_s: float) -> bytes:
    parts = urlsplit(url)
    received = b""
    with socket.create_connection((str(parts.hostname), int(parts.port or 80)), timeout=timeout_s) as line:
        with contextlib.suppress(OSError):
            line.sendall(request)
        with contextlib.suppress(OSError):
            while part := line.recv(65536):
                received += part
    watch.replies += [_status(line) for line in received.split(b"\r\n") if line[:5] == b"HTTP/"]
    return received


def _status(line: bytes) -> int:
    return int(line.split()[1])


def each(table: dict[str, Any]) -> dict[str, Any]:
    """A table of inputs by name, as arguments for parametrize."""
    return {"argvalues": list(table.values()), "ids": list(table)}


@contextlib.contextmanager
def closing_all(*things: Any) -> Iterator[None]:
    """Close them in order, whatever happens."""
    with contextlib.ExitStack() as stack:
        for thing in reversed(things):
            stack.callback(thing.close)
        yield
