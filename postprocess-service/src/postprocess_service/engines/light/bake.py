"""Colour of the raw surface into the texture of the finished one, carried over the borders of the charts."""

import numpy as np
from scipy import ndimage

from scratch3d.geometry.mesh import U8, Array, Mesh, linear_to_srgb, to_u8
from scratch3d.geometry.raster import rasterise

from .clean import resample


def bake(unwrapped: Mesh, source: Mesh, size_px: int) -> tuple[U8, Array]:
    """(size, size, 3) uint8 sRGB and (size, size) bool of the texels that lie in a chart.

    Every texel outside the charts takes the colour of the nearest one inside, so no seam shows at any mip level.
    """
    assert unwrapped.uv is not None, "bake after unwrapping"
    screen = np.concatenate([unwrapped.uv.astype(np.float64) * size_px, np.zeros((len(unwrapped.uv), 1))], axis=1)
    hits = rasterise(screen, unwrapped.faces, size_px, size_px)
    points = hits.interpolate(unwrapped.vertices[unwrapped.faces])
    texture = np.zeros((size_px, size_px, 3), np.uint8)
    colours = resample(source, points)
    texture[hits.mask] = 190 if colours is None else to_u8(linear_to_srgb(colours))
    nearest = ndimage.distance_transform_edt(~hits.mask, return_distances=False, return_indices=True)
    return texture[tuple(nearest)], hits.mask
