"""What an image engine is asked, and what it gives back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from scratch3d.contracts.engines import EngineCard
from scratch3d.contracts.images import WantedView
from scratch3d.contracts.views import Camera
from scratch3d.geometry.mesh import U8
from scratch3d.servicekit.runner import Report


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """One view as pixels."""

    name: str
    camera: Camera
    #: (size, size, 4) uint8 sRGB, straight alpha
    rgba: U8
    #: the same without light, if the engine can tell
    unlit_rgba: U8 | None = None
    alpha_trusted: bool = False
    #: the camera is measured, not only what the view's name says
    calibrated: bool = True


@dataclass(frozen=True, kw_only=True, eq=False)
class Pictures:
    """All views of one object."""

    pictures: tuple[Picture, ...]
    #: GLB of the true scene, from engines that know it
    scene_glb: bytes | None = None
    warnings: tuple[str, ...] = ()


class ImageEngine(Protocol):
    """A prompt in, views out. One instance per process; calls never overlap."""

    def card(self) -> EngineCard:
        """What the engine is, and whether it can run here."""

    def load(self) -> None:
        """Bring it up; called once."""

    def generate(
        self,
        prompts: Sequence[str],
        wanted: Sequence[WantedView],
        *,
        size_px: int,
        seed: int,
        style: str | None,
        report: Report,
    ) -> Pictures:
        """Make the wanted views; Unprocessable when the prompt cannot be drawn."""

    def close(self) -> None:
        """Release what `load` took."""
