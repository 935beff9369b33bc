"""One subscription per process, any number of watchers: a wake-up per change, coalesced, never a queue."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis
from redis.exceptions import RedisError

from scratch3d.servicekit.logging import get_logger

from .store import Watch

CHANNEL = "3d:live"
_RETRY_S = 1.0

log = get_logger("live")


class LiveFeed:
    """Subscribes when the first watcher comes, and again after every lost connection."""

    def __init__(self, url: str) -> None:
        self._redis = Redis.from_url(url, decode_responses=True, socket_timeout=None, socket_connect_timeout=5)
        self._watches: dict[str, set[Watch]] = {}
        self._task: asyncio.Task[None] | None = None
        self._subscribed = asyncio.Event()

    @asynccontextmanager
    async def watch(self, job_id: str) -> AsyncIterator[Watch]:
        """Be woken when the job changes; changes after this returns are not missed while Redis answers."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._follow())
        watch = Watch()
        self._watches.setdefault(job_id, set()).add(watch)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._subscribed.wait(), 2.0)
        try:
            yield watch
        finally:
            self._watches[job_id].discard(watch)
            if not self._watches[job_id]:
                del self._watches[job_id]

    async def close(self) -> None:
        """Stop following."""
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._redis.aclose()

    async def _follow(self) -> None:
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as pubsub:
                    await pubsub.subscribe(CHANNEL)
                    self._subscribed.set()
                    self._wake_all()  # whatever changed while we were away
                    async for message in pubsub.listen():
                        for watch in self._watches.get(message["data"], ()):
                            watch.wake()
            except (RedisError, OSError) as error:
                self._subscribed.clear()
                log.warning("live_feed_lost", reason=str(error))
                await asyncio.sleep(_RETRY_S)

    def _wake_all(self) -> None:
        for watches in self._watches.values():
            for watch in watches:
                watch.wake()
