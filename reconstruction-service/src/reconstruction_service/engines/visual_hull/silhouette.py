"""Antialiased alpha to a signed distance picture, exact to a fraction of a pixel near the outline.

The outline is the level 0.5 of alpha, linear between pixel centres: for an area-sampled straight edge that is the edge
itself. Distances in a band around it are measured to its segments; farther out they grow by the lower envelope of
parabolas (Felzenszwalb & Huttenlocher 2012, "Distance Transforms of Sampled Functions").
"""

import numpy as np

from scratch3d.geometry.jit import kernel
from scratch3d.geometry.mesh import F32, F64, U8

#: Pixels around the outline whose distance is measured to its segments.
BAND_PX = 3
_FAR = 1e12


def signed_distance_px(alpha: U8) -> F32:
    """(h, w) uint8 alpha to (h, w) float32 distance from the outline in pixels, positive inside."""
    level = alpha.astype(np.float64) / 255.0 - 0.5
    # Exactly 0.5 would make an outline of no side; nothing is ever exactly there in 8 bits, but be safe.
    level[level == 0.0] = -1e-6
    near = _band(level, BAND_PX)
    # The envelope adds squares where distances add, so it falls short by up to the distance of what it starts from:
    # it starts from the pixels that touch the outline, and in the band the measured value stands.
    squared = np.where(near <= 1.0, near, _FAR)
    _envelope(squared)
    squared = np.where(near <= BAND_PX**2, near, squared)
    signed: F32 = (np.sqrt(squared) * np.sign(level)).astype(np.float32)
    return signed


@kernel
def _band(level: F64, reach: int) -> F64:
    """Squared distance to the outline for pixels near it, far away elsewhere."""
    height, width = level.shape
    squared = np.full((height, width), _FAR)
    crossing = np.zeros((4, 2))
    for y in range(height - 1):
        for x in range(width - 1):
            n = 0
            for side in range(4):
                ay, ax = y + int(side == 2), x + int(side == 1)
                by, bx = ay + int(side % 2 == 1), ax + int(side % 2 == 0)
                a, b = level[ay, ax], level[by, bx]
                if (a > 0) != (b > 0):
                    t = a / (a - b)
                    crossing[n, 0] = ay + t * (by - ay)
                    crossing[n, 1] = ax + t * (bx - ax)
                    n += 1
            for k in range(0, n - 1, 2):
                _measure(squared, crossing[k], crossing[k + 1], reach)
    return squared


@kernel
def _measure(squared: F64, start: F64, stop: F64, reach: int) -> None:
    height, width = squared.shape
    dy, dx = stop[0] - start[0], stop[1] - start[1]
    length2 = max(dy * dy + dx * dx, 1e-18)
    for y in range(max(0, int(start[0]) - reach), min(height, int(start[0]) + reach + 2)):
        for x in range(max(0, int(start[1]) - reach), min(width, int(start[1]) + reach + 2)):
            t = ((y - start[0]) * dy + (x - start[1]) * dx) / length2
            t = min(max(t, 0.0), 1.0)
            ey, ex = y - start[0] - t * dy, x - start[1] - t * dx
            squared[y, x] = min(squared[y, x], ey * ey + ex * ex)


@kernel
def _envelope(squared: F64) -> None:
    """Both passes of the distance transform, in place."""
    height, width = squared.shape
    longest = max(height, width)
    place, bound = np.zeros(longest, np.int64), np.zeros(longest + 1)
    line, out = np.zeros(longest), np.zeros(longest)
    for x in range(width):
        for y in range(height):
            line[y] = squared[y, x]
        _envelope_line(line, out, place, bound, height)
        for y in range(height):
            squared[y, x] = out[y]
    for y in range(height):
        for x in range(width):
            line[x] = squared[y, x]
        _envelope_line(line, out, place, bound, width)
        for x in range(width):
            squared[y, x] = out[x]


@kernel
def _envelope_line(line: F64, out: F64, place: F64, bound: F64, length: int) -> None:
    last = 0
    place[0] = 0
    bound[0], bound[1] = -_FAR, _FAR
    for q in range(1, length):
        while True:
            p = place[last]
            meet = ((line[q] + q * q) - (line[p] + p * p)) / (2.0 * (q - p))
            if meet > bound[last] or last == 0:
                break
            last -= 1
        if meet > bound[last]:
            last += 1
        place[last] = q
        bound[last] = meet if last else -_FAR
        bound[last + 1] = _FAR
    last = 0
    for q in range(length):
        while bound[last + 1] < q:
            last += 1
        p = place[last]
        out[q] = (q - p) * (q - p) + line[p]
