"""Engine `visual-hull`: carve, extract, colour."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from pydantic import JsonValue

from scratch3d.contracts.engines import EngineCard
from scratch3d.contracts.views import Camera
from scratch3d.servicekit.runner import Report

from ...errors import BadViews, NoSurface
from ..base import Reconstruction, Sight
from .colour import coloured
from .field import hull_mesh, silhouettes
from .phantoms import without_phantoms
from .silhouette import signed_distance_px

#: Pixels of a silhouette that may lie on the picture's border before it counts as cut off.
CUT_OFF_PX = 8


class VisualHull:
    """The largest object that fits all silhouettes (Laurentini 1994), to a fraction of a voxel."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    @staticmethod
    def card() -> EngineCard:
        """Always available."""
        return EngineCard(
            id="visual-hull",
            version="1",
            available=True,
            summary="Carves calibrated silhouettes; no weights, CPU only; cannot see hollows",
            licence_code="Apache-2.0",
            inputs=("calibrated_views", "named_views"),
            min_views=2,
            view_sets={"4": "carve-4", "8": "carve-8"},
            output_formats=("glb",),
        )

    def load(self) -> None:
        """Compile every kernel on a tiny sphere before the first request."""
        y, x = np.mgrid[:32, :32] - 15.5
        rgba = np.zeros((32, 32, 4), np.uint8)
        rgba[..., 3] = np.clip((10.5 - np.hypot(x, y)) * 255, 0, 255)
        ring = [Camera(azimuth_deg=angle) for angle in (0, 90, 225)]
        sights = [Sight(name="s", camera=c, rgba=rgba, unlit_rgba=None, alpha_trusted=True) for c in ring]
        self.reconstruct(sights, resolution=32, seed=0, options={}, report=lambda *_: None)

    def reconstruct(
        self,
        sights: Sequence[Sight],
        *,
        resolution: int,
        seed: int,
        options: Mapping[str, JsonValue],
        report: Report,
    ) -> Reconstruction:
        """Deterministic; the seed has nothing to decide."""
        report(0.0, "silhouettes")
        warnings = checked_sights(sights)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            distances = list(pool.map(signed_distance_px, [sight.rgba[..., 3] for sight in sights]))
        report(0.3, "carving")
        mesh = hull_mesh(silhouettes(distances, [sight.camera for sight in sights]), resolution)
        if mesh is None:
            raise NoSurface(field="views")
        mesh, phantoms = without_phantoms(mesh, [sight.camera for sight in sights])
        report(0.6, "colouring")
        return Reconstruction(mesh=coloured(mesh, sights, distances), warnings=(*warnings, *told_phantoms(phantoms)))

    def close(self) -> None:
        """Nothing is held."""


def told_phantoms(count: int) -> tuple[str, ...]:
    """What is said about bodies that were left out."""
    if not count:
        return ()
    return (f"{count} phantom bodies were left out: no view needs them; more views separate things better",)


def checked_sights(sights: Sequence[Sight]) -> list[str]:
    """What is doubtful about these views; BadViews when they cannot be carved with."""
    if len(sights) < 2 or len({sight.rgba.shape for sight in sights}) != 1:
        raise BadViews("carving needs at least two pictures of one size, from known cameras", field="views")
    warnings = []
    for sight in sights:
        solid = sight.rgba[..., 3] > 127
        if not solid.any():
            raise BadViews(f"view {sight.name} shows nothing: its alpha is empty", field="views")
        border = solid[0].sum() + solid[-1].sum() + solid[:, 0].sum() + solid[:, -1].sum()
        if border > CUT_OFF_PX:
            warnings.append(f"view {sight.name}: the object touches the border of the picture and may be cut off")
        if not sight.alpha_trusted:
            warnings.append(f"view {sight.name}: its silhouette is a guess")
    return warnings
