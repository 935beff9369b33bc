"""What the services can do, remembered for a few seconds, so that a request is refused without a hop."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from scratch3d.contracts.engines import EngineCard, EngineList, PublicEngines
from scratch3d.contracts.jobs import State
from scratch3d.servicekit.errors import NotAvailable, Unavailable
from scratch3d.slots import Slots

from .clients import ServiceClient
from .errors import StageFailed

#: Why an engine cannot take a request, or None.
Fits = Callable[[EngineCard], str | None]

FRESH_S, AWAY_S = 10.0, 1.0


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The replicas of one service."""

    name: str
    client: ServiceClient
    urls: tuple[str, ...]


class Engines:
    """Engine cards by stage; the last known ones while a service is away."""

    def __init__(self, pools: Mapping[State, Pool], slots: Slots) -> None:
        self.pools, self._slots = pools, slots
        self._known: dict[State, EngineList] = {}
        self._asked_at: dict[State, float] = {}
        self._refreshing: dict[State, asyncio.Task[None]] = {}
        self._reached: dict[State, bool] = {}
        self._counts: dict[State, int] = {}

    async def cards(self, stage: State) -> tuple[EngineCard, ...]:
        """In order of preference; Unavailable when the service has never answered."""
        await self._fresh(stage)
        if stage not in self._known:
            raise Unavailable(f"{self.pools[stage].name} has not answered yet; nothing was accepted", retry_after_s=2.0)
        return self._known[stage].engines

    async def matting(self) -> tuple[EngineCard, ...]:
        """Removers of backgrounds, in order of preference."""
        await self.cards(State.GENERATING_IMAGES)
        return self._known[State.GENERATING_IMAGES].matting

    async def choose(self, stage: State, wanted: str, *, field: str, fits: Fits = lambda _: None) -> EngineCard:
        """`auto` is the first that can run and that fits; a name is itself.

        `fits` says why an engine cannot take this request. NotAvailable names the field and the reasons.
        """
        cards = await self.cards(stage)
        if wanted == "auto":
            reasons = []
            for card in cards:
                reason = fits(card) if card.available else f"{card.id}: {card.reason}"
                if reason is None:
                    return card
                reasons.append(reason)
            raise NotAvailable(f"no engine here can do this ({'; '.join(reasons)})", field=field)
        named = next((card for card in cards if card.id == wanted), None)
        if named is None:
            known = ", ".join(card.id for card in cards)
            raise NotAvailable(f"there is no engine {wanted!r} here; there are: auto, {known}", field=field)
        if not named.available:
            raise NotAvailable(f"engine {wanted!r} cannot run here: {named.reason}", field=field)
        if reason := fits(named):
            raise NotAvailable(reason, field=field)
        return named

    def replica_count(self, stage: State) -> int:
        """Replicas that a stage can use, as far as is known here."""
        return self._counts.get(stage, len(self.pools[stage].urls))

    async def urls(self, stage: State) -> tuple[str, ...]:
        """Replicas that can be asked: the configured ones, and those that announced themselves; the well ones first."""
        pool = self.pools[stage]
        replicas = sorted(await self._slots.replicas(pool.name, pool.urls), key=lambda replica: replica.away_s > 0)
        self._counts[stage] = len(replicas)
        return tuple(replica.url for replica in replicas)

    async def public(self) -> PublicEngines:
        """Everything, for `GET /3d/engines`."""
        stages = (State.GENERATING_IMAGES, State.RECONSTRUCTING_3D, State.POST_PROCESSING)
        await self._fresh(*stages)
        images, reconstruction, postprocess = (self._known.get(stage, EngineList(engines=())) for stage in stages)
        away = tuple(self.pools[stage].name for stage in stages if not self._reached.get(stage))
        return PublicEngines(
            images=images.engines,
            reconstruction=reconstruction.engines,
            postprocess=postprocess.engines,
            matting=images.matting,
            unreachable=away,
        )

    def _is_old(self, stage: State) -> bool:
        age = time.monotonic() - self._asked_at.get(stage, -FRESH_S)
        return age >= (FRESH_S if self._reached.get(stage) else AWAY_S)

    async def _fresh(self, *stages: State) -> None:
        """Wait until what is known of these stages is not old."""
        if not any(map(self._is_old, stages)):
            return
        # Who needs one stage needs the others soon; asked for together they are one round trip to Redis. A service that
        # hangs keeps only those who need it.
        for each in filter(self._is_old, self.pools):
            if each not in self._refreshing:
                self._refreshing[each] = asyncio.create_task(self._refresh(each))
        waited_for = [self._refreshing[stage] for stage in stages if stage in self._refreshing]
        await asyncio.gather(*map(asyncio.shield, waited_for))

    async def _refresh(self, stage: State) -> None:
        """Ask the service again; one asks for all."""
        try:
            self._reached[stage] = await self._ask(stage)
        finally:
            self._asked_at[stage] = time.monotonic()
            del self._refreshing[stage]

    async def _ask(self, stage: State) -> bool:
        """Whether one of the service's replicas has answered."""
        pool = self.pools[stage]
        for url in await self.urls(stage):
            with contextlib.suppress(StageFailed):
                self._known[stage] = await pool.client.engines(url)
                return True
        return False
