"""The plain twin of `field`: the same surface from every lattice point, in numpy, with no block ever skipped.

Slow and obvious. Tests hold the fast path against it, and the benchmark measures against it.
"""

import numpy as np

from scratch3d.geometry.march import BLOCK, extract
from scratch3d.geometry.mesh import F32, F64, Mesh

from .field import Silhouettes, bounds_of


def evaluate(points: F64, seen: Silhouettes) -> F32:
    """(n, 3) metres to (n,) signed distance: the smallest over all silhouettes, bilinear in each."""
    least = np.full(len(points), 1e9, np.float32)
    height, width = seen.distances.shape[1:]
    for distances, projection in zip(seen.distances, seen.projections, strict=True):
        column = np.clip(points @ projection[0, :3] + projection[0, 3], 0.0, width - 1.001)
        row = np.clip(points @ projection[1, :3] + projection[1, 3], 0.0, height - 1.001)
        c, r = column.astype(int), row.astype(int)
        fc, fr = (column - c).astype(np.float32), (row - r).astype(np.float32)
        top = distances[r, c] + (distances[r, c + 1] - distances[r, c]) * fc
        bottom = distances[r + 1, c] + (distances[r + 1, c + 1] - distances[r + 1, c]) * fc
        least = np.minimum(least, top + (bottom - top) * fr)
    return least


def hull_mesh(seen: Silhouettes, resolution: int) -> Mesh | None:
    """As `field.hull_mesh`: same lattice, same surface, every point evaluated."""
    bounds = bounds_of(seen)
    if bounds is None:
        return None
    low, high = bounds
    spacing = float((high - low).max()) / resolution
    origin = low - spacing
    shape = np.ceil(((high - low) / spacing + 2) / BLOCK).astype(int)
    points = [origin[k] + spacing * np.arange(shape[k] * BLOCK + 1) for k in range(3)]
    values = np.empty([len(p) for p in points], np.float32)
    for i, x in enumerate(points[0]):
        y, z = np.meshgrid(points[1], points[2], indexing="ij")
        plane = np.stack([np.full_like(y, x), y, z], axis=-1).reshape(-1, 3)
        values[i] = evaluate(plane, seen).reshape(y.shape)
    blocks = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1).reshape(-1, 3)
    starts = [blocks[:, k, None] * BLOCK + np.arange(BLOCK + 1) for k in range(3)]
    cells = values[starts[0][:, :, None, None], starts[1][:, None, :, None], starts[2][:, None, None, :]]
    index = np.arange(len(blocks), dtype=np.int32).reshape(shape)
    return extract(cells, blocks.astype(np.int32), index, origin=origin, spacing_m=spacing)
