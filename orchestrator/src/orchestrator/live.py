"""One subscription per process and channel, any number of listeners."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Generic, Protocol, TypeVar

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from scratch3d.servicekit.logging import get_logger

_RETRY_S = 1.0
#: After so long a silence the peer is asked whether it is there.
_SILENCE_S = 3.0

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
        self._redis = Redis.from_url(url, decode_responses=True, socket_timeout=None, socket_connect_timeout=5)
        self._channel, self._pass_on = channel, pass_on
        self._listeners: dict[str, set[L]] = {}
        self._task: asyncio.Task[None] | None = None
        self._subscribed = asyncio.Event()

    @asynccontextmanager
    async def listen(self, topic: str, listener: L) -> AsyncIterator[L]:
        """Be told about a topic; what happens after this returns is not missed while Redis answers."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._follow())
        self._listeners.setdefault(topic, set()).add(listener)
        try:
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
                self._task.cancel()  # redis-py may swallow it once: see orchestrator.worker.stopped
                await asyncio.wait({self._task}, timeout=0.5)
        await self._redis.aclose()

    async def _follow(self) -> None:
        while True:
            try:
                async with self._redis.pubsub() as pubsub:
                    await pubsub.subscribe(self._channel)
                    self._subscribed.set()
                    self._interrupt()  # whatever changed while we were away
                    await self._listen(pubsub)
            except (RedisError, OSError, RuntimeError) as error:  # uvloop says RuntimeError of a closed transport
                self._subscribed.clear()
                log.warning("live_channel_lost", channel=self._channel, reason=str(error))
                await asyncio.sleep(_RETRY_S)

    async def _listen(self, pubsub: PubSub) -> None:
        """Until the connection breaks, or is silent although it was asked: a lost peer does not say so."""
        asked = 0
        while True:
            message: Any = await pubsub.get_message(timeout=_SILENCE_S)
            if message is None:
                if asked > 1:
                    raise OSError("the subscription is silent")
                asked += 1
                await pubsub.ping()
                continue
            asked = 0
            if message["type"] == "message":
                self._pass_on(message["data"], self._listeners)

    def _interrupt(self) -> None:
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.interrupt()
