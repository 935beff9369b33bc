"""What a post-processing engine is asked, and what it gives back. Files are not its business."""

from dataclasses import dataclass, field
from typing import Protocol

from scratch3d.contracts.engines import EngineCard
from scratch3d.geometry.mesh import U8, Mesh
from scratch3d.servicekit.runner import Report


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What to do with the mesh."""

    target_faces: int
    texture: bool
    texture_px: int
    #: (h, w, 3) uint8 sRGB the mesh came with, for its own UVs; both are kept
    source_texture: U8 | None = None


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What was done, counted; nothing is repaired silently."""

    removed_components: int = 0
    removed_faces: int = 0
    filled_holes: int = 0
    charts: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Finished:
    """The cleaned mesh: welded with vertex colours, and, when textured, the same surface cut open with UVs."""

    #: closed where the source was closed; colours and normals by vertex
    welded: Mesh
    #: the same faces in the same order, vertices split along chart borders
    unwrapped: Mesh | None = None
    #: (h, w, 3) uint8 sRGB
    texture: U8 | None = None
    #: (h, w) bool: texels that lie in a chart
    covered: U8 | None = None
    counts: Counts = field(default_factory=Counts)
    warnings: tuple[str, ...] = ()


class Postprocessor(Protocol):
    """A raw mesh in, a clean one out. One instance per process; calls never overlap."""

    def card(self) -> EngineCard:
        """What the engine is, and whether it can run here."""

    def load(self) -> None:
        """Bring it up; called once."""

    def process(self, mesh: Mesh, wish: Wish, report: Report) -> Finished:
        """Clean, decimate, unwrap and bake."""

    def close(self) -> None:
        """Release what `load` took."""
