"""Slots inside one process, for composition in process and for tests."""

import asyncio
import uuid
from collections import deque
from collections.abc import Sequence

from .protocol import Grant, NoSlot


class MemorySlots:
    """First come, first served per pool; leases do not end, because holders share our life."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], str] = {}
        self._line: dict[str, deque[str]] = {}
        self._changed = asyncio.Condition()

    async def acquire(self, pool: str, urls: Sequence[str], *, timeout_s: float) -> Grant:
        """See Slots."""
        token = uuid.uuid4().hex
        line = self._line.setdefault(pool, deque())
        line.append(token)
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                while (url := self._free(pool, urls)) is None or line[0] != token:
                    await self._changed.wait()
                self._held[pool, url] = token
                return Grant(pool=pool, url=url, token=token)
        except TimeoutError:
            raise NoSlot(f"no replica of {pool} became free in {timeout_s:g} s") from None
        finally:
            line.remove(token)

    async def renew(self, grant: Grant) -> bool:
        """See Slots."""
        return self._held.get((grant.pool, grant.url)) == grant.token

    async def release(self, grant: Grant) -> None:
        """See Slots."""
        if await self.renew(grant):
            del self._held[grant.pool, grant.url]
        async with self._changed:
            self._changed.notify_all()

    def _free(self, pool: str, urls: Sequence[str]) -> str | None:
        return next((url for url in urls if (pool, url) not in self._held), None)
