"""Engine `procedural`: parse, build, render each wanted camera."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from scratch3d.contracts.engines import EngineCard
from scratch3d.contracts.images import WantedView
from scratch3d.contracts.views import Camera
from scratch3d.geometry.camera import basis
from scratch3d.geometry.glb import write_glb
from scratch3d.geometry.mesh import U8, Mesh
from scratch3d.geometry.render import render, surface_of
from scratch3d.servicekit.errors import Unprocessable
from scratch3d.servicekit.runner import Report

from ..base import Picture, Pictures
from .grammar import Description, parse
from .scene import build, with_creases
from .styles import STYLES
from .things import THINGS
from .vocabulary import listed

#: Free border around the object, as a share of its largest extent in any view.
MARGIN = 0.08
#: What a viewer that ignores alpha shows behind the object.
NEUTRAL = 236


class Procedural:
    """Draws scenes of simple things exactly; the scene itself is kept as the truth to measure against."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    @staticmethod
    def card() -> EngineCard:
        """Always available."""
        return EngineCard(
            id="procedural",
            version="2",
            available=True,
            summary="Exact views of scenes of everyday things; no weights, CPU only",
            licence_code="Apache-2.0",
            inputs=("prompt",),
            vocabulary=listed(),
        )

    def load(self) -> None:
        """Compile the renderer's kernels before the first request."""
        warm_up = build(parse("a cube"))
        render(surface_of(warm_up.mesh), Camera(azimuth_deg=0), 64, samples=1)

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
        """All views come from one scene, so only the first prompt is read; the seed has nothing to decide."""
        if style is not None and style not in STYLES:
            raise Unprocessable(f"is not one of {', '.join(STYLES)}", field="style")
        said = parse(prompts[0])
        scene = build(said, style=style)
        half_width = _half_width(scene.mesh, wanted)
        surface = surface_of(scene.mesh)
        pictures = []
        for number, view in enumerate(wanted):
            report(number / len(wanted), f"view {number + 1} of {len(wanted)}")
            camera = Camera(azimuth_deg=view.azimuth_deg, elevation_deg=view.elevation_deg, half_width_m=half_width)
            lit, unlit = render(surface, camera, size_px)
            pictures.append(
                Picture(
                    name=view.name,
                    camera=camera,
                    rgba=_on_neutral(lit),
                    unlit_rgba=_on_neutral(unlit),
                    alpha_trusted=True,
                )
            )
        glb = write_glb([with_creases(part) for part in scene.parts])
        warnings = (*said.warnings, *scene.warnings, *_hollows(said))
        return Pictures(pictures=tuple(pictures), scene_glb=glb, warnings=warnings)

    def close(self) -> None:
        """Nothing is held."""


def _hollows(said: Description) -> tuple[str, ...]:
    """What the pictures cannot tell an engine that works from outlines."""
    names = dict.fromkeys(i.thing for i in said.items if THINGS[i.thing].hollow and i.thing != "box")
    if not names:
        return ()
    return (f"no outline shows how deep the {', '.join(names)} is: an engine that carves fills the hollow",)


def _half_width(mesh: Mesh, wanted: Sequence[WantedView]) -> float:
    """One half width for all views, so that they share a scale."""
    reach = 0.0
    for view in wanted:
        axes = basis(Camera(azimuth_deg=view.azimuth_deg, elevation_deg=view.elevation_deg))[:2]
        reach = max(reach, float(np.abs(mesh.vertices @ axes.T).max()))
    return round(reach * (1 + 2 * MARGIN), 6)


def _on_neutral(rgba: U8) -> U8:
    picture = rgba.copy()
    picture[rgba[..., 3] == 0, :3] = NEUTRAL
    return picture
