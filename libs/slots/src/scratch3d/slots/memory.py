"""Slots inside one process, for composition in process and for tests."""

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Collection, Sequence
from typing import Any

from .protocol import Grant, NoSlot, Replica, Ride, Turn

ILL_PAUSE_S = 1.0


class MemorySlots:
    """First come, first served per pool; leases do not end, because holders share our life."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], str] = {}
        self._line: dict[str, deque[str]] = {}
        self._members: dict[tuple[str, str], tuple[int, float]] = {}
        self._away: dict[tuple[str, str], float] = {}
        self._changed = asyncio.Condition()

    async def acquire(
        self, pool: str, urls: Sequence[str], *, timeout_s: float, avoid: Collection[str] = (), turn: Turn | None = None
    ) -> Grant:
        """See Slots."""
        if turn and turn.grant:
            return turn.grant
        token = turn.ticket if turn else uuid.uuid4().hex
        line = self._line.setdefault(pool, deque())
        if token not in line:
            line.append(token)
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                while (url := self._free(pool, urls, avoid)) is None or line[0] != token:
                    # A replica that was ill comes back without anybody telling.
                    self._wake_later()
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

    async def release(self, grant: Grant, *, well: bool = True) -> None:
        """See Slots."""
        place = (grant.pool, grant.url)
        if self._held.get(place) == grant.token:
            del self._held[place]
            self._away.pop(place, None)
            if not well:
                self._away[place] = time.monotonic() + ILL_PAUSE_S
        await self._tell()

    async def leave(self, turn: Turn) -> None:
        """See Slots."""
        if turn.ticket in self._line.get(turn.pool, ()):
            self._line[turn.pool].remove(turn.ticket)
        for place in [place for place, token in self._held.items() if token == turn.ticket]:
            del self._held[place]
        await self._tell()

    def ride(self, held: Grant | None, pool: str | None, urls: Sequence[str], *, ticket: str | None = None) -> Ride:
        """See Slots; there is no round trip to share, so everything happens when the ride is settled."""

        def settle(_: Sequence[Any]) -> Turn | None:
            if held and self._held.get((held.pool, held.url)) == held.token:
                del self._held[held.pool, held.url]
                asyncio.get_running_loop().create_task(self._tell())
            if pool is None:
                return None
            ours, line = ticket or uuid.uuid4().hex, self._line.setdefault(pool, deque())
            url = self._free(pool, urls, ())
            if line or url is None:
                line.append(ours)
                return Turn(pool=pool, ticket=ours)
            self._held[pool, url] = ours
            return Turn(pool=pool, ticket=ours, grant=Grant(pool=pool, url=url, token=ours))

        return Ride((), settle)

    def renewal(self, grant: Grant) -> Ride:
        """See Slots; leases do not end here."""
        return Ride((), lambda _: None)

    async def replicas(self, pool: str, urls: Sequence[str]) -> tuple[Replica, ...]:
        """See Slots."""
        now = time.monotonic()
        return tuple(
            Replica(
                url=url,
                rank=self._members.get((pool, url), (0, 0.0))[0],
                announced=url not in urls,
                held=(pool, url) in self._held,
                away_s=max(0.0, self._away.get((pool, url), 0.0) - now),
            )
            for url in self._known(pool, urls)
        )

    async def away(self, pools: Sequence[str]) -> Sequence[tuple[str, str]]:
        """See Slots."""
        now = time.monotonic()
        return tuple(place for place, until in self._away.items() if place[0] in pools and until > now)

    async def announce(self, pool: str, url: str, *, rank: int, lease_s: float) -> None:
        """See Slots."""
        self._members.pop((pool, url), None)
        if lease_s > 0:
            self._members[pool, url] = (rank, time.monotonic() + lease_s)
        await self._tell()

    async def welcome(self, pool: str, url: str) -> None:
        """See Slots."""
        self._away.pop((pool, url), None)
        await self._tell()

    def _known(self, pool: str, urls: Sequence[str]) -> list[str]:
        now = time.monotonic()
        told = [url for (name, url), (_, expiry) in self._members.items() if name == pool and expiry > now]
        return [*urls, *(url for url in told if url not in urls)]

    def _free(self, pool: str, urls: Sequence[str], avoid: Collection[str]) -> str | None:
        now = time.monotonic()
        free = [
            url
            for url in self._known(pool, urls)
            if (pool, url) not in self._held and self._away.get((pool, url), 0.0) <= now
        ]
        free.sort(key=lambda url: (url in avoid, self._members.get((pool, url), (0, 0.0))[0]))
        return free[0] if free else None

    def _wake_later(self) -> None:
        loop = asyncio.get_running_loop()
        if any(until > time.monotonic() for until in self._away.values()):
            loop.call_later(ILL_PAUSE_S / 4, lambda: loop.create_task(self._tell()))

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()
