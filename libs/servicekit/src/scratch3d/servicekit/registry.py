"""Engines by name. Built-ins register the way strangers do: by an entry point in their package's metadata.

An engine is a class with `card() -> EngineCard` (what it is, and why it cannot run here) and the methods of its
service's protocol; it is built with the service's settings, cheaply: what costs time belongs into `load`. `Runners`
holds those that run here.
"""

import asyncio
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from scratch3d.contracts.engines import EngineCard, EngineList

from .errors import NotAvailable
from .runner import Runner

#: Whether an engine can take what is given.
Fits = Callable[[EngineCard], bool]


class UnknownEngine(NotAvailable):
    """There is no engine of this name."""


class EngineUnavailable(NotAvailable):
    """The engine is known but cannot run here."""


def names(group: str) -> tuple[str, ...]:
    """Registered names, sorted; nothing is imported."""
    return tuple(sorted({point.name for point in entry_points(group=group)}))


def load(group: str, name: str) -> Any:
    """The engine class; UnknownEngine with the known names, or EngineUnavailable with the original ImportError.

    A name of the form `package.module:Class` is imported as it is, for an engine that is not packaged yet.
    """
    if ":" in name:
        module, attribute = name.split(":")
        return getattr(import_module(module), attribute)
    point = _points(group).get(name)
    if point is None:
        known = ", ".join(names(group)) or "none"
        raise UnknownEngine(f"there is no engine {name!r}; known here: {known}", field="engine")
    try:
        return point.load()
    except ImportError as error:
        raise EngineUnavailable(f"engine {name!r} cannot be imported: {error}", field="engine") from error


def create(group: str, name: str, settings: Any) -> Any:
    """A new engine; EngineUnavailable with the reason on its card when it cannot run here."""
    engine = load(group, name)(settings)
    card: EngineCard = engine.card()
    if not card.available:
        raise EngineUnavailable(f"engine {name!r} cannot run here: {card.reason}", field="engine")
    return engine


def cards(group: str, preference: tuple[str, ...], settings: Any) -> tuple[EngineCard, ...]:
    """Every engine's card: the preferred ones first, in their order, then the others by name."""
    known = names(group)
    ordered = [*preference, *(name for name in known if name not in preference)]
    return tuple(_card(group, name, settings) for name in ordered)


def choose(cards: tuple[EngineCard, ...], wanted: str, preference: tuple[str, ...], fits: Fits = lambda _: True) -> str:
    """`auto` is the first preferred engine that can run and that fits; any other name is itself, if it can run here."""
    found = {card.id: card for card in cards}
    if wanted == "auto":
        for name in preference:
            if (card := found.get(name)) and card.available and fits(card):
                return name
        raise EngineUnavailable("no engine that can do this runs here", field="engine")
    card = found.get(wanted)
    if card is None:
        # Only configured names are ever imported: a request must not choose what code runs.
        raise UnknownEngine(f"there is no engine {wanted!r}; known here: {', '.join(found)}", field="engine")
    if not card.available:
        raise EngineUnavailable(f"engine {wanted!r} cannot run here: {card.reason}", field="engine")
    return wanted


def _points(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}


def _card(group: str, name: str, settings: Any) -> EngineCard:
    try:
        card: EngineCard = load(group, name)(settings).card()
    except NotAvailable as error:
        return EngineCard(
            id=name, version="?", available=False, reason=error.detail, summary="not installed", licence_code="?"
        )
    return card.model_copy(update={"id": name})


class Runners:
    """The engines that are switched on in a service, each in a process of its own; one of them works at a time."""

    def __init__(
        self,
        group: str,
        preference: tuple[str, ...],
        *,
        work: str,
        settings: BaseModel,
        switch: str,
        deadline_s: float,
        memory_limit_mb: int,
    ) -> None:
        """`work` is the factory that runs in the child; `switch` names the setting that lists `preference`."""
        self.group, self.preference, self.switch = group, preference, switch
        self.running: dict[str, Runner] = {}
        self._work, self._settings, self._started = work, settings, False
        self._deadline_s, self._memory_limit_mb = deadline_s, memory_limit_mb

    async def start(self) -> None:
        """Start a runner for every preferred engine that can run here."""
        lock, settings = asyncio.Lock(), self._settings.model_dump(mode="json")
        for card in self.cards():
            if card.available and card.id in self.preference:
                runner = Runner(
                    self._work,
                    {"engine": card.id, "settings": settings},
                    name=card.id,
                    lock=lock,
                    deadline_s=self._deadline_s,
                    memory_limit_mb=self._memory_limit_mb,
                )
                await runner.start()
                self.running[card.id] = runner
        self._started = True

    async def close(self) -> None:
        """Stop them all."""
        for runner in self.running.values():
            await runner.close()

    def cards(self) -> tuple[EngineCard, ...]:
        """Every engine's card; one that was not started, or could not be loaded, says why."""
        found = cards(self.group, self.preference, self._settings)
        return tuple(self._as_it_runs(card) if self._started else card for card in found)

    def _as_it_runs(self, card: EngineCard) -> EngineCard:
        runner, reason = self.running.get(card.id), None
        if runner is not None:
            reason = runner.load_error
        elif card.available:
            late = card.id in self.preference
            reason = (
                "what it needs came after this service was started: start the service again"
                if late
                else f"not switched on here ({self.switch})"
            )
        return card.model_copy(update={"available": False, "reason": reason}) if reason else card

    def choose(self, wanted: str, fits: Fits = lambda _: True) -> Runner:
        """The runner of an engine, for `auto` of one that fits; NotAvailable for one that does not run here."""
        return self.running[choose(self.cards(), wanted, self.preference, fits)]

    async def check(self) -> str:
        """For readiness: `ok`, or what is being waited for. An engine that cannot be loaded does not hold up others."""
        runners = self.running.values()
        failed = [runner.load_error for runner in runners if runner.load_error]
        if len(failed) == len(runners):
            return failed[0] if failed else "no engine can run here"
        return "ok" if all(runner.ready or runner.load_error for runner in runners) else "loading"


def runners_of(request: Request) -> Runners:
    """Dependency: the runners made by the application's lifespan."""
    runners: Runners = request.state.runners
    return runners


RunnersDep = Annotated[Runners, Depends(runners_of)]
router = APIRouter()


@router.get("/engines", response_model=EngineList, summary="Engines, in order of preference")
def engines(runners: RunnersDep) -> EngineList:
    """What each engine is, and why one is not available."""
    return EngineList(engines=runners.cards())
