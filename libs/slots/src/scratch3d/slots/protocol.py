"""The values and the protocol of slots."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class NoSlot(Exception):
    """No replica became free in time."""


@dataclass(frozen=True, kw_only=True)
class Grant:
    """One replica, held by one ticket until its lease ends or it is released."""

    pool: str
    url: str
    token: str


class Slots(Protocol):
    """Grants replicas of named pools."""

    async def acquire(self, pool: str, urls: Sequence[str], *, timeout_s: float) -> Grant:
        """Wait in line for one of `urls`; NoSlot after `timeout_s`. Cancelling leaves the line."""

    async def renew(self, grant: Grant) -> bool:
        """Extend the lease; False when it was lost."""

    async def release(self, grant: Grant) -> None:
        """Give the replica back; releasing twice is harmless."""
