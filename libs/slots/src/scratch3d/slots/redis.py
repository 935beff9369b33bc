"""Slots over any number of processes and hosts, in Redis; time is Redis' own."""

import asyncio
import contextlib
import random
import uuid
from collections.abc import Sequence
from importlib.resources import files

from redis.asyncio import Redis
from redis.exceptions import RedisError

from .protocol import Grant, NoSlot

#: How often a waiting ticket asks again; half of it is chance, so that tickets do not ask in step.
ASK_EVERY_S = 0.1
#: A ticket that did not ask for this long has left.
PATIENCE_S = 5.0
#: Pause while Redis does not answer.
AWAY_PAUSE_S = 0.5


class RedisSlots:
    """Leases last `lease_s`; renew them at a third of that."""

    def __init__(self, redis: "Redis", *, lease_s: float = 10.0) -> None:
        self._lease_ms = int(lease_s * 1000)
        self._grant = redis.register_script(_script("grant.lua"))
        self._hold = redis.register_script(_script("hold.lua"))

    async def acquire(self, pool: str, urls: Sequence[str], *, timeout_s: float) -> Grant:
        """See Slots."""
        ticket = uuid.uuid4().hex
        keys = [*_keys(pool), f"3d:slots:{pool}:arrival"]
        # Any replica may be first: spread load where several are free.
        order = random.sample(list(urls), len(urls))
        arguments: list[str | int] = [ticket, self._lease_ms, int(PATIENCE_S * 1000), *order]
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    if url := await self._ask(keys, arguments):
                        return Grant(pool=pool, url=url, token=ticket)
                    await asyncio.sleep(ASK_EVERY_S * random.uniform(0.5, 1.0))
        except TimeoutError:
            await self._leave(pool, ticket, order)
            raise NoSlot(f"no replica of {pool} became free in {timeout_s:g} s") from None
        except asyncio.CancelledError:
            # A grant may have been on its way to us: give back whatever we might hold.
            await asyncio.shield(self._leave(pool, ticket, order))
            raise

    async def renew(self, grant: Grant) -> bool:
        """See Slots; a Redis that does not answer has not renewed anything."""
        try:
            return bool(await self._hold(keys=_keys(grant.pool), args=[grant.token, self._lease_ms, grant.url]))
        except (RedisError, OSError):
            return False

    async def release(self, grant: Grant) -> None:
        """See Slots; while Redis does not answer, the lease ends by itself."""
        await self._leave(grant.pool, grant.token, [grant.url])

    async def _ask(self, keys: list[str], arguments: list[str | int]) -> str | None:
        """A replica's URL, or None: not yet, or Redis does not answer at the moment."""
        try:
            url = await self._grant(keys=keys, args=arguments)
        except (RedisError, OSError):
            await asyncio.sleep(AWAY_PAUSE_S)
            return None
        return None if not url else url.decode() if isinstance(url, bytes) else str(url)

    async def _leave(self, pool: str, ticket: str, urls: Sequence[str]) -> None:
        with contextlib.suppress(RedisError, OSError):
            for url in urls:
                await self._hold(keys=_keys(pool), args=[ticket, 0, url])


def _keys(pool: str) -> list[str]:
    return [f"3d:slots:{pool}:held", f"3d:slots:{pool}:line", f"3d:slots:{pool}:seen"]


def _script(name: str) -> str:
    return files("scratch3d.slots").joinpath(name).read_text()
