"""One engine in one child process: hot, replaceable, and never able to take the service down with it.

The parent keeps HTTP, heartbeat, lock and deadline; the child keeps the engine. They speak in small JSON messages over
a socket pair. A child that crashes, hangs or runs out of memory becomes a named error here, and a new child is started.

    parent → child   {"run": request, "number": n} {"cancel": n} {"close": true}
    child → parent   {"loaded": true} {"number": n, "progress": [fraction, phase]} {"number": n, "result" | "problem": …}

Every piece of work has a number; a message that carries another one is late, and is dropped.
"""

import asyncio
import contextlib
import ctypes
import importlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections import OrderedDict, deque
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Protocol, cast

from scratch3d.contracts.problems import Problem

from .errors import (
    Busy,
    Cancelled,
    DeadlineExceeded,
    EngineCrashed,
    EngineFailed,
    OutOfMemory,
    ServiceError,
    Unavailable,
    from_problem,
)
from .logging import get_logger
from .metrics import ENGINE_BUSY, ENGINE_RESTARTS

Payload = dict[str, Any]
#: Told the fraction done and the phase; raises Cancelled when the work should stop.
Report = Callable[[float, str], None]

_PR_SET_PDEATHSIG = 1
#: Results kept for a repeated Idempotency-Key; a retry comes within minutes, and a result is a kilobyte.
_KEPT_RESULTS = 256
_RESTART_PAUSE_S = 0.5

log = get_logger("runner")


class Work(Protocol):
    """What runs in the child: an engine with its file handling around it."""

    def load(self) -> None:
        """Bring the engine up; called once, before the first run."""

    def run(self, request: Payload, report: Report) -> Payload:
        """Do one piece of work; calls never overlap."""

    def close(self) -> None:
        """Release what `load` took."""


class Runner:
    """Parent side: at most one piece of work at a time, under a deadline, cancellable."""

    def __init__(
        self,
        work: str,
        arguments: Payload,
        *,
        name: str,
        lock: asyncio.Lock | None = None,
        deadline_s: float = 600.0,
        cancel_grace_s: float = 2.0,
        memory_limit_mb: int = 0,
    ) -> None:
        """`work` names a factory, `module:function`; it is called in the child with `arguments`."""
        self.name = name
        self.deadline_s = deadline_s
        self.phase, self.fraction = "waiting", 0.0
        self.load_error: str | None = None
        self._command = json.dumps({"work": work, "arguments": arguments, "memory_limit_mb": memory_limit_mb})
        self._lock = lock or asyncio.Lock()
        self._grace_s = cancel_grace_s
        self._loaded = asyncio.Event()
        self._messages: asyncio.Queue[Payload | None] = asyncio.Queue()
        self._kept: OrderedDict[str, Payload] = OrderedDict()
        self._stderr: deque[str] = deque(maxlen=20)
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._restart: asyncio.Task[None] | None = None
        self._closed = False
        self._failed_loads = 0
        self._number = 0

    @property
    def ready(self) -> bool:
        """The engine is loaded (busy counts as ready)."""
        return self._loaded.is_set()

    @property
    def pid(self) -> int | None:
        """The child, while there is one."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start the child; does not wait until the engine is loaded."""
        self._spawn()

    async def wait_ready(self, timeout_s: float) -> None:
        """Wait until the engine is loaded; Unavailable when it is not in time."""
        try:
            await asyncio.wait_for(self._loaded.wait(), timeout_s)
        except TimeoutError:
            raise Unavailable(
                f"engine {self.name} is not loaded: {self.load_error or 'still loading'}", retry_after_s=2.0
            ) from None

    async def run(self, request: Payload, *, key: str | None = None) -> Payload:
        """Do one piece of work and return its result.

        A finished result under the same `key` is returned at once. Raises Busy when something runs already,
        EngineCrashed, OutOfMemory, DeadlineExceeded, or what the engine reported. Cancelling this coroutine cancels
        the work: the flag is raised, and after the grace time the child is killed and replaced.
        """
        if key and key in self._kept:
            return self._kept[key]
        if self._lock.locked():
            raise Busy(f"engine {self.name} is busy", retry_after_s=1.0)
        async with self._lock:
            ENGINE_BUSY.labels(self.name).set(1)
            try:
                result = await self._run(request)
            finally:
                ENGINE_BUSY.labels(self.name).set(0)
        if key:
            self._kept[key] = result
            while len(self._kept) > _KEPT_RESULTS:
                self._kept.popitem(last=False)
        return result

    async def close(self) -> None:
        """Stop the child."""
        self._closed = True
        if self._restart:
            self._restart.cancel()
        with contextlib.suppress(OSError):
            self._send({"close": True})
        await self._ended()
        self._kill()
        await self._ended()

    async def _ended(self) -> None:
        """Wait a second for the child to be gone, and take it off the list of processes."""
        for _ in range(20):
            if self._process is None or self._process.poll() is not None:
                return
            await asyncio.sleep(0.05)

    # -- one run ---------------------------------------------------------------------------------------------

    async def _run(self, request: Payload) -> Payload:
        await self.wait_ready(timeout_s=30.0)
        self.phase, self.fraction = "starting", 0.0
        self._number += 1
        while not self._messages.empty():
            self._messages.get_nowait()
        try:
            self._send({"run": request, "number": self._number})
            return await asyncio.wait_for(self._result(), self.deadline_s)
        except TimeoutError:
            await self._until_free()
            raise DeadlineExceeded(f"engine {self.name} was stopped after {self.deadline_s:g} s") from None
        except asyncio.CancelledError:
            with contextlib.suppress(asyncio.CancelledError):
                await self._until_free()
            raise
        except OSError:
            raise self._crash() from None

    async def _until_free(self) -> None:
        """Stop the work, at most the grace time long; the lock must not be let go before the engine is free.

        Frameworks cancel again and again while they wait: that is remembered, and raised when the engine is free.
        """
        stopping = asyncio.create_task(self._stop_work())
        cancelled: asyncio.CancelledError | None = None
        while not stopping.done():
            try:
                await asyncio.shield(stopping)
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled:
            raise cancelled

    async def _message(self) -> Payload | None:
        """The next message about the present piece of work; None when the child has ended."""
        while True:
            message = await self._messages.get()
            if message is None or message.get("number") == self._number:
                return message

    async def _result(self) -> Payload:
        while True:
            message = await self._message()
            if message is None:
                raise self._crash()
            if "progress" in message:
                fraction, self.phase = message["progress"]
                self.fraction = max(self.fraction, min(1.0, float(fraction)))
            elif "result" in message:
                return cast(Payload, message["result"])
            elif "problem" in message:
                error = from_problem(Problem.model_validate(message["problem"]))
                if error.problem_code == OutOfMemory.code:
                    self._kill()  # what a failed allocation left behind is anybody's guess
                raise error

    async def _stop_work(self) -> None:
        try:
            self._send({"cancel": self._number})
            async with asyncio.timeout(self._grace_s):
                while True:
                    message = await self._message()
                    if message is None or "result" in message or "problem" in message:
                        return
        except (TimeoutError, OSError):
            log.warning("engine_killed", engine=self.name, why="did not stop when asked")
            self._kill()

    def _crash(self) -> ServiceError:
        code = self._process.poll() if self._process else None
        how = f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit status {code}"
        last = self._stderr[-1] if self._stderr else "no last words"
        return EngineCrashed(f"engine {self.name} ended in the middle of the work ({how}): {last}")

    # -- the child's life ------------------------------------------------------------------------------------

    def _spawn(self) -> None:
        # From the main thread: the parent-death signal follows the thread that started the child.
        ours, theirs = socket.socketpair()
        module = [sys.executable, "-m", "scratch3d.servicekit.runner"]
        with theirs:
            try:
                self._process = subprocess.Popen(
                    # The name is for people who look at the list of processes.
                    [*module, str(theirs.fileno()), str(os.getpid()), self.name],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    env={**os.environ, "PYTHONUNBUFFERED": "1"},
                )
            except OSError:
                ours.close()
                raise
        self._connection = connection = Connection(ours.detach())
        connection.send_bytes(self._command.encode())
        loop = asyncio.get_running_loop()
        loop.add_reader(connection.fileno(), self._receive, connection)
        threading.Thread(target=self._read_stderr, args=(self._process,), daemon=True).start()

    def _receive(self, connection: Connection) -> None:
        try:
            message: Payload = json.loads(connection.recv_bytes())
        except (EOFError, OSError):
            self._gone(connection)
            return
        if "loaded" in message:
            self.load_error = None
            self._loaded.set()
        elif "load_problem" in message:
            self.load_error = str(message["load_problem"])
            log.error("engine_load_failed", engine=self.name, reason=self.load_error)
        else:
            self._messages.put_nowait(message)

    def _gone(self, connection: Connection) -> None:
        """The child ended: tell who waits, and start another unless we are closing."""
        asyncio.get_running_loop().remove_reader(connection.fileno())
        connection.close()
        if connection is not self._connection:
            return
        self._loaded.clear()
        if self._process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.5)
        self._messages.put_nowait(None)
        if not self._closed:
            self._restart = asyncio.get_running_loop().create_task(self._respawn())

    async def _respawn(self) -> None:
        # A child that cannot load would otherwise be started a thousand times a minute.
        self._failed_loads = 0 if self.load_error is None else self._failed_loads + 1
        pause_s = 10.0 * 2 ** min(self._failed_loads - 1, 6) if self._failed_loads else _RESTART_PAUSE_S
        await asyncio.sleep(pause_s)
        while not self._closed:
            try:
                self._spawn()
            except OSError as error:  # no memory or no descriptors: likely just now, and likely to pass
                log.error("engine_not_restarted", engine=self.name, reason=str(error))
                await asyncio.sleep(5.0)
                continue
            ENGINE_RESTARTS.labels(self.name).inc()
            log.warning("engine_restarted", engine=self.name)
            return

    def _send(self, message: Payload) -> None:
        if self._connection is None or self._connection.closed:
            raise OSError("the child is not there")
        self._connection.send_bytes(json.dumps(message).encode())

    def _kill(self) -> None:
        self._loaded.clear()
        if self._process and self._process.poll() is None:
            self._process.kill()

    def _read_stderr(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        with process.stderr as stream:
            for raw in stream:
                if line := raw.decode(errors="replace").rstrip():
                    self._stderr.append(line[:500])
                    log.info("engine_stderr", engine=self.name, line=line[:2000])


# -- the child -------------------------------------------------------------------------------------------------


def _child_main(descriptor: int, parent_pid: int) -> None:
    """Load the engine, then do what the parent asks until it says close or goes away."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        return  # the parent died before the signal was armed
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when we stop
    connection = Connection(descriptor)
    command = json.loads(connection.recv_bytes())
    if command["memory_limit_mb"]:
        limit = command["memory_limit_mb"] * 2**20
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    try:
        module, function = command["work"].split(":")
        work = cast(Work, getattr(importlib.import_module(module), function)(command["arguments"]))
        work.load()
    except Exception as error:  # noqa: BLE001  whatever an engine's import or load raises must reach the parent as a reason
        traceback.print_exc()
        connection.send_bytes(json.dumps({"load_problem": f"{type(error).__name__}: {error}"}).encode())
        return
    connection.send_bytes(b'{"loaded": true}')
    _serve(work, connection)
    work.close()


def _serve(work: Work, connection: Connection) -> None:
    requests: deque[Payload] = deque()
    arrived, cancelled = threading.Semaphore(0), set[int]()

    def listen() -> None:
        while True:
            try:
                message = json.loads(connection.recv_bytes())
            except (EOFError, OSError):
                os._exit(0)
            if "cancel" in message:
                cancelled.add(message["cancel"])
                continue
            requests.append(message)
            arrived.release()

    threading.Thread(target=listen, daemon=True).start()
    while True:
        arrived.acquire()
        message = requests.popleft()
        if "close" in message:
            return
        number = message["number"]
        answer = _perform(work, message["run"], connection, number, cancelled)
        connection.send_bytes(json.dumps({**answer, "number": number}).encode())


def _perform(work: Work, request: Payload, connection: Connection, number: int, cancelled: set[int]) -> Payload:
    last_sent = 0.0

    def report(fraction: float, phase: str) -> None:
        nonlocal last_sent
        if number in cancelled:
            raise Cancelled()
        if time.monotonic() - last_sent >= 0.1:
            told = {"number": number, "progress": [float(fraction), phase]}
            connection.send_bytes(json.dumps(told).encode())
            last_sent = time.monotonic()

    try:
        return {"result": work.run(request, report)}
    except ServiceError as error:
        return {"problem": error.problem().model_dump()}
    except MemoryError:
        return {"problem": OutOfMemory().problem().model_dump()}
    except Exception as error:  # noqa: BLE001  an engine may raise anything; the parent must get one named problem
        traceback.print_exc()
        return {"problem": EngineFailed(f"{type(error).__name__}: {error}"[:500]).problem().model_dump()}


if __name__ == "__main__":
    _child_main(int(sys.argv[1]), int(sys.argv[2]))
