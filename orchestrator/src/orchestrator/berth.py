"""The replica that a trip holds, or its place in the line for the next one."""

from collections.abc import Collection, Mapping

from scratch3d.contracts.jobs import State
from scratch3d.slots import Grant, Ride, Slots

from .engines import Pool


class Berth:
    """One replica at a time. What a finished stage held is let go in the same round trip that keeps its result."""

    def __init__(self, slots: Slots, pools: Mapping[State, Pool]) -> None:
        self._slots, self._pools = slots, pools
        self.grant: Grant | None = None
        self._ride: Ride | None = None

    async def take(self, pool: Pool, *, timeout_s: float, avoid: Collection[str] = ()) -> Grant:
        """Hold a replica of the pool, one to avoid only when no other is free; NoSlot after `timeout_s`."""
        turn = self._ride.turn if self._ride else None
        if turn and (turn.pool != pool.name or (turn.grant and turn.grant.url in avoid)):
            await self._slots.leave(turn)
            turn = None
        # From here on the line is `acquire`'s to leave.
        self._ride = None
        self.grant = await self._slots.acquire(pool.name, pool.urls, timeout_s=timeout_s, avoid=avoid, turn=turn)
        return self.grant

    @property
    def is_empty(self) -> bool:
        """Nothing is held, and no line is stood in."""
        return self.grant is None and not (self._ride and self._ride.turn)

    async def leave(self, *, well: bool = True) -> None:
        """Hold nothing any more, and stand in no line."""
        grant, self.grant = self.grant, None
        ride, self._ride = self._ride, None
        if grant:
            await self._slots.release(grant, well=well)
        if ride and ride.turn:
            await self._slots.leave(ride.turn)

    def ride(self, following: State | None) -> Ride:
        """Let go of what is held, and ask for what the following stage needs, with somebody else's round trip."""
        pool = self._pools.get(following) if following else None
        self._ride = self._slots.ride(self.grant, pool.name if pool else None, pool.urls if pool else ())
        return self._ride

    def ride_of_claim(self, first: State, token: str) -> Ride:
        """Ask for what the first stage needs together with the claim of a job, under the claim's own token."""
        pool = self._pools.get(first)
        self._ride = self._slots.ride(None, pool.name if pool else None, pool.urls if pool else (), ticket=token)
        return self._ride

    def arrived(self) -> None:
        """The round trip was made: hold what it brought."""
        self.grant = self._ride.turn.grant if self._ride and self._ride.turn else None

    def renewal(self) -> Ride | None:
        """Extend the lease of what is held, with somebody else's round trip."""
        return self._slots.renewal(self.grant) if self.grant else None
