"""Engine `soft-hull`: carving for views that go by their names and do not agree exactly.

Drawn or photographed views of one thing differ: an arm is raised in one, the scale is a little off in another. A hard
hull keeps only what all of them show, and loses limbs. Here opposite views are one outline with two opinions; the side
and top views are widened a little; and where they would erase a part of the front's outline altogether, they give way
just as far as is needed for the front to be seen as it was drawn.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import JsonValue
from scipy import ndimage

from scratch3d.contracts.engines import EngineCard
from scratch3d.contracts.views import Camera
from scratch3d.geometry.camera import basis
from scratch3d.geometry.march import BLOCK, surface
from scratch3d.geometry.mesh import F32, F64, Mesh
from scratch3d.servicekit.runner import Report

from ...errors import NoSurface
from ..base import Reconstruction, Sight
from .colour import coloured
from .engine import VisualHull, checked_sights, told_phantoms
from .field import SLACK_PX, Silhouettes, evaluate, silhouettes
from .phantoms import without_phantoms
from .silhouette import signed_distance_px

#: Views are taken to differ by this share of the picture for no reason; within it opinions are averaged.
TOLERANCE_SHARE = 0.02
#: Side and top views are widened by this share of the picture.
WIDENED_SHARE = 0.006
#: Opposite outlines that overlap by more than 1 less this are one outline; below `DOUBTFUL` it is worth a warning.
AGREED, DOUBTFUL = 0.015, 0.95
#: What the second opinion on the front's own outline counts.
SECOND_OPINION = 0.1
#: Depths that are tried along each of the front's rays.
DEPTHS = 96
COARSE = 48


@dataclass(frozen=True, kw_only=True, eq=False)
class SoftField:
    """The front's outline, the others', and how far the others give way on each of the front's rays."""

    front: Silhouettes
    others: Silhouettes
    #: as a distance picture of the front's camera, metres, nowhere negative
    way: Silhouettes

    def __call__(self, points: F64) -> F32:
        """(n, 3) metres to (n,) signed distance, positive inside."""
        mine, theirs, way = (evaluate(points, s.distances, s.projections) for s in (self.front, self.others, self.way))
        return np.asarray(np.minimum(mine, theirs + way), np.float32)

    def bounds(self, points: F64, reach_m: float) -> tuple[F32, F32]:
        """(n,) least and most the field can be within `reach_m` of each point.

        The outlines' distances change by a metre a metre at most; how far others give way may jump from ray to ray, so
        its least and most over the rays within reach are looked up.
        """
        slack = np.float32(reach_m + SLACK_PX * float(self.front.pixel_m.max()))
        mine, theirs = (evaluate(points, s.distances, s.projections) for s in (self.front, self.others))
        window = 2 * int(np.ceil(slack / self.front.pixel_m[0])) + 1
        picture = self.way.distances[0]
        ways = [extreme(picture, window)[None] for extreme in (ndimage.minimum_filter, ndimage.maximum_filter)]
        least, most = (evaluate(points, way, self.way.projections) for way in ways)
        return np.minimum(mine, theirs + least) - slack, np.minimum(mine, theirs + most) + slack


class SoftHull:
    """Three or more named views to one solid; the front decides where they contradict each other."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    @staticmethod
    def card() -> EngineCard:
        """Always available."""
        return EngineCard(
            id="soft-hull",
            version="1",
            available=True,
            summary="Carves named views that do not agree exactly; no weights, CPU only; cannot see hollows",
            licence_code="Apache-2.0",
            inputs=("named_views",),
            min_views=3,
            output_formats=("glb",),
        )

    def load(self) -> None:
        """Compile the kernels it shares with the exact hull."""
        VisualHull(self.settings).load()

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
        report(0.25, "reconciling")
        field, doubts = reconciled(sights, distances)
        report(0.45, "carving")
        mesh = soft_mesh(field, resolution)
        if mesh is None:
            raise NoSurface(field="views")
        mesh, phantoms = without_phantoms(mesh, [sight.camera for sight in sights])
        report(0.75, "colouring")
        return Reconstruction(
            mesh=coloured(mesh, sights, distances), warnings=(*warnings, *doubts, *told_phantoms(phantoms))
        )

    def close(self) -> None:
        """Nothing is held."""


def reconciled(sights: Sequence[Sight], distances: Sequence[F32]) -> tuple[SoftField, tuple[str, ...]]:
    """The field of these views, and what they disagree about."""
    axes = [basis(sight.camera) for sight in sights]
    lead = min(range(len(sights)), key=lambda i: (-float(axes[i][2] @ (0, 0, 1)), i))
    pairs = _pairs(axes, lead)
    size = len(distances[0])
    tolerance = TOLERANCE_SHARE * size
    outlines: list[F32] = []
    doubts, worst = [], 1.0
    for first, second in pairs:
        outline = distances[first]
        if second is not None:
            other = _seen_from(distances[second], axes[second], axes[first])
            overlap = _overlap(outline, other)
            worst = min(worst, overlap)
            if overlap < DOUBTFUL:
                names = f"{sights[first].name} and {sights[second].name}"
                doubts.append(f"views {names} show outlines that overlap by {overlap:.0%} only")
            outline = _led(outline, other, tolerance) if first == lead else _united(outline, other, tolerance)
        outlines.append(outline)
    cameras = [sights[first].camera for first, _ in pairs]
    front = silhouettes(outlines[:1], cameras[:1])
    needed, missing = _needed(front, silhouettes(outlines[1:], cameras[1:]), cameras[0])
    # Views that agree are carved exactly; the more they differ, the softer.
    softness = min(1.0, max((1 - worst - AGREED) / (1 - DOUBTFUL), missing / 0.02, 0.0))
    widened = np.float32(WIDENED_SHARE * size * softness)
    others = silhouettes([outline + widened for outline in outlines[1:]], cameras[1:])
    if missing > 0.02:
        doubts.append(f"the other views do not show {missing:.0%} of the front's outline; the front was trusted")
    way = _give_way(needed * softness, front, cameras[0])
    return SoftField(front=front, others=others, way=way), tuple(doubts)


def soft_mesh(field: SoftField, resolution: int) -> Mesh | None:
    """The surface of the field with `resolution` cells along its longest side, or None where nothing is inside."""
    reach = field.front.half_width_m
    step = 2 * reach / COARSE
    axis = -reach + step * (np.arange(COARSE) + 0.5)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    maybe = points[field.bounds(points, step * np.sqrt(3) / 2)[1] > 0]
    if not len(maybe):
        return None
    low, high = maybe.min(axis=0) - step / 2, maybe.max(axis=0) + step / 2
    spacing = float((high - low).max()) / resolution
    origin = low - spacing
    shape = np.ceil(((high - low) / spacing + 2) / BLOCK).astype(int)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1).reshape(-1, 3)
    least, most = field.bounds(origin + (grid + 0.5) * BLOCK * spacing, BLOCK * spacing * np.sqrt(3) / 2)
    near = grid[(least <= 0) & (most > 0)]
    corner = np.stack(np.meshgrid(*(np.arange(BLOCK + 1),) * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    values = np.empty((len(near), len(corner)), np.float32)
    for start in range(0, len(near), 1024):  # a thousand blocks at a time: their points take 17 MB
        blocks = near[start : start + 1024]
        lattice = (blocks[:, None] * BLOCK + corner[None]).reshape(-1, 3)
        values[start : start + 1024] = field(origin + spacing * lattice).reshape(len(blocks), -1)
    cells = values.reshape(-1, BLOCK + 1, BLOCK + 1, BLOCK + 1)
    return surface(cells, near, shape, origin=origin, spacing_m=spacing)


def _pairs(axes: Sequence[F64], lead: int) -> list[tuple[int, int | None]]:
    """Views with their opposites, the leading one first; of a pair, the one that is named first."""
    left = [lead, *(i for i in range(len(axes)) if i != lead)]
    pairs: list[tuple[int, int | None]] = []
    while left:
        first = left.pop(0)
        opposite = next((i for i in left if axes[i][2] @ axes[first][2] < -0.99), None)
        if opposite is not None:
            left.remove(opposite)
        pairs.append((first, opposite))
    return pairs


def _seen_from(distance: F32, own: F64, wanted: F64) -> F32:
    """A distance picture as the opposite camera would have it."""
    across = -1 if own[0] @ wanted[0] < 0 else 1
    down = -1 if own[1] @ wanted[1] < 0 else 1
    return distance[::down, ::across]


def _led(first: F32, second: F32, tolerance: float) -> F32:
    """The first outline, moved a little towards the second where they nearly agree."""
    return np.asarray(first + SECOND_OPINION * np.clip(second - first, -tolerance, tolerance), np.float32)


def _united(first: F32, second: F32, tolerance: float) -> F32:
    """The middle where the outlines nearly agree; where one shows a part that the other lacks, the part stays."""
    apart = np.abs(second - first)
    return np.asarray((first + second) / 2 + np.maximum(apart - tolerance, 0) / 2, np.float32)


def _overlap(first: F32, second: F32) -> float:
    one, other = first > 0, second > 0
    return float((one & other).sum() / max((one | other).sum(), 1))


def _needed(front: Silhouettes, others: Silhouettes, camera: Camera) -> tuple[F32, float]:
    """How far the others must give way on each ray of the front (metres), and the share of its outline they erase."""
    outline, half = front.distances[0], camera.half_width_m
    step = max(1, len(outline) // 256)
    places = ((np.arange(0, len(outline), step) + 0.5) / len(outline) * 2 - 1) * half
    right, up, back = basis(camera)
    x, y = np.meshgrid(places, -places)
    rays = x.reshape(-1, 1) * right + y.reshape(-1, 1) * up
    best = np.full(len(rays), -1e9, np.float32)
    for depth in (np.arange(DEPTHS) + 0.5) / DEPTHS * 2 - 1:
        np.maximum(best, evaluate(rays + depth * half * back, others.distances, others.projections), out=best)
    inside = outline[::step, ::step] > 0
    # A little more than is needed, so that what is kept is thicker than nothing.
    least = np.float32(3.0 * half / min(len(outline), 256))
    best = best.reshape(x.shape)
    missing = float((inside & (best < -2 * least)).sum() / max(inside.sum(), 1))
    return np.where(inside, np.maximum(least - best, 0.0), 0.0).astype(np.float32), missing


def _give_way(needed: F32, front: Silhouettes, camera: Camera) -> Silhouettes:
    """The needed distances as a distance picture of the front's camera."""
    # Widened before it is smoothed: smoothing alone would take back what thin parts need.
    smooth = ndimage.gaussian_filter(ndimage.maximum_filter(needed, 5), 1.5)
    size = len(front.distances[0])
    step = max(1, size // 256)
    fine = ndimage.zoom(smooth, step, order=1, grid_mode=True, mode="nearest")[:size, :size]
    return silhouettes([(fine / front.pixel_m[0]).astype(np.float32)], [camera])
