"""How thick a flat shape is: the height that a soap film, blown up through the outline, would have.

Inside the outline u solves ∇²u = -4 with u = 0 on it, and the half thickness is √u: a disc becomes a ball (Baran &
Lehtinen 2009, "Notes on Inflating Curves"). The solid is { z² < U(x, y) }: smooth over the rim, where the thickness
itself has an infinite slope.
"""

import numpy as np
from scipy import ndimage

from scratch3d.geometry.jit import kernel
from scratch3d.geometry.mesh import F32, F64, Array

#: The shortest side at which the solution starts; each doubling then only corrects it.
COARSEST = 24
#: Sweeps at every size. Long waves are right from the size before, short ones settle within these.
SWEEPS = 60
#: Distance from the outline within which the solution on whole pixels is replaced by its slope times the distance.
RIM_PX = 1.5


def squared_thickness(distance: F32, *, thickness: float, least_px: float) -> F64:
    """(h, w) U in px²: positive inside, zero on the outline, negative outside.

    `distance` is the signed distance to the outline in px; `thickness` 1 makes a ball of a disc; `least_px` is the least
    half thickness, reached within a few pixels of the rim.
    """
    inside = distance > 0
    film = _film(inside)
    slope = film / np.maximum(distance, 0.5)
    deep = distance >= RIM_PX
    if deep.any():
        near = slope[tuple(ndimage.distance_transform_edt(~deep, return_distances=False, return_indices=True))]
        # Where a thin part is never deep, the slope comes from another part: its own says how much of it to believe.
        slope = np.where(deep, slope, np.where(inside, np.minimum(near, 3.0 * slope + 1.0), 0.0))
    nearest = ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    slope = np.where(inside, slope, slope[tuple(nearest)])
    smooth = np.where(deep, film, slope * distance)
    # The least thickness is reached over half of itself, and in parts that are thinner than that in their middle.
    local = ndimage.maximum_filter(distance, 2 * int(np.ceil(least_px / 2)) + 1)
    ramp = np.clip(distance / np.clip(0.7 * local, 0.5, max(0.5, least_px / 2)), None, 1.0)
    return np.asarray(thickness**2 * smooth + least_px**2 * ramp, np.float64)


def _film(inside: Array) -> F64:
    """(h, w) px²: the solution of ∇²u = -4 inside, zero outside; from coarse to fine."""
    height, width = inside.shape
    if min(height, width) <= COARSEST:
        start = np.zeros(inside.shape)
    else:
        rows, columns = (height + 1) // 2, (width + 1) // 2
        padded = np.pad(inside, ((0, 2 * rows - height), (0, 2 * columns - width)))
        half = padded.reshape(rows, 2, columns, 2).mean(axis=(1, 3)) > 0.5
        coarse = 4.0 * _film(half)  # a pixel of the smaller picture is two of this one, and u is an area
        start = ndimage.zoom(coarse, 2, order=1, grid_mode=True, mode="nearest")[:height, :width] * inside
    # An edge of nothing: every inner pixel has four neighbours.
    padded_inside, film = np.pad(inside, 1), np.pad(start, 1)
    _relax(film, padded_inside, SWEEPS, 2.0 / (1.0 + np.sin(np.pi / max(32.0, min(height, width) / 4))))
    return np.asarray(film[1:-1, 1:-1])


@kernel
def _relax(film: F64, inside: Array, sweeps: int, over: float) -> None:
    """Red-black successive over-relaxation, in place."""
    height, width = film.shape
    for sweep in range(2 * sweeps):
        for y in range(1, height - 1):
            for x in range(1 + (y + sweep) % 2, width - 1, 2):
                if inside[y, x]:
                    around = film[y - 1, x] + film[y + 1, x] + film[y, x - 1] + film[y, x + 1]
                    film[y, x] += over * ((around + 4.0) / 4.0 - film[y, x])
