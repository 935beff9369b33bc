"""One channel of Redis, heard by a connection of its own.

hiredis takes each packet apart at once, and what was said is passed on from there: redis-py's way of a message costs as
much processor time as all that our API does with it (benchmarks/control_plane.py).
"""

import asyncio
from collections.abc import Callable
from typing import Any, NoReturn

import hiredis
from redis.exceptions import ConnectionError

from .wire import connected, pool_of

#: How often silence is looked for. The second look in a row that finds it asks whether Redis is there, and the third counts it
#: as lost: a lost peer does not say so.
SILENCE_S = 3.0


class RedisChannel:
    """Subscribes to one channel."""

    def __init__(self, url: str, name: str, heard: Callable[[str], None]) -> None:
        """`heard` is given each message; it is called from the connection, and must not wait for anything."""
        self._pool, self._name, self._heard = pool_of(url), name, heard

    async def follow(self, joined: Callable[[], None]) -> NoReturn:
        """Pass on all that is said after `joined` was called, until the connection is lost; then redis-py's error."""
        connection = await connected(self._pool)
        ear = _Ear(connection, self._name, self._heard, joined)
        try:
            raise await ear.end
        finally:
            ear.close()
            await connection.disconnect(nowait=True)


class _Ear(asyncio.Protocol):
    """Takes the stream of messages apart; `end` is why there are no more."""

    def __init__(self, connection: Any, name: str, heard: Callable[[str], None], joined: Callable[[], None]) -> None:
        self._heard, self._joined = heard, joined
        self._reader = hiredis.Reader(encoding="utf-8", errors="surrogateescape")
        self._loop = asyncio.get_running_loop()
        self.end: asyncio.Future[Exception] = self._loop.create_future()
        self._silent = 0
        # From here on what arrives is ours; redis-py's connection is kept for hanging up.
        self._transport: asyncio.Transport = connection._writer.transport
        self._transport.set_protocol(self)
        self._transport.resume_reading()
        self._write(hiredis.pack_command(("SUBSCRIBE", name)))  # type: ignore[arg-type]
        self._alarm = self._loop.call_later(SILENCE_S, self._ring)

    def data_received(self, data: bytes) -> None:
        self._silent = 0
        self._reader.feed(data)
        while (told := self._reader.gets()) is not False:
            if isinstance(told, hiredis.ReplyError):
                self._lost(str(told))
            elif told[0] == "message":
                self._heard(told[2])
            elif told[0] == "subscribe":
                self._joined()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(f"Redis closed the connection ({exc})")

    def close(self) -> None:
        self._alarm.cancel()
        self._transport.abort()

    def _ring(self) -> None:
        self._alarm = self._loop.call_later(SILENCE_S, self._ring)
        self._silent += 1
        if self._silent > 2:
            self._lost("the subscription is silent")
        elif self._silent > 1:
            self._write(hiredis.pack_command(("PING",)))

    def _write(self, request: bytes) -> None:
        try:
            self._transport.write(request)
        except RuntimeError as error:  # uvloop's word for a transport that has just been closed
            self._lost(str(error))

    def _lost(self, why: str) -> None:
        if not self.end.done():
            self.end.set_result(ConnectionError(why))
