"""The solid { z² < U(x, y) } as a mesh, from blocks of cells along its surface only."""

import numpy as np
from scipy import ndimage

from scratch3d.geometry.march import BLOCK, surface
from scratch3d.geometry.mesh import F32, F64, I32, Array, Mesh
from scratch3d.geometry.outline import topology

#: Free cells around the shape, so that the surface closes inside the lattice.
FREE = 2
#: Share of an outline that may lie farther than a step from every sample.
TIPS_SHARE = 0.002


def coarsest_stride(distance: F32, wanted: int) -> int:
    """The largest step not above `wanted` whose sampled outline has the parts, the holes and the tips of the whole one."""
    inside = distance > 0
    whole = topology(inside)
    return next(
        step
        for step in range(wanted, 0, -1)
        if step == 1 or (topology(inside[::step, ::step]) == whole and _reaches(inside, step))
    )


def _reaches(inside: Array, step: int) -> bool:
    """Every row and column of the outline has a sample near, and so has nearly all of it."""
    sampled = np.zeros_like(inside)
    sampled[::step, ::step] = inside[::step, ::step]
    near = ndimage.maximum_filter(sampled, 2 * step + 1)
    lost = inside & ~near
    return bool(lost.sum() <= TIPS_SHARE * inside.sum()) and not any(
        (inside.any(axis=axis) & ~near.any(axis=axis)).any() for axis in (0, 1)
    )


def solid_mesh(squared_px: F64, stride: int) -> Mesh | None:
    """Vertices in pixels: x to the right, y down, z towards the viewer; outward faces seen in that mirrored frame.

    `squared_px` is (h, w) U in px², at pixel centres; None where nothing is inside.
    """
    if not (squared_px > 0).any():
        return None
    field = np.pad(squared_px, FREE * stride, mode="edge")[::stride, ::stride]
    field = np.minimum(field, _open_border(field, stride))
    tall = int(np.ceil(np.sqrt(field.max()) / stride)) + FREE
    # z runs over 2·tall cells in whole blocks, with lattice point `middle` at z = 0.
    blocks_high = -(-2 * tall // BLOCK)
    middle = blocks_high * BLOCK // 2
    shape = (-(-(field.shape[1] - 1) // BLOCK), -(-(field.shape[0] - 1) // BLOCK), blocks_high)
    padded = np.pad(
        field.T,
        ((0, shape[0] * BLOCK + 1 - field.shape[1]), (0, shape[1] * BLOCK + 1 - field.shape[0])),
        constant_values=-1.0,
    )
    blocks, values = _near(padded, shape, middle, stride)
    origin = np.array([-FREE * stride, -FREE * stride, -middle * stride], float)
    return surface(values, blocks, shape, origin=origin, spacing_m=float(stride))


def _open_border(field: F64, stride: int) -> F64:
    """Negative along the lattice's border, so that a shape cut off by the picture is closed there."""
    limit = np.full(field.shape, np.inf)
    limit[: FREE - 1], limit[-(FREE - 1) :], limit[:, : FREE - 1], limit[:, -(FREE - 1) :] = (-float(stride**2),) * 4
    return limit


def _near(field: F64, shape: tuple[int, int, int], middle: int, stride: int) -> tuple[I32, F32]:
    """Blocks the surface may pass through, and the field at their lattice points."""
    starts = [np.arange(shape[k])[:, None] * BLOCK + np.arange(BLOCK + 1) for k in (0, 1)]
    patches = field[starts[0][:, None, :, None], starts[1][None, :, None, :]]
    low = np.sqrt(np.maximum(patches.min(axis=(2, 3)), 0.0)) / stride
    high = np.sqrt(np.maximum(patches.max(axis=(2, 3)), 0.0)) / stride
    heights = (np.arange(shape[2])[:, None] * BLOCK + np.arange(BLOCK + 1) - middle).astype(float)
    nearest, farthest = np.abs(heights).min(axis=1), np.abs(heights).max(axis=1)
    maybe = (high[..., None] > 0) & (nearest <= high[..., None] + 1) & (farthest >= low[..., None] - 1)
    blocks = np.argwhere(maybe).astype(np.int32)
    squares = ((heights * stride) ** 2)[blocks[:, 2]]
    values = (patches[blocks[:, 0], blocks[:, 1]][..., None] - squares[:, None, None, :]).astype(np.float32)
    return blocks, values
