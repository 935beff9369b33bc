"""What a background remover is asked, and what it gives back."""

from dataclasses import dataclass
from typing import Protocol

from scratch3d.contracts.engines import EngineCard
from scratch3d.geometry.mesh import U8


@dataclass(frozen=True, kw_only=True, eq=False)
class Cut:
    """A picture with its object cut out, and what is doubtful about the cut."""

    #: (h, w, 4) uint8 sRGB, straight alpha; no background left in the colour of its fringe
    rgba: U8
    warnings: tuple[str, ...] = ()


class Matting(Protocol):
    """Pixels in, the object out. One instance per process; calls never overlap."""

    def card(self) -> EngineCard:
        """What the engine is, and whether it can run here."""

    def load(self) -> None:
        """Bring it up; called once."""

    def cut(self, rgb: U8) -> Cut:
        """(h, w, 3) uint8 sRGB to a cut; NoObject when nothing stands out."""

    def close(self) -> None:
        """Release what `load` took."""
