"""Engine `trimesh`: the steps in their order."""

from typing import Any

from scratch3d.contracts.engines import EngineCard
from scratch3d.geometry.mesh import Mesh, vertex_normals
from scratch3d.servicekit.runner import Report

from ...errors import NothingLeft
from ..base import Counts, Finished, Wish
from .bake import bake
from .carry import carried, coverage
from .clean import clean
from .decimate import decimate
from .unwrap import unwrap


class Light:
    """trimesh, fast-simplification and xatlas: small wheels, no system libraries."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    @staticmethod
    def card() -> EngineCard:
        """Always available."""
        return EngineCard(
            id="trimesh",
            version="1",
            available=True,
            summary="Clean, decimate, unwrap, bake and export with small wheels only",
            licence_code="Apache-2.0",
            inputs=("mesh",),
            output_formats=("glb", "obj", "stl", "ply"),
        )

    def load(self) -> None:
        """The libraries are imported with this module; nothing else to bring up."""

    def process(self, mesh: Mesh, wish: Wish, report: Report) -> Finished:
        """Deterministic: the same mesh and wish give the same arrays."""
        report(0.0, "cleaning")
        cleaned = clean(mesh)
        if cleaned.mesh.is_empty:
            raise NothingLeft()
        report(0.1, "decimating")
        decimated = decimate(cleaned.mesh, wish.target_faces)
        welded = decimated.mesh.evolve(normals=vertex_normals(decimated.mesh.vertices, decimated.mesh.faces))
        counts = Counts(
            removed_components=cleaned.removed_components,
            removed_faces=cleaned.removed_faces,
            filled_holes=cleaned.filled_holes,
        )
        if not wish.texture or mesh.colours_linear is None:
            return Finished(welded=welded, counts=counts, warnings=decimated.warnings)
        if wish.source_texture is not None and mesh.uv is not None:
            report(0.25, "carrying the texture over")
            kept, charts = carried(mesh, welded)
            return Finished(
                welded=welded,
                unwrapped=kept,
                texture=wish.source_texture,
                covered=coverage(kept, wish.source_texture),
                counts=Counts(**{**vars(counts), "charts": charts}),
                warnings=decimated.warnings,
            )
        report(0.25, "unwrapping")
        opened = unwrap(welded, wish.texture_px)
        report(0.65, "baking")
        texture, covered = bake(opened.mesh, cleaned.mesh, wish.texture_px)
        return Finished(
            welded=welded,
            unwrapped=opened.mesh,
            texture=texture,
            covered=covered,
            counts=Counts(**{**vars(counts), "charts": opened.charts}),
            warnings=decimated.warnings,
        )

    def close(self) -> None:
        """Nothing is held."""
