"""Vertex colours from the views that really see the surface.

A view counts for a point when nothing of the hull stands before it (z-buffer), in proportion to how squarely and how far
from the outline it sees it. Points that no view sees take the colour of their neighbours.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from scratch3d.geometry.camera import basis, pixel_size_m, project
from scratch3d.geometry.jit import kernel, parallel_kernel, prange
from scratch3d.geometry.mesh import F32, F64, I32, I64, U8, Array, Mesh, srgb_to_linear, vertex_normals
from scratch3d.geometry.raster import heights

from ..base import Sight

#: Exponent of the facing term: high enough that the most frontal view decides, low enough to blend seams away.
FACING_POWER = 6.0
#: Colour is taken this far from the outline, where pixels mix with the background.
PADDING_PX = 4
#: A view sees a point when it is at most this many pixels behind what the z-buffer holds.
DEPTH_SLACK_PX = 2.5
#: Weight left to a view in which something nearer is drawn right beside the point.
OCCLUDER_SHARE = 0.05
#: Colours whose linear components differ by less than this in sum are the same surface in two lights.
AGREEING = 0.3


def coloured(mesh: Mesh, sights: Sequence[Sight], distances_px: Sequence[F32]) -> Mesh:
    """The mesh with linear vertex colours and normals."""
    normals = vertex_normals(mesh.vertices, mesh.faces)
    seen = np.zeros((len(sights), len(mesh.vertices), 3), np.float32)
    facing = np.zeros((len(sights), len(mesh.vertices)), np.float32)
    # Views are looked at side by side: the kernels let go of the interpreter, and each writes its own row.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(partial(_look, mesh, normals), sights, distances_px, seen, facing))
    colours, known = _agree(seen, facing)
    _spread(colours, known, mesh.faces)
    return mesh.evolve(colours_linear=np.clip(colours, 0.0, 1.0), normals=normals)


def _look(mesh: Mesh, normals: F32, sight: Sight, distance: F32, seen: F32, facing: F32) -> None:
    """What one view says about every vertex: colour, and how squarely it sees it (0: not at all)."""
    size = distance.shape[0]
    screen = project(mesh.vertices, sight.camera, size)
    top = heights(screen, mesh.faces, size, size)
    picture = padded(sight.colour_rgba, distance, PADDING_PX)
    slack = np.float32(DEPTH_SLACK_PX * pixel_size_m(sight.camera, size))
    _sample(screen, normals, basis(sight.camera)[2], picture, distance, top, slack, seen, facing)


def padded(rgba: U8, distance: F32, reach: int) -> F32:
    """(h, w, 3) linear colour of the opaque pixels, carried outwards over the antialiased edge."""
    return _pad(srgb_to_linear(np.arange(256) / 255.0)[rgba[..., :3]], rgba[..., 3] >= 254, distance, reach)


@kernel
def _pad(colour: F32, opaque: Array, distance: F32, reach: int) -> F32:
    height, width = opaque.shape
    out = colour.copy()
    for y in range(height):
        for x in range(width):
            if opaque[y, x] or distance[y, x] < -reach:
                continue
            nearest = 1e9
            for v in range(max(0, y - reach), min(height, y + reach + 1)):
                for u in range(max(0, x - reach), min(width, x + reach + 1)):
                    away = float((v - y) * (v - y) + (u - x) * (u - x))
                    if opaque[v, u] and away < nearest:
                        nearest = away
                        out[y, x] = colour[v, u]
    return out


@kernel
def _sample(
    screen: F64,
    normals: F32,
    back: F64,
    picture: F32,
    distance: F32,
    top: F32,
    slack: np.float32,
    seen: F32,
    facing: F32,
) -> None:
    height, width = distance.shape
    for i in range(len(screen)):
        square = normals[i, 0] * back[0] + normals[i, 1] * back[1] + normals[i, 2] * back[2]
        x, y = screen[i, 0] - 0.5, screen[i, 1] - 0.5
        if square <= 0.05 or x < 0 or y < 0 or x > width - 1.001 or y > height - 1.001:
            continue
        column, row = int(x + 0.5), int(y + 0.5)
        if distance[row, column] < 1 - PADDING_PX:
            continue  # views that do not agree: here this one shows background
        # A surface seen at an angle rises within a pixel: allow for its slope.
        if screen[i, 2] < top[row, column] - slack * (1.0 + min(1.0 / square, 8.0) * 0.5):
            continue
        square *= min(max((distance[row, column] + 1.0) / 4.0, 0.05), 1.0)
        if _beside_occluder(top, row, column, screen[i, 2] + slack * 4.0):
            square *= OCCLUDER_SHARE
        facing[i] = square
        x0, y0 = int(x), int(y)
        fx, fy = x - x0, y - y0
        for k in range(3):
            upper = picture[y0, x0, k] * (1 - fx) + picture[y0, x0 + 1, k] * fx
            lower = picture[y0 + 1, x0, k] * (1 - fx) + picture[y0 + 1, x0 + 1, k] * fx
            seen[i, k] = upper * (1 - fy) + lower * fy


@parallel_kernel
def _agree(seen: F32, facing: F32) -> tuple[F32, Array]:
    """One colour per vertex: the views vote, and those that agree with the winner are blended.

    Where the hull has more than the object, a view sees something else behind the surplus; its vote is lost.
    """
    views, count = facing.shape
    colours, known = np.zeros((count, 3), np.float32), np.zeros(count, np.bool_)
    for i in prange(count):
        best, least = -1, 1e30
        for v in range(views):
            if facing[v, i] <= 0:
                continue
            apart = 0.0
            for w in range(views):
                away = 0.0
                for k in range(3):
                    away += abs(seen[v, i, k] - seen[w, i, k])
                apart += facing[w, i] ** 2 * min(away, AGREEING)
            # Among equals the view that sees the point most squarely wins.
            apart -= facing[v, i] * 1e-6
            if apart < least:
                best, least = v, apart
        if best < 0:
            continue
        total = 0.0
        for v in range(views):
            away = 0.0
            for k in range(3):
                away += abs(seen[best, i, k] - seen[v, i, k])
            if facing[v, i] > 0 and away < AGREEING:
                share = facing[v, i] ** FACING_POWER
                total += share
                for k in range(3):
                    colours[i, k] += share * seen[v, i, k]
        for k in range(3):
            colours[i, k] /= total
        known[i] = True
    return colours, known


@kernel
def _beside_occluder(top: F32, row: int, column: int, limit: float) -> bool:
    """Something clearly nearer to the camera is drawn within two pixels: the colour here may be its own."""
    for y in range(max(0, row - 2), min(top.shape[0], row + 3)):
        for x in range(max(0, column - 2), min(top.shape[1], column + 3)):
            if top[y, x] > limit:
                return True
    return False


def _spread(colours: F32, known: Array, faces: I32) -> None:
    """Give vertices without colour the mean of their known neighbours, ring by ring, in place."""
    if known.all():
        return
    if not known.any():
        colours[:] = 0.5
        return
    touching = faces[~known[faces].all(axis=1)]
    pairs = np.concatenate([touching[:, [0, 1]], touching[:, [1, 2]], touching[:, [2, 0]]])
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    pairs = pairs[~known[pairs[:, 0]]]
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")].astype(np.int64)
    starts = np.searchsorted(pairs[:, 0], np.arange(len(colours) + 1))
    _rings(colours, known.copy(), pairs[:, 1].copy(), starts)


@kernel
def _rings(colours: F32, known: Array, neighbours: I64, starts: I64) -> None:
    frontier = np.flatnonzero(~known)
    while len(frontier):
        gained = np.zeros(len(frontier), np.bool_)
        for n in range(len(frontier)):
            v = frontier[n]
            count = 0
            total = np.zeros(3, np.float32)
            for e in range(starts[v], starts[v + 1]):
                if known[neighbours[e]]:
                    total += colours[neighbours[e]]
                    count += 1
            if count:
                colours[v] = total / np.float32(count)
                gained[n] = True
        if not gained.any():
            for v in frontier:  # a component that no view sees at all
                colours[v] = np.float32(0.5)
            return
        known[frontier[gained]] = True
        frontier = frontier[~gained]
