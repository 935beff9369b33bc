"""Slots over any number of processes and hosts, in Redis; time is Redis' own."""

import asyncio
import contextlib
import random
import uuid
from collections.abc import Collection, Sequence
from importlib.resources import files
from typing import Any

from redis.exceptions import RedisError

from .protocol import Grant, NoSlot, Replica, Ride, Turn
from .wire import RedisWire, Script, ScriptCall

#: How often a waiting ticket asks again; half of it is chance, so that tickets do not ask in step.
ASK_EVERY_S = 0.1
#: A ticket that did not ask for this long has left.
PATIENCE_S = 5.0
#: Pause while Redis does not answer.
AWAY_PAUSE_S = 0.5
#: A replica that failed is left out this long, twice as long after each further failure, up to the second figure.
ILL_PAUSE_S, ILL_PAUSE_MAX_S = 1.0, 30.0


class RedisSlots:
    """Leases last `lease_s`; renew them at a third of that."""

    def __init__(self, wire: RedisWire, *, lease_s: float = 10.0) -> None:
        self._wire = wire
        self._lease_ms = int(lease_s * 1000)
        self._grant, self._hold = Script(_text("grant.lua")), Script(_text("hold.lua"))

    async def acquire(
        self, pool: str, urls: Sequence[str], *, timeout_s: float, avoid: Collection[str] = (), turn: Turn | None = None
    ) -> Grant:
        """See Slots."""
        if turn and turn.grant:
            return turn.grant
        ticket = turn.ticket if turn else uuid.uuid4().hex
        keys, arguments = self._question(pool, urls, ticket, avoid)
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    if url := await self._ask(keys, arguments):
                        return Grant(pool=pool, url=url, token=ticket)
                    await asyncio.sleep(ASK_EVERY_S * random.uniform(0.5, 1.0))
        except TimeoutError:
            await self._leave(pool, ticket)
            raise NoSlot(f"no replica of {pool} became free in {timeout_s:g} s") from None
        except asyncio.CancelledError:
            # A grant may have been on its way to us: give back whatever we might hold.
            await asyncio.shield(self._leave(pool, ticket))
            raise

    async def renew(self, grant: Grant) -> bool:
        """See Slots; a Redis that does not answer has not renewed anything."""
        try:
            return bool((await self._wire.run(*self.renewal(grant).calls))[0])
        except (RedisError, OSError):
            return False

    async def release(self, grant: Grant, *, well: bool = True) -> None:
        """See Slots; while Redis does not answer, the lease ends by itself."""
        with contextlib.suppress(RedisError, OSError):
            await self._wire.run(self._hold_call(grant, 0, "well" if well else "ill"))

    async def leave(self, turn: Turn) -> None:
        """See Slots."""
        await self._leave(turn.pool, turn.ticket)

    def ride(self, held: Grant | None, pool: str | None, urls: Sequence[str], *, ticket: str | None = None) -> Ride:
        """See Slots."""
        calls: list[ScriptCall] = []
        if held:
            calls.append(self._hold_call(held, 0, "well"))
        ticket = ticket or uuid.uuid4().hex
        if pool is not None:
            calls.append((self._grant, *self._question(pool, urls, ticket, ())))

        def settle(replies: Sequence[Any]) -> Turn | None:
            if pool is None:
                return None
            url = replies[-1]
            grant = Grant(pool=pool, url=url, token=ticket) if url else None
            return Turn(pool=pool, ticket=ticket, grant=grant)

        return Ride(calls, settle, Turn(pool=pool, ticket=ticket) if pool is not None else None)

    def renewal(self, grant: Grant) -> Ride:
        """See Slots."""
        return Ride([self._hold_call(grant, self._lease_ms)], lambda _: None)

    async def replicas(self, pool: str, urls: Sequence[str]) -> tuple[Replica, ...]:
        """See Slots; while Redis does not answer, the configured ones."""
        try:
            *found, (seconds, micros) = await self._wire.ask(
                *(("HGETALL", f"3d:slots:{pool}:{name}") for name in ("members", "held", "away")), ("TIME",)
            )
        except (RedisError, OSError):
            return tuple(Replica(url=url) for url in urls)
        now = int(seconds) * 1000 + int(micros) / 1000
        # "rank expiry", "token expiry", "failures until": the time is last in each.
        members, ends, ill = ({u: v.split() for u, v in _paired(flat)} for flat in found)
        told = [url for url, (_, expiry) in members.items() if url not in urls and int(expiry) > now]
        return tuple(
            Replica(
                url=url,
                rank=int(members[url][0]) if url in members else 0,
                announced=url not in urls,
                held=url in ends and int(ends[url][-1]) > now,
                away_s=max(0.0, (int(ill[url][-1]) - now) / 1000) if url in ill else 0.0,
            )
            for url in (*urls, *told)
        )

    async def away(self, pools: Sequence[str]) -> Sequence[tuple[str, str]]:
        """See Slots; nothing while Redis does not answer."""
        try:
            found = await self._wire.ask(*(("HKEYS", f"3d:slots:{pool}:away") for pool in pools))
        except (RedisError, OSError):
            return ()
        return tuple((pool, url) for pool, urls in zip(pools, found, strict=True) for url in urls)

    async def announce(self, pool: str, url: str, *, rank: int, lease_s: float) -> None:
        """See Slots."""
        members = f"3d:slots:{pool}:members"
        if lease_s <= 0:
            await self._wire.ask(("HDEL", members, url))
            return
        ((seconds, _),) = await self._wire.ask(("TIME",))
        await self._wire.ask(("HSET", members, url, f"{rank} {int((int(seconds) + lease_s) * 1000)}"))

    async def welcome(self, pool: str, url: str) -> None:
        """See Slots."""
        with contextlib.suppress(RedisError, OSError):
            await self._wire.ask(("HDEL", f"3d:slots:{pool}:away", url))

    def _question(
        self, pool: str, urls: Sequence[str], ticket: str, avoid: Collection[str]
    ) -> tuple[list[str], list[Any]]:
        # Any replica may be first: spread load where several are free.
        order = random.sample(list(urls), len(urls))
        return _grant_keys(pool), [ticket, self._lease_ms, int(PATIENCE_S * 1000), " ".join(avoid), *order]

    def _hold_call(self, grant: Grant, lease_ms: int, health: str = "") -> ScriptCall:
        pauses_ms = [int(ILL_PAUSE_S * 1000), int(ILL_PAUSE_MAX_S * 1000)]
        return self._hold, _held_keys(grant.pool), [grant.token, lease_ms, grant.url, health, *pauses_ms]

    async def _ask(self, keys: list[str], arguments: list[Any]) -> str | None:
        """A replica's URL, or None: not yet, or Redis does not answer at the moment."""
        try:
            url: str | None = (await self._wire.run((self._grant, keys, arguments)))[0]
        except (RedisError, OSError):
            await asyncio.sleep(AWAY_PAUSE_S)
            return None
        return url

    async def _leave(self, pool: str, ticket: str) -> None:
        """Out of the line, and whatever replica the ticket may hold is free."""
        with contextlib.suppress(RedisError, OSError):
            (held,) = await self._wire.ask(("HGETALL", f"3d:slots:{pool}:held"))
            ours = [url for url, value in _paired(held) if value.split()[0] == ticket]
            calls = [self._hold_call(Grant(pool=pool, url=url, token=ticket), 0) for url in ours or [""]]
            await self._wire.run(*calls)


def _held_keys(pool: str) -> list[str]:
    return [f"3d:slots:{pool}:{name}" for name in ("held", "line", "seen", "away")]


def _grant_keys(pool: str) -> list[str]:
    return [f"3d:slots:{pool}:{name}" for name in ("held", "line", "seen", "arrival", "members", "away")]


def _paired(flat: Sequence[str]) -> list[tuple[str, str]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


def _text(name: str) -> str:
    return files("scratch3d.slots").joinpath(name).read_text()
