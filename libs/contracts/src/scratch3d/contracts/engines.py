"""What an engine says about itself, so that a door can refuse early and a person can read why."""

from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from .values import Value


class EngineCard(Value):
    """One row of `GET /engines`."""

    id: str
    version: str
    available: bool
    #: Why it cannot run here: the missing package, file or device, and the mend.
    reason: str | None = None
    summary: str
    licence_code: str
    licence_weights: str | None = None
    commercial: Literal["yes", "conditional", "no"] = "yes"
    vram_gb: float | None = None
    cpu: bool = True
    #: `prompt`, `calibrated_views`, `named_views`, `picture` (alone) or `mesh`: what it can start from.
    inputs: tuple[str, ...] = ()
    #: Fewest views it can use.
    min_views: int = 1
    #: Named view set by number of views, for engines that want calibrated pictures.
    view_sets: dict[str, str] = Field(default_factory=dict)
    #: JSON schema of the engine's options.
    options: dict[str, JsonValue] = Field(default_factory=dict)
    #: Words the engine understands, by kind, for engines with a closed vocabulary.
    vocabulary: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    output_formats: tuple[str, ...] = ()

    @cached_property
    def named_things(self) -> frozenset[str]:
        """Every name of a thing that a closed vocabulary has; empty for engines that take any words."""
        things = self.vocabulary.get("things", ())
        return frozenset((*things, *self.vocabulary.get("plurals", ()))) if things else frozenset()


class EngineList(Value):
    """Answer of `GET /engines`: engines in order of preference."""

    engines: tuple[EngineCard, ...]
    #: image-service alone: engines that remove backgrounds.
    matting: tuple[EngineCard, ...] = ()


class PublicEngines(Value):
    """Answer of `GET /3d/engines`: every service's engines by stage."""

    images: tuple[EngineCard, ...]
    reconstruction: tuple[EngineCard, ...]
    postprocess: tuple[EngineCard, ...]
    #: Removal of backgrounds, a part of the first stage.
    matting: tuple[EngineCard, ...] = ()
    #: Services that did not answer; their engines are the last known ones.
    unreachable: tuple[str, ...] = ()


Seed = Annotated[int, Field(ge=0, le=2**32 - 1, description="0 to 4294967295")]
