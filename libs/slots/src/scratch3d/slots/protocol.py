"""The values and the protocol of slots."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class NoSlot(Exception):
    """No replica became free in time."""


@dataclass(frozen=True, kw_only=True)
class Grant:
    """One replica, held by one ticket until its lease ends or it is released."""

    pool: str
    url: str
    token: str


@dataclass(frozen=True, kw_only=True)
class Replica:
    """One replica of a pool as everybody sees it."""

    url: str
    #: replicas of a lower rank are taken first
    rank: int = 0
    #: configured by hand, or announced by itself
    announced: bool = False
    held: bool = False
    #: it failed a moment ago: nobody is sent there until it answers again, or this many seconds have passed
    away_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A place in the line of a pool, with its grant when one was free at once."""

    pool: str
    ticket: str
    grant: Grant | None = None


class Ride:
    """Releasing one replica and asking for the next, ready to ride along in somebody else's round trip.

    `calls` are (script, keys, arguments) for one pipeline; whoever takes the ride along hands their replies to `arrived`,
    and then `turn` is the place in the next line.
    """

    def __init__(
        self,
        calls: Sequence[tuple[Any, Sequence[str], Sequence[Any]]],
        settle: Callable[[Sequence[Any]], Turn | None],
        turn: Turn | None = None,
    ) -> None:
        self.calls, self._settle = calls, settle
        #: known before the replies are: a ride whose replies were lost has a place in the line all the same
        self.turn = turn

    def arrived(self, replies: Sequence[Any]) -> None:
        """The calls were made."""
        self.turn = self._settle(replies)


class Slots(Protocol):
    """Grants replicas of named pools: the configured ones, and those that announced themselves."""

    async def acquire(
        self, pool: str, urls: Sequence[str], *, timeout_s: float, avoid: Collection[str] = (), turn: Turn | None = None
    ) -> Grant:
        """Wait in line for a replica; NoSlot after `timeout_s`. Cancelling leaves the line.

        `urls` are configured; announced ones count too. Those in `avoid` are taken when no other is free. `turn` goes on
        from a place in the line that a ride brought.
        """

    async def renew(self, grant: Grant) -> bool:
        """Extend the lease; False when it was lost."""

    async def release(self, grant: Grant, *, well: bool = True) -> None:
        """Give the replica back; releasing twice is harmless. One that is not well is left out for a while."""

    async def leave(self, turn: Turn) -> None:
        """Give up a place in the line, and the grant that came with it."""

    def ride(self, held: Grant | None, pool: str | None, urls: Sequence[str], *, ticket: str | None = None) -> Ride:
        """Release `held`, and ask for a replica of `pool` (None: of none), in another's round trip.

        A `ticket` of the caller's makes asking again the same question.
        """

    def renewal(self, grant: Grant) -> Ride:
        """As `renew`, in another's round trip."""

    async def replicas(self, pool: str, urls: Sequence[str]) -> tuple[Replica, ...]:
        """Every replica of the pool, the configured ones first."""

    async def away(self, pools: Sequence[str]) -> Sequence[tuple[str, str]]:
        """(pool, url) of every replica that is left out at the moment."""

    async def announce(self, pool: str, url: str, *, rank: int, lease_s: float) -> None:
        """A replica says that it is there, for `lease_s`; zero seconds: it leaves."""

    async def welcome(self, pool: str, url: str) -> None:
        """The replica answers again: it is no longer left out."""
