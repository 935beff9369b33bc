"""One subscription per process and channel, any number of listeners."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Generic, Protocol, TypeVar

from redis.exceptions import RedisError

from scratch3d.servicekit.logging import get_logger
from scratch3d.slots import RedisChannel

_RETRY_S = 1.0

log = get_logger("live")


class Listener(Protocol):
    """Somebody who wants to know."""

    def interrupt(self) -> None:
        """The connection was lost for a while: whatever happened meanwhile was missed."""


L = TypeVar("L", bound=Listener)


class LiveChannel(Generic[L]):
    """Subscribes when the first listener comes, and again after every lost connection."""

    def __init__(self, url: str, channel: str, pass_on: Callable[[str, dict[str, set[L]]], None]) -> None:
        """`pass_on` is given each message, and the listeners by what they listen to."""
        self._listeners: dict[str, set[L]] = {}
        self._name = channel
        self._channel = RedisChannel(url, channel, lambda message: pass_on(message, self._listeners))
        self._task: asyncio.Task[None] | None = None
        self._subscribed = asyncio.Event()

    @asynccontextmanager
    async def listen(self, topic: str, listener: L) -> AsyncIterator[L]:
        """Be told about a topic; what happens after this returns is not missed while Redis answers."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._follow())
        self._listeners.setdefault(topic, set()).add(listener)
        try:
            if not self._subscribed.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(2.0):
                        await self._subscribed.wait()
            yield listener
        finally:
            self._listeners[topic].discard(listener)
            if not self._listeners[topic]:
                del self._listeners[topic]

    async def close(self) -> None:
        """Stop following."""
        if self._task:
            while not self._task.done():
                self._task.cancel()  # redis-py may swallow it while it connects: see orchestrator.worker.stopped
                await asyncio.wait({self._task}, timeout=0.5)

    async def _follow(self) -> None:
        while True:
            try:
                await self._channel.follow(self._joined)
            except (RedisError, OSError) as error:
                self._subscribed.clear()
                log.warning("live_channel_lost", channel=self._name, reason=str(error))
                await asyncio.sleep(_RETRY_S)

    def _joined(self) -> None:
        self._subscribed.set()
        # Whatever changed while we were away was missed.
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.interrupt()
