"""A small z-buffer rasteriser: which face is seen through each pixel, and where on it."""

from dataclasses import dataclass

import numpy as np

from .jit import kernel
from .mesh import F32, F64, I32, Array


@dataclass(frozen=True, kw_only=True, eq=False)
class Hits:
    """What the rays through the pixel centres hit first."""

    #: (h, w) int32, index of the face, -1 where nothing was hit
    face: I32
    #: (h, w, 2) float32, weights of the second and third corner
    bary: F32
    #: (h, w) float32, height over the picture plane; -inf where nothing was hit
    height: F32

    @property
    def mask(self) -> Array:
        """(h, w) bool: something was hit."""
        return self.face >= 0

    def interpolate(self, corners: Array) -> F32:
        """(m, 3, c) values at face corners to (k, c) values at the k hit pixels, in row order."""
        hit = self.mask
        face, bary = self.face[hit], self.bary[hit]
        first = 1.0 - bary[:, :1] - bary[:, 1:]
        values = corners[face]
        blended = values[:, 0] * first + values[:, 1] * bary[:, :1] + values[:, 2] * bary[:, 1:]
        return np.asarray(blended, np.float32)


def rasterise(screen: F64, faces: I32, height_px: int, width_px: int) -> Hits:
    """`screen` (n, 3): pixel x, pixel y, height (larger is nearer). Both sides of a face are drawn."""
    face, bary, height = _rasterise(np.ascontiguousarray(screen), np.ascontiguousarray(faces), height_px, width_px)
    return Hits(face=face, bary=bary, height=height)


def heights(screen: F64, faces: I32, height_px: int, width_px: int) -> F32:
    """(h, w) float32 height of what is seen first, -inf where nothing is; only faces that look at the camera."""
    return _heights(np.ascontiguousarray(screen), np.ascontiguousarray(faces), height_px, width_px)


@kernel
def _heights(screen: F64, faces: I32, height_px: int, width_px: int) -> F32:
    top = np.full((height_px, width_px), -np.inf, np.float32)
    for f in range(len(faces)):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        x0, y0 = screen[i, 0] - 0.5, screen[i, 1] - 0.5
        x1, y1 = screen[j, 0] - 0.5 - x0, screen[j, 1] - 0.5 - y0
        x2, y2 = screen[k, 0] - 0.5 - x0, screen[k, 1] - 0.5 - y0
        # Rows run downwards, so a counter-clockwise face has a negative area here.
        area = x1 * y2 - x2 * y1
        if area > -1e-14:
            continue
        left = max(0, int(np.ceil(x0 + min(0.0, x1, x2))))
        right = min(width_px - 1, int(np.floor(x0 + max(0.0, x1, x2))))
        upper = max(0, int(np.ceil(y0 + min(0.0, y1, y2))))
        lower = min(height_px - 1, int(np.floor(y0 + max(0.0, y1, y2))))
        if left > right or upper > lower:
            continue
        bx, by, cx, cy = y2 / area, -x2 / area, -y1 / area, x1 / area
        z0 = screen[i, 2]
        z1, z2 = screen[j, 2] - z0, screen[k, 2] - z0
        for row in range(upper, lower + 1):
            for column in range(left, right + 1):
                dx, dy = column - x0, row - y0
                b, c = dx * bx + dy * by, dx * cx + dy * cy
                if b >= -1e-9 and c >= -1e-9 and b + c <= 1 + 1e-9:
                    z = np.float32(z0 + b * z1 + c * z2)
                    if z > top[row, column]:
                        top[row, column] = z
    return top


@kernel
def _rasterise(screen: F64, faces: I32, height_px: int, width_px: int) -> tuple[I32, F32, F32]:
    hit = np.full((height_px, width_px), -1, np.int32)
    bary = np.zeros((height_px, width_px, 2), np.float32)
    top = np.full((height_px, width_px), -np.inf, np.float32)
    for f in range(len(faces)):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        x0, y0 = screen[i, 0], screen[i, 1]
        x1, y1 = screen[j, 0] - x0, screen[j, 1] - y0
        x2, y2 = screen[k, 0] - x0, screen[k, 1] - y0
        area = x1 * y2 - x2 * y1
        if abs(area) < 1e-14:
            continue
        left = max(0, int(np.ceil(x0 + min(0.0, x1, x2) - 0.5)))
        right = min(width_px - 1, int(np.floor(x0 + max(0.0, x1, x2) - 0.5)))
        upper = max(0, int(np.ceil(y0 + min(0.0, y1, y2) - 0.5)))
        lower = min(height_px - 1, int(np.floor(y0 + max(0.0, y1, y2) - 0.5)))
        z0, z1, z2 = screen[i, 2], screen[j, 2] - screen[i, 2], screen[k, 2] - screen[i, 2]
        for row in range(upper, lower + 1):
            dy = row + 0.5 - y0
            for column in range(left, right + 1):
                dx = column + 0.5 - x0
                # A hair of tolerance: pixels on a shared edge belong to both faces, never to none.
                b = (dx * y2 - x2 * dy) / area
                c = (x1 * dy - dx * y1) / area
                if b < -1e-9 or c < -1e-9 or b + c > 1 + 1e-9:
                    continue
                z = np.float32(z0 + b * z1 + c * z2)
                if z > top[row, column]:
                    top[row, column] = z
                    hit[row, column] = f
                    bary[row, column, 0] = b
                    bary[row, column, 1] = c
    return hit, bary, top
