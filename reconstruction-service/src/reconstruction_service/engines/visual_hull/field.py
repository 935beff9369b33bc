"""The hull as a signed field: at every point the smallest of its distances to the silhouettes.

Each silhouette's field changes by at most a metre per metre, and so does their minimum. A block of cells whose centre is
farther from the surface than its half diagonal cannot contain any of it, so it is never looked into.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scratch3d.contracts.views import Camera
from scratch3d.geometry.camera import basis, pixel_size_m
from scratch3d.geometry.jit import kernel, parallel_kernel, prange
from scratch3d.geometry.march import BLOCK, surface
from scratch3d.geometry.mesh import F32, F64, I32, Array, Mesh

#: Cells per side of the first look at the whole space.
COARSE = 48
#: The distance pictures are exact near the outline only; far from it they err by less than this.
SLACK_PX = 2.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Silhouettes:
    """Distance pictures and where they were taken from."""

    #: (v, h, w) float32, metres, positive inside
    distances: F32
    #: (v, 2, 4) point (x, y, z, 1) in metres to (column, row) of the picture, centres at integers
    projections: F64
    pixel_m: F64
    half_width_m: float


def silhouettes(distances_px: Sequence[F32], cameras: Sequence[Camera]) -> Silhouettes:
    """Distance pictures in pixels and their cameras, put together."""
    size = distances_px[0].shape[0]
    pixel = np.array([pixel_size_m(camera, size) for camera in cameras])
    projections = np.zeros((len(cameras), 2, 4))
    for v, camera in enumerate(cameras):
        axes = basis(camera)
        projections[v, 0, :3], projections[v, 1, :3] = axes[0] / pixel[v], -axes[1] / pixel[v]
        projections[v, :, 3] = size / 2 - 0.5
    stacked = np.stack([d * np.float32(p) for d, p in zip(distances_px, pixel, strict=True)])
    reach = max(camera.half_width_m for camera in cameras)
    return Silhouettes(distances=stacked, projections=projections, pixel_m=pixel, half_width_m=reach)


@kernel
def _seen_by(v: int, x: float, y: float, z: float, distances: F32, projections: F64) -> Any:
    """Distance to one silhouette, bilinear."""
    height, width = distances.shape[1], distances.shape[2]
    column = projections[v, 0, 0] * x + projections[v, 0, 1] * y + projections[v, 0, 2] * z + projections[v, 0, 3]
    row = projections[v, 1, 0] * x + projections[v, 1, 1] * y + projections[v, 1, 2] * z + projections[v, 1, 3]
    c = min(max(column, 0.0), width - 1.001)
    r = min(max(row, 0.0), height - 1.001)
    c0, r0 = int(c), int(r)
    fc, fr = np.float32(c - c0), np.float32(r - r0)
    top = distances[v, r0, c0] + (distances[v, r0, c0 + 1] - distances[v, r0, c0]) * fc
    bottom = distances[v, r0 + 1, c0] + (distances[v, r0 + 1, c0 + 1] - distances[v, r0 + 1, c0]) * fc
    return top + (bottom - top) * fr


@parallel_kernel
def evaluate(points: F64, distances: F32, projections: F64) -> F32:
    """(n, 3) metres to (n,) signed distance: the smallest over all silhouettes, bilinear in each."""
    out = np.empty(len(points), np.float32)
    for i in prange(len(points)):
        least = np.float32(1e9)
        for v in range(len(distances)):
            least = min(least, _seen_by(v, points[i, 0], points[i, 1], points[i, 2], distances, projections))
        out[i] = least
    return out


@parallel_kernel
def _fill(blocks: I32, origin: F64, spacing: float, distances: F32, projections: F64, slack: float) -> F32:
    """(b, 9, 9, 9) field at the corners of each block's cells.

    A silhouette that is farther away at the centre than the nearest one by twice the block's reach can be the smallest
    at no point of the block, so only the others are asked.
    """
    values = np.empty((len(blocks), BLOCK + 1, BLOCK + 1, BLOCK + 1), np.float32)
    reach = BLOCK * spacing * np.sqrt(3.0) / 2 + slack
    count = len(distances)
    for b in prange(len(blocks)):
        x = origin[0] + spacing * (blocks[b, 0] + 0.5) * BLOCK
        y = origin[1] + spacing * (blocks[b, 1] + 0.5) * BLOCK
        z = origin[2] + spacing * (blocks[b, 2] + 0.5) * BLOCK
        middle = np.empty(count, np.float32)
        for v in range(count):
            middle[v] = _seen_by(v, x, y, z, distances, projections)
        asked = np.flatnonzero(middle <= middle.min() + 2 * reach)
        for i in range(BLOCK + 1):
            for j in range(BLOCK + 1):
                for k in range(BLOCK + 1):
                    x = origin[0] + spacing * (blocks[b, 0] * BLOCK + i)
                    y = origin[1] + spacing * (blocks[b, 1] * BLOCK + j)
                    z = origin[2] + spacing * (blocks[b, 2] * BLOCK + k)
                    least = np.float32(1e9)
                    for near in asked:
                        least = min(least, _seen_by(int(near), x, y, z, distances, projections))
                    values[b, i, j, k] = least
    return values


def hull_mesh(seen: Silhouettes, resolution: int) -> Mesh | None:
    """The surface of the hull with `resolution` cells along its longest side, or None where nothing is inside."""
    bounds = bounds_of(seen)
    if bounds is None:
        return None
    low, high = bounds
    spacing = float((high - low).max()) / resolution
    # One free cell all around, so that the surface always closes inside the lattice.
    origin = low - spacing
    shape = np.ceil(((high - low) / spacing + 2) / BLOCK).astype(int)
    blocks = _near_surface(seen, origin, spacing, shape)
    values = _fill(blocks, origin, spacing, seen.distances, seen.projections, SLACK_PX * float(seen.pixel_m.max()))
    return surface(values, blocks, shape, origin=origin, spacing_m=spacing)


def bounds_of(seen: Silhouettes) -> tuple[F64, F64] | None:
    """A box around the hull from a coarse look at all the space the cameras see."""
    reach = seen.half_width_m
    step = 2 * reach / COARSE
    axis = -reach + step * (np.arange(COARSE) + 0.5)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    slack = step * np.sqrt(3) / 2 + SLACK_PX * float(seen.pixel_m.max())
    maybe = points[evaluate(points, seen.distances, seen.projections) > -slack]
    if not len(maybe):
        return None
    low, high = maybe.min(axis=0) - step / 2, maybe.max(axis=0) + step / 2
    return _tighten(seen, low, high)


def _tighten(seen: Silhouettes, low: F64, high: F64) -> tuple[F64, F64]:
    """Pull each side of the box in to what the pictures that look along it show."""
    margin = float(seen.pixel_m.max())
    low, high = low.copy(), high.copy()
    for distances, projection, pixel in zip(seen.distances, seen.projections, seen.pixel_m, strict=True):
        inside = distances > -pixel
        for line, profile in ((0, inside.any(axis=0)), (1, inside.any(axis=1))):
            direction = projection[line, :3] * pixel
            axis = int(np.abs(direction).argmax())
            places = np.flatnonzero(profile)
            if abs(direction[axis]) < 1 - 1e-9 or not len(places):
                continue
            ends = (places[[0, -1]] - projection[line, 3]) * pixel / direction[axis]
            low[axis] = max(low[axis], ends.min() - margin)
            high[axis] = min(high[axis], ends.max() + margin)
    return low, high


def _near_surface(seen: Silhouettes, origin: F64, spacing: float, shape: Array) -> I32:
    """Blocks the surface may pass through."""
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1).reshape(-1, 3)
    centres = origin + (grid + 0.5) * BLOCK * spacing
    reach = BLOCK * spacing * np.sqrt(3) / 2 + SLACK_PX * float(seen.pixel_m.max())
    near = np.abs(evaluate(centres, seen.distances, seen.projections)) <= reach
    return np.ascontiguousarray(grid[near], dtype=np.int32)
