"""Cut a surface into charts that lie nearly flat, in linear time.

Regions grow from the largest face as long as faces stay within a cone around its direction (the clustering step of
variational shape approximation, Cohen-Steiner, Alliez & Desbrun 2004, without its iterations); what is left over
between them joins a neighbour whose direction it can still be seen from. Projected along its mean normal, a chart
cannot fold over itself locally, and its texels are stretched by at most 1 / cos(cone).
"""

from dataclasses import dataclass

import numpy as np

from scratch3d.geometry.jit import kernel
from scratch3d.geometry.mesh import F64, I32, I64, Array, Mesh, face_normals

#: Half angle of a region's cone. At 35° texels are stretched by 1.22 at most, and a sphere takes some thirty charts.
CONE_DEG = 35.0
#: Faces of a leftover may join a chart up to this angle from its mean direction.
JOIN_DEG = 65.0
#: Regions of fewer faces are leftovers.
SMALL_FACES = 60


@dataclass(frozen=True, kw_only=True, eq=False)
class Charts:
    """A chart for every face."""

    #: (m,) int64
    label: I64
    #: (c, 3) float64 unit direction from which each chart is seen
    axis: F64


def cut(mesh: Mesh) -> Charts:
    """The charts of a mesh; deterministic."""
    weighted = face_normals(mesh.vertices, mesh.faces)
    area = np.linalg.norm(weighted, axis=1)
    directions = weighted / np.maximum(area, 1e-20)[:, None]
    neighbours = neighbours_of(mesh.faces)
    label = _grow(neighbours, directions, np.argsort(-area, kind="stable"), float(np.cos(np.radians(CONE_DEG))))
    for _ in range(3):
        small = np.bincount(label) < SMALL_FACES
        _join(label, neighbours, directions, _axes(label, weighted), small, float(np.cos(np.radians(JOIN_DEG))))
        label = _connected(label, neighbours)
    return Charts(label=label, axis=_axes(label, weighted))


def neighbours_of(faces: I32) -> I64:
    """(m, 3) face across each edge, -1 at a border; at edges of more than two faces, an arbitrary one."""
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1).astype(np.int64)
    keys = edges[:, 0] << 32 | edges[:, 1]
    order = np.argsort(keys, kind="stable")
    twin = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    one, other = order[twin], order[twin + 1]
    count = len(faces)
    found = np.full((count, 3), -1, np.int64)
    found[one % count, one // count] = other % count
    found[other % count, other // count] = one % count
    return found


def projected(mesh: Mesh, charts: Charts) -> tuple[I64, I32, F64]:
    """Source vertex of each (chart, vertex), (m, 3) faces over those, and their (k, 2) places in metres."""
    keys = charts.label[:, None] << 32 | mesh.faces
    unique, inverse = np.unique(keys.ravel(), return_inverse=True)
    source, back = unique & 0xFFFFFFFF, charts.axis[unique >> 32]
    helper = np.where(np.abs(back[:, 1:2]) > 0.9, [[0.0, 0.0, 1.0]], [[0.0, 1.0, 0.0]])
    right = np.cross(helper, back)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    points = mesh.vertices[source].astype(np.float64)
    places = np.stack([(points * right).sum(axis=1), (points * np.cross(back, right)).sum(axis=1)], axis=1)
    return source, inverse.reshape(-1, 3).astype(np.int32), places


def _axes(label: I64, weighted: F64) -> F64:
    sums = np.stack([np.bincount(label, weighted[:, k]) for k in range(3)], axis=1)
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    # A region of slivers may have no direction at all; any will do for faces without area.
    return np.where(length > 1e-20, sums / np.maximum(length, 1e-20), [[0.0, 1.0, 0.0]])


@kernel
def _grow(neighbours: I64, directions: F64, order: I64, limit: float) -> I64:
    label = np.full(len(neighbours), -1, np.int64)
    waiting = np.empty(len(neighbours), np.int64)
    count = 0
    for seed in order:
        if label[seed] >= 0:
            continue
        label[seed], waiting[0], top = count, seed, 1
        while top:
            top -= 1
            face = waiting[top]
            for k in range(3):
                other = neighbours[face, k]
                if other >= 0 and label[other] < 0 and np.dot(directions[other], directions[seed]) >= limit:
                    label[other], waiting[top] = count, other
                    top += 1
        count += 1
    return label


@kernel
def _join(label: I64, neighbours: I64, directions: F64, axis: F64, small: Array, limit: float) -> None:
    """Give faces of small regions to the neighbour that fits best and shares most edges, ring by ring."""
    changed = 1
    while changed:
        changed = 0
        for face in range(len(neighbours)):
            if not small[label[face]]:
                continue
            best, most = -1, 0.0
            for k in range(3):
                other = neighbours[face, k]
                if other < 0 or small[label[other]]:
                    continue
                fit = np.dot(directions[face], axis[label[other]])
                if fit < limit:
                    continue
                for j in range(3):
                    third = neighbours[face, j]
                    if third >= 0 and label[third] == label[other]:
                        fit += 1.0
                if fit > most:
                    best, most = label[other], fit
            if best >= 0:
                label[face] = best
                changed += 1


@kernel
def _connected(label: I64, neighbours: I64) -> I64:
    """Number the connected pieces of each label."""
    out = np.full(len(label), -1, np.int64)
    waiting = np.empty(len(label), np.int64)
    count = 0
    for seed in range(len(label)):
        if out[seed] >= 0:
            continue
        out[seed], waiting[0], top = count, seed, 1
        while top:
            top -= 1
            face = waiting[top]
            for k in range(3):
                other = neighbours[face, k]
                if other >= 0 and out[other] < 0 and label[other] == label[face]:
                    out[other], waiting[top] = count, other
                    top += 1
        count += 1
    return out
