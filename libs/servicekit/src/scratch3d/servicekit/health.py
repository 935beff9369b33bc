"""Liveness and readiness, and telling the orchestrator that this replica is there."""

import asyncio
import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import SecretStr

from scratch3d.contracts.jobs import Readiness

from .logging import get_logger

#: A replica repeats itself so often, and counts as there for three times as long.
ANNOUNCE_EVERY_S = 5.0

#: Whoever asks for readiness waits a few seconds at most.
CHECK_S = 3.0

log = get_logger("health")

#: Answers "ok", or says why the dependency is not ready.
Check = Callable[[], Awaitable[str]]


def health_router(checks: Mapping[str, Check]) -> APIRouter:
    """`/health`: this process answers. `/ready`: everything it needs does."""
    router = APIRouter(tags=["operations"])

    @router.get("/health", summary="Is the process alive?")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/ready", response_model=Readiness, responses={503: {"model": Readiness}}, summary="Can it work?")
    async def ready() -> JSONResponse:
        words = await asyncio.gather(*(_in_time(check) for check in checks.values()))
        found = dict(zip(checks, words, strict=True))
        everything = all(word == "ok" for word in found.values())
        body = Readiness(ready=everything, dependencies=found).model_dump()
        return JSONResponse(body, status_code=200 if everything else 503)

    return router


async def _in_time(check: Check) -> str:
    try:
        async with asyncio.timeout(CHECK_S):
            return await check()
    except TimeoutError:
        return f"does not answer within {CHECK_S:g} s"


class ReplicaSettings(Protocol):
    """The settings of a service that can announce itself."""

    @property
    def register_at(self) -> str:
        """URL of the orchestrator's API, or nothing."""

    @property
    def advertise_url(self) -> str:
        """URL under which the workers reach this replica."""

    @property
    def replica_rank(self) -> int:
        """Replicas of a lower rank are used first."""

    @property
    def replica_token(self) -> SecretStr:
        """What the orchestrator wants to see."""


@dataclass(frozen=True, kw_only=True)
class Announcement:
    """Where a replica says that it is there, and what it says."""

    service: str
    register_at: str
    advertise_url: str
    rank: int = 0
    token: str = ""

    @classmethod
    def of(cls, service: str, settings: "ReplicaSettings") -> "Announcement":
        """What a service's settings say."""
        return cls(
            service=service,
            register_at=settings.register_at,
            advertise_url=settings.advertise_url,
            rank=settings.replica_rank,
            token=settings.replica_token.get_secret_value(),
        )

    @contextlib.asynccontextmanager
    async def standing(self, check: Check) -> AsyncIterator[None]:
        """Announce this replica as long as it is ready; take it back at the end. Nothing without `register_at`."""
        if not self.register_at:
            yield
            return
        task = asyncio.create_task(self._repeat(check))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await asyncio.to_thread(self._tell, 0.0)

    async def _repeat(self, check: Check) -> None:
        while True:
            word = await check()
            lease_s = 3 * ANNOUNCE_EVERY_S if word == "ok" else 0.0
            reason = await asyncio.to_thread(self._tell, lease_s)
            if reason:
                log.warning("not_announced", at=self.register_at, reason=reason)
            # A replica that is still loading is not kept waiting for a whole round once it is ready.
            await asyncio.sleep(ANNOUNCE_EVERY_S if word == "ok" else 0.5)

    def _tell(self, lease_s: float) -> str | None:
        """None, or why it could not be told."""
        told = {"service": self.service, "url": self.advertise_url.rstrip("/"), "rank": self.rank, "lease_s": lease_s}
        request = urllib.request.Request(
            f"{self.register_at.rstrip('/')}/internal/replicas",
            data=json.dumps(told).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"},
            method="PUT",
        )
        # Between our own services: never through a proxy of the environment.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=3.0):
                return None
        except urllib.error.HTTPError as error:
            return f"{error.code} {error.read(300).decode(errors='replace')}"
        except (OSError, ValueError) as error:
            return str(error)
