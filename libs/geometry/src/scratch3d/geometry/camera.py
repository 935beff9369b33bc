"""Orthographic projection of points in metres to pixels."""

import numpy as np

from scratch3d.contracts.views import Camera

from .mesh import F64, Array


def basis(camera: Camera) -> F64:
    """(3, 3) rows right, up, back: unit vectors of the picture's axes in our frame; back points to the camera.

    Right stays horizontal at every elevation, so a top view (elevation 90) has the front at its lower edge.
    """
    a, e = np.radians(camera.azimuth_deg), np.radians(camera.elevation_deg)
    back = np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)])
    right = np.array([np.cos(a), 0.0, -np.sin(a)])
    return np.stack([right, np.cross(back, right), back])


def project(points: Array, camera: Camera, size_px: int) -> F64:
    """(n, 3) metres to (n, 3): pixel x, pixel y (down), and height over the picture plane in metres.

    Pixel centres lie at half-integers: x = 0.5 is the middle of the first column.
    """
    scale = size_px / (2.0 * camera.half_width_m)
    axes = basis(camera) * np.array([[scale], [-scale], [1.0]])
    screen: F64 = np.asarray(points, np.float64) @ axes.T
    screen += (size_px / 2, size_px / 2, 0.0)
    return screen


def pixel_size_m(camera: Camera, size_px: int) -> float:
    """Edge of one pixel in metres."""
    return 2.0 * camera.half_width_m / size_px
