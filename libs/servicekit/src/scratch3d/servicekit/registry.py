"""Engines by name. Built-ins register the way strangers do: by an entry point in their package's metadata.

An engine is a class with `card() -> EngineCard` (what it is, and why it cannot run here) and the methods of its
service's protocol; it is built with the service's settings.
"""

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from scratch3d.contracts.engines import EngineCard

from .errors import NotAvailable


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
    engine = load(group, name)
    card: EngineCard = engine.card()
    if not card.available:
        raise EngineUnavailable(f"engine {name!r} cannot run here: {card.reason}", field="engine")
    return engine(settings)


def cards(group: str, preference: tuple[str, ...]) -> tuple[EngineCard, ...]:
    """Every engine's card: the preferred ones first, in their order, then the others by name."""
    known = names(group)
    ordered = [*preference, *(name for name in known if name not in preference)]
    return tuple(_card(group, name) for name in ordered)


def choose(group: str, wanted: str, preference: tuple[str, ...]) -> str:
    """`auto` is the first preferred engine that can run; any other name is itself, if it can run here."""
    found = {card.id: card for card in cards(group, preference)}
    if wanted == "auto":
        for name in preference:
            if (card := found.get(name)) and card.available:
                return name
        raise EngineUnavailable("no engine can run here", field="engine")
    card = found.get(wanted)
    if card is None:
        # Only configured names are ever imported: a request must not choose what code runs.
        raise UnknownEngine(f"there is no engine {wanted!r}; known here: {', '.join(found)}", field="engine")
    if not card.available:
        raise EngineUnavailable(f"engine {wanted!r} cannot run here: {card.reason}", field="engine")
    return wanted


def _points(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}


def _card(group: str, name: str) -> EngineCard:
    try:
        card: EngineCard = load(group, name).card()
    except NotAvailable as error:
        return EngineCard(
            id=name, version="?", available=False, reason=error.detail, summary="not installed", licence_code="?"
        )
    return card.model_copy(update={"id": name})
