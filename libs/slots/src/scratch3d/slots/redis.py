"""Slots over any number of processes and hosts, in Redis; time is Redis' own."""

import asyncio
import random
import uuid
from collections.abc import Sequence
from importlib.resources import files

from redis.asyncio import Redis

from .protocol import Grant, NoSlot

#: How often a waiting ticket asks again; half of it is chance, so that tickets do not ask in step.
ASK_EVERY_S = 0.1
#: A ticket that did not ask for this long has left.
PATIENCE_S = 5.0


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
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    arguments: list[str | int] = [ticket, self._lease_ms, int(PATIENCE_S * 1000), *order]
                    url = await self._grant(keys=keys, args=arguments)
                    if url:
                        return Grant(pool=pool, url=url.decode() if isinstance(url, bytes) else str(url), token=ticket)
                    await asyncio.sleep(ASK_EVERY_S * random.uniform(0.5, 1.0))
        except TimeoutError:
            await self._hold(keys=_keys(pool), args=[ticket, 0, ""])
            raise NoSlot(f"no replica of {pool} became free in {timeout_s:g} s") from None

    async def renew(self, grant: Grant) -> bool:
        """See Slots."""
        return bool(await self._hold(keys=_keys(grant.pool), args=[grant.token, self._lease_ms, grant.url]))

    async def release(self, grant: Grant) -> None:
        """See Slots."""
        await self._hold(keys=_keys(grant.pool), args=[grant.token, 0, grant.url])


def _keys(pool: str) -> list[str]:
    return [f"3d:slots:{pool}:held", f"3d:slots:{pool}:line", f"3d:slots:{pool}:seen"]


def _script(name: str) -> str:
    return files("scratch3d.slots").joinpath(name).read_text()
