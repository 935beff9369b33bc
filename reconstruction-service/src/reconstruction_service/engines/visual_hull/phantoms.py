"""Bodies that are in the hull and not in the world.

Several things at once leave room where every view sees something before or behind: the hull fills it. Such a body is
never needed to explain an outline, because it lies within the outlines of others in every view; a real one almost
always shows somewhere alone.
"""

from collections.abc import Sequence

import numpy as np

from scratch3d.contracts.views import Camera
from scratch3d.geometry.camera import project
from scratch3d.geometry.measure import components
from scratch3d.geometry.mesh import F64, I32, Array, Mesh, compact
from scratch3d.geometry.raster import heights

#: Outlines are compared at this size; phantoms are far larger than a pixel of it, or not worth a word.
OUTLINE_PX = 256
#: Share of a body's outline that others may leave uncovered, for pixels that its edge and theirs share.
UNCOVERED_SHARE = 0.02
#: Only bodies smaller than this share of the largest are given up: of two alike either may be the phantom.
SMALL_SHARE = 0.2
#: Beyond this many bodies the smallest go without a look.
MOST_BODIES = 96


def without_phantoms(mesh: Mesh, cameras: Sequence[Camera]) -> tuple[Mesh, int]:
    """The mesh without bodies that no outline needs, and how many of them were more than crumbs."""
    count, body = components(len(mesh.vertices), mesh.faces)
    if count < 2:
        return mesh, 0
    volume = _volumes(mesh, body, count)
    order = np.argsort(-np.abs(volume))
    looked_at = order[:MOST_BODIES]
    shown = _outlines(mesh, body, looked_at, cameras)
    layers = shown.sum(axis=0, dtype=np.int32)
    kept = np.zeros(count, bool)
    kept[looked_at] = True
    largest = np.abs(volume).max()
    for place in range(len(looked_at) - 1, -1, -1):  # the smallest first
        mine = shown[place]
        if abs(volume[looked_at[place]]) > SMALL_SHARE * largest:
            break
        alone = (mine & (layers == 1)).sum(axis=(1, 2))
        if (alone <= UNCOVERED_SHARE * mine.sum(axis=(1, 2))).all():
            kept[looked_at[place]] = False
            layers -= mine
    lost = np.abs(volume[~kept])
    return compact(mesh, kept[body]), int((lost > 1e-4 * np.abs(volume).sum()).sum())


def _volumes(mesh: Mesh, body: I32, count: int) -> F64:
    """Signed volume of each body."""
    a, b, c = (mesh.vertices[mesh.faces[:, k]].astype(np.float64) for k in range(3))
    return np.asarray(np.bincount(body, np.einsum("ij,ij->i", a, np.cross(b, c)) / 6.0, minlength=count), np.float64)


def _outlines(mesh: Mesh, body: I32, bodies: Array, cameras: Sequence[Camera]) -> Array:
    """(b, v, h, w) bool: where each body is seen by each camera, whatever stands before it."""
    shown = np.zeros((len(bodies), len(cameras), OUTLINE_PX, OUTLINE_PX), bool)
    for v, camera in enumerate(cameras):
        screen = project(mesh.vertices, camera, OUTLINE_PX)
        for place, name in enumerate(bodies):
            faces = np.ascontiguousarray(mesh.faces[body == name])
            shown[place, v] = np.isfinite(heights(screen, faces, OUTLINE_PX, OUTLINE_PX))
    return shown
