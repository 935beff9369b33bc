"""What a reconstruction engine is asked, and what it gives back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from pydantic import BaseModel, JsonValue, ValidationError

from scratch3d.contracts.engines import EngineCard
from scratch3d.contracts.views import Camera
from scratch3d.geometry.mesh import U8, Mesh
from scratch3d.servicekit.errors import Unprocessable
from scratch3d.servicekit.runner import Report

_Options = TypeVar("_Options", bound=BaseModel)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sight:
    """A view with its pixels: (size, size, 4) uint8 sRGB, straight alpha."""

    name: str
    camera: Camera
    rgba: U8
    #: the picture without light, where there is one; colour is taken from it
    unlit_rgba: U8 | None
    alpha_trusted: bool
    #: the camera is measured, not only what the view's name says
    calibrated: bool = True

    @property
    def colour_rgba(self) -> U8:
        """The best picture to take colour from."""
        return self.rgba if self.unlit_rgba is None else self.unlit_rgba


@dataclass(frozen=True, kw_only=True, eq=False)
class Reconstruction:
    """A mesh in our frame, and what was noticed on the way; its colour is in its vertices (linear) or in a texture."""

    mesh: Mesh
    #: (h, w, 3) uint8 sRGB for the mesh's UVs
    texture: U8 | None = None
    warnings: tuple[str, ...] = ()


class Reconstructor(Protocol):
    """Views in, one mesh out. One instance per process; calls never overlap."""

    def card(self) -> EngineCard:
        """What the engine is, and whether it can run here."""

    def load(self) -> None:
        """Bring it up; called once."""

    def reconstruct(
        self,
        sights: Sequence[Sight],
        *,
        resolution: int,
        seed: int,
        options: Mapping[str, JsonValue],
        report: Report,
    ) -> Reconstruction:
        """Turn views into a mesh; `options` fit the schema on the card. Unprocessable when they cannot be used."""

    def close(self) -> None:
        """Release what `load` took."""


def options_of(kind: type[_Options], given: Mapping[str, JsonValue]) -> _Options:
    """The engine's options; Unprocessable names the first bad one."""
    try:
        return kind.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(["options", *(str(part) for part in first["loc"])])
        raise Unprocessable(first["msg"], code="invalid_request", field=where) from None


def front_of(sights: Sequence[Sight]) -> Sight:
    """The view nearest to the front; from above or below only when there is nothing else."""
    level = [sight for sight in sights if abs(sight.camera.elevation_deg) < 45] or list(sights)
    return min(level, key=lambda s: abs((s.camera.azimuth_deg + 180) % 360 - 180))
