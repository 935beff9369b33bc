"""Outlines in pictures: how many parts and holes they have, and which of them are noise."""

import numpy as np
from scipy import ndimage

from .mesh import U8, Array

#: Parts and holes smaller than this share of the whole outline are specks …
SPECK_SHARE = 0.0005
#: … and so is everything smaller than this.
LEAST_PX = 6
_CORNERS = np.ones((3, 3))


def topology(inside: Array) -> tuple[int, int]:
    """(parts, holes) of a (h, w) bool picture; parts meet at sides only, holes at corners too.

    That is what marching cubes makes of it: inside corners are kept apart.
    """
    padded = np.pad(inside, 1)
    return int(ndimage.label(padded)[1]), int(ndimage.label(~padded, _CORNERS)[1]) - 1


def without_specks(alpha: U8) -> tuple[U8, int]:
    """(h, w) uint8 alpha without parts and holes that are noise, and how many there were."""
    inside = alpha > 127
    least = max(LEAST_PX, SPECK_SHARE * float(inside.sum()))
    specks, parts = _small(inside, least, None)
    pinholes, holes = _small(~inside, least, _CORNERS)
    if not parts + holes:
        return alpha, 0
    cleaned = np.where(pinholes, np.uint8(255), alpha)
    # A speck goes with its antialiased fringe, but not with that of its neighbours.
    fringe = ndimage.binary_dilation(specks, _CORNERS) & ~ndimage.binary_dilation(inside & ~specks, _CORNERS)
    cleaned[specks | (fringe & ~inside)] = 0
    return cleaned, parts + holes


def _small(inside: Array, least: float, structure: Array | None) -> tuple[Array, int]:
    """The parts smaller than `least` pixels, and their number; the largest part is never one of them."""
    label, count = ndimage.label(inside, structure)
    if count == 0:
        return np.zeros(inside.shape, bool), 0
    size = np.bincount(label.ravel(), minlength=count + 1)
    small = (size < least) & (np.arange(count + 1) > 0)
    small[1 + int(size[1:].argmax())] = False
    return np.asarray(small[label]), int(small.sum())
