"""One connection to Redis that any number of callers share: questions leave at once, answers come in their order.

redis-py opens the connection and makes it ready (TLS, password, database); its own way of a command costs five times as
much processor time as Redis spends on it, this one a fifth of that (benchmarks/control_plane.py). A caller that is
cancelled leaves its answer to nobody: it stays in line, so that no other caller gets it. Nothing here swallows a cancel,
as `asyncio.wait_for` does in Python 3.11.
"""

import asyncio
import builtins
import hashlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import hiredis
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, NoScriptError, ResponseError, TimeoutError

Word = str | bytes | int | float
#: Connecting, password and all.
CONNECT_S = 2.5
#: After an answer that did not come, questions are refused at once for this long: nobody should queue for silence.
SILENCE_S = 1.0

#: hiredis' stub says one word where it means any number.
_packed: Callable[[tuple[Word, ...]], bytes] = hiredis.pack_command  # type: ignore[assignment]


class Script:
    """A Lua script, known to Redis by its digest."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


#: A script, its keys, its arguments.
ScriptCall = tuple[Script, Sequence[str], Sequence[Any]]


class RedisWire:
    """Connects at the first question, and again at the first one after a loss; redis-py's errors are raised."""

    def __init__(self, url: str, *, answer_s: float = 2.5) -> None:
        """An answer that takes longer than `answer_s` is the connection's end."""
        self.pool = pool_of(url)
        self._answer_s = answer_s
        self._line: _Line | None = None
        self._opening: asyncio.Task[_Line] | None = None
        self._silent_until = 0.0

    async def ask(self, *questions: Sequence[Word]) -> list[Any]:
        """The answers, in order, in one round trip; asked once more when the connection is lost meanwhile.

        So every question must be harmless when it is asked twice.
        """
        try:
            return await self._ask(questions)
        except (ConnectionError, TimeoutError):
            return await self._ask(questions)

    async def run(self, *calls: ScriptCall) -> list[Any]:
        """What scripts answer, in one round trip; each of them can be repeated safely."""
        questions = [("EVALSHA", s.sha, len(keys), *keys, *given) for s, keys, given in calls]
        try:
            return await self.ask(*questions)
        except NoScriptError:
            # Redis was started again. Those that were known have run, and recognise that.
            loads = [("SCRIPT", "LOAD", script.text) for script, _, _ in calls]
            return (await self.ask(*loads, *questions))[len(loads) :]

    async def close(self) -> None:
        """Hang up; who still waits gets an error."""
        if self._line:
            await self._line.close()
        await Redis.from_pool(self.pool).aclose()

    async def _ask(self, questions: Sequence[Sequence[Word]]) -> list[Any]:
        line = self._line
        if line is None or line.lost:
            line = await self._opened()
        # All of them leave before any is waited for.
        waiting = [line.ask(_packed(tuple(words))) for words in questions]
        replies = [await reply for reply in waiting]
        for reply in replies:
            if isinstance(reply, Exception):
                if isinstance(reply, TimeoutError):
                    self._silent_until = time.monotonic() + SILENCE_S
                raise reply
        return replies

    async def _opened(self) -> "_Line":
        if time.monotonic() < self._silent_until:
            raise ConnectionError("Redis did not answer a moment ago")
        if self._opening is None or self._opening.done():
            self._opening = asyncio.get_running_loop().create_task(self._open())
        # Shielded: the others who wait for it are not cancelled with one of them.
        return await asyncio.shield(self._opening)

    async def _open(self) -> "_Line":
        if self._line:
            await self._line.close()
        try:
            connection = await connected(self.pool)
        except TimeoutError as error:
            self._silent_until = time.monotonic() + SILENCE_S
            raise ConnectionError(str(error)) from None
        self._line = _Line(connection, self._answer_s)
        return self._line


def pool_of(url: str) -> ConnectionPool:
    """How to connect; nothing is connected yet."""
    # RESP2: what a command answers does not depend on who asks.
    return ConnectionPool.from_url(
        url,
        decode_responses=True,
        protocol=2,
        socket_timeout=CONNECT_S,
        socket_connect_timeout=CONNECT_S,
        retry=Retry(NoBackoff(), 0),
    )


async def connected(pool: ConnectionPool) -> Any:
    """redis-py's connection, password and all; its errors, TimeoutError after `CONNECT_S`."""
    connection: Any = pool.make_connection()  # type: ignore[no-untyped-call]
    try:
        async with asyncio.timeout(CONNECT_S):
            await connection.connect()
    except (builtins.TimeoutError, TimeoutError):
        raise TimeoutError(f"Redis did not let us in within {CONNECT_S:g} s") from None
    except RuntimeError as error:  # uvloop's word for a transport that has just been closed
        raise ConnectionError(str(error)) from error
    return connection


class _Line(asyncio.Protocol):
    """Takes the stream of answers apart: first asked, first answered."""

    def __init__(self, connection: Any, answer_s: float) -> None:
        self._connection, self._answer_s = connection, answer_s
        self._reader = hiredis.Reader(encoding="utf-8", errors="surrogateescape")
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._leaving: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._alarm: asyncio.TimerHandle | None = None
        self.lost = False
        # From here on what arrives is ours; redis-py's connection is kept for hanging up.
        self._transport: asyncio.Transport = connection._writer.transport
        self._transport.set_protocol(self)
        self._transport.resume_reading()

    def ask(self, request: bytes) -> asyncio.Future[Any]:
        """The answer to come; errors are answers too, so that nobody has to fetch them."""
        reply: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append((self._loop.time() + self._answer_s, reply))
        if self._alarm is None:
            self._alarm = self._loop.call_later(self._answer_s, self._ring)
        # What is asked in one turn of the loop leaves in one packet.
        if not self._leaving:
            self._loop.call_soon(self._send)
        self._leaving.append(request)
        return reply

    async def close(self) -> None:
        self._fail(ConnectionError("the connection was closed here"))
        await self._connection.disconnect(nowait=True)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            _, waiting = self._waiting.popleft()
            if waiting.done():
                continue  # who asked has gone
            if isinstance(reply, hiredis.ReplyError):
                text = str(reply)
                reply = NoScriptError(text) if text.startswith("NOSCRIPT") else ResponseError(text)
            waiting.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(ConnectionError(f"Redis closed the connection ({exc})"))

    def _send(self) -> None:
        requests, self._leaving = b"".join(self._leaving), []
        if self.lost:
            return
        try:
            self._transport.write(requests)
        except RuntimeError as error:  # uvloop's word for a transport that has just been closed
            self._fail(ConnectionError(str(error)))

    def _ring(self) -> None:
        """One alarm for all: the oldest question is due first."""
        self._alarm = None
        if not self._waiting:
            return
        left_s = self._waiting[0][0] - self._loop.time()
        if left_s > 0:
            self._alarm = self._loop.call_later(left_s, self._ring)
        else:
            self._fail(TimeoutError(f"Redis did not answer within {self._answer_s:g} s"))

    def _fail(self, error: Exception) -> None:
        self.lost = True
        if self._alarm:
            self._alarm.cancel()
            self._alarm = None
        self._transport.abort()
        waiting, self._waiting = self._waiting, deque()
        for _, reply in waiting:
            if not reply.done():
                reply.set_result(error)
