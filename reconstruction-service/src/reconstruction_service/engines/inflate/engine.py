"""Engine `inflate`: outline, thickness, solid, skin."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from scratch3d.contracts.engines import EngineCard
from scratch3d.contracts.views import Camera
from scratch3d.geometry.camera import basis, pixel_size_m
from scratch3d.geometry.mesh import U8, Mesh
from scratch3d.geometry.outline import without_specks
from scratch3d.servicekit.runner import Report

from ...errors import BadViews, NoSurface
from ..base import Reconstruction, Sight, front_of, options_of
from ..visual_hull.silhouette import signed_distance_px
from . import skin
from .solid import coarsest_stride, solid_mesh
from .swell import squared_thickness

#: More specks than this, and the outline is noise.
MANY_SPECKS = 24
#: The solid is computed from an outline of at most this size; the texture keeps the whole picture.
OUTLINE_PX = 512


class Options(BaseModel):
    """What can be asked of the engine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    back: Literal["mirrored", "plain"] = Field("mirrored", description="what the back shows")
    back_colour: str | None = Field(
        None, pattern=r"^#[0-9a-fA-F]{6}$", description="colour of a plain back; unset: the median of the front"
    )
    thickness: float = Field(0.8, ge=0.05, le=2.0, description="1 makes a ball of a disc, 0.1 a coin")
    min_thickness: float = Field(
        0.025, ge=0.005, le=0.3, description="thickness that thin parts keep, as a share of the longest side"
    )


class Inflate:
    """Real geometry and real colour from one real picture; what it cannot see it does not invent."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    @staticmethod
    def card() -> EngineCard:
        """Always available."""
        return EngineCard(
            id="inflate",
            version="1",
            available=True,
            summary="Swells the outline of one picture to a closed solid; no weights, CPU only",
            licence_code="Apache-2.0",
            inputs=("picture", "named_views", "calibrated_views"),
            view_sets={"1": "front"},
            options=Options.model_json_schema(),
            output_formats=("glb",),
        )

    def load(self) -> None:
        """Compile every kernel on a small disc before the first request."""
        y, x = np.mgrid[:64, :64] - 31.5
        rgba = np.full((64, 64, 4), 128, np.uint8)
        rgba[..., 3] = np.clip((20.5 - np.hypot(x, y)) * 255, 0, 255)
        sight = Sight(name="front", camera=Camera(azimuth_deg=0), rgba=rgba, unlit_rgba=None, alpha_trusted=True)
        self.reconstruct([sight], resolution=64, seed=0, options={}, report=lambda *_: None)

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
        wish = options_of(Options, options)
        front, back, warnings = _chosen(sights)
        report(0.0, "outline")
        alpha, specks = without_specks(_outline_of(front.rgba))
        if specks:
            warnings.append(f"{specks} specks of the outline were left out")
        if specks > MANY_SPECKS:
            warnings.append("the outline is noisy: check the cut-out view")
        distance = signed_distance_px(alpha)
        report(0.25, "swelling")
        longest = float(max(np.ptp(np.nonzero(alpha > 127), axis=1))) + 1.0
        squared = squared_thickness(
            distance, thickness=wish.thickness, least_px=max(1.0, wish.min_thickness / 2 * longest)
        )
        report(0.5, "meshing")
        stride = coarsest_stride(distance, max(1, round(longest / resolution)))
        solid = solid_mesh(squared, stride)
        if solid is None or solid.is_empty:
            raise NoSurface("the picture's outline encloses nothing", field="views")
        report(0.8, "dressing")
        dress = _skin(front.colour_rgba, None if back is None else back.colour_rgba, wish)
        mesh = _placed(solid, front.camera, len(alpha), dress)
        return Reconstruction(mesh=mesh, texture=dress.texture, warnings=tuple(warnings))

    def close(self) -> None:
        """Nothing is held."""


def _chosen(sights: Sequence[Sight]) -> tuple[Sight, Sight | None, list[str]]:
    """The front, the back if there is one, and what is said about the others."""
    front = front_of(sights)
    behind = (front.camera.azimuth_deg + 180) % 360
    level = [sight for sight in sights if abs(sight.camera.elevation_deg) < 45]
    back = next((s for s in level if s is not front and abs(s.camera.azimuth_deg % 360 - behind) < 1), None)
    if not (front.rgba[..., 3] > 127).any():
        raise BadViews(f"view {front.name} shows nothing: its alpha is empty", field="views")
    warnings = [f"view {s.name} is not used: inflate works from the front" for s in sights if s not in (front, back)]
    if not front.alpha_trusted:
        warnings.append(f"view {front.name}: its outline is a guess")
    return front, back, warnings


def _outline_of(rgba: U8) -> U8:
    """(h, w) alpha, averaged down to the size the solid is computed at."""
    alpha: U8 = rgba[..., 3]
    factor = len(alpha) // OUTLINE_PX
    if factor <= 1 or len(alpha) % factor:
        return alpha
    side = len(alpha) // factor
    return np.asarray(np.rint(alpha.reshape(side, factor, side, factor).mean(axis=(1, 3))), np.uint8)


def _skin(front: U8, back: U8 | None, wish: Options) -> skin.Skin:
    if back is not None and wish.back == "mirrored":
        return skin.two_sided(front, back)
    if wish.back == "plain":
        text = wish.back_colour
        colour = None if text is None else (int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16))
        return skin.plain(front, colour)
    return skin.mirrored(front)


def _placed(solid: Mesh, camera: Camera, size_px: int, dress: skin.Skin) -> Mesh:
    """From pixels to metres before the camera that saw the picture, with UVs."""
    places = (solid.vertices[:, :2] + 0.5) / size_px
    pixel = pixel_size_m(camera, size_px)
    # Rows run down, and so the frame is mirrored: faces are turned round with it.
    flat = np.stack([places[:, 0] - 0.5, 0.5 - places[:, 1]], axis=1) * (pixel * size_px)
    flipped = np.concatenate([flat, solid.vertices[:, 2:] * pixel], axis=1).astype(np.float32)
    upright = Mesh(vertices=flipped, faces=np.ascontiguousarray(solid.faces[:, ::-1]))
    mesh = skin.dressed(upright, np.clip(places, 0, 1).astype(np.float32), dress)
    axes = basis(camera)
    assert mesh.normals is not None, "a dressed mesh has normals"
    return mesh.evolve(
        vertices=(mesh.vertices @ axes).astype(np.float32), normals=(mesh.normals @ axes).astype(np.float32)
    )
