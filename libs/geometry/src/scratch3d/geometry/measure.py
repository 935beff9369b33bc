"""Figures about meshes: closedness, volume, area, components, occupancy."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from .jit import kernel
from .mesh import F64, I32, I64, Array, Mesh, face_normals


@dataclass(frozen=True, kw_only=True)
class Closedness:
    """How the faces meet along their edges."""

    #: every edge is shared by exactly two faces that run along it in opposite directions
    watertight: bool
    #: no edge is shared by more than two faces
    manifold: bool
    open_edges: int


def closedness(faces: I32) -> Closedness:
    """Judge a mesh by its edges alone."""
    directed = np.sort(np.stack([_edge_keys(faces), _edge_keys(faces[:, ::-1])]), axis=1)
    keys, counts = np.unique(_undirected_keys(faces), return_counts=True)
    paired = bool(len(keys)) and bool((counts == 2).all()) and bool((directed[0] == directed[1]).all())
    return Closedness(watertight=paired, manifold=bool((counts <= 2).all()), open_edges=int((counts == 1).sum()))


def euler_number(faces: I32) -> int:
    """Vertices less edges plus faces: for a closed surface, twice (bodies less handles)."""
    return len(np.unique(faces)) - len(np.unique(_undirected_keys(faces))) + len(faces)


def _edge_keys(faces: I32) -> I64:
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    return np.asarray(pairs[:, 0] << 32 | pairs[:, 1])


def _undirected_keys(faces: I32) -> I64:
    pairs = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1).astype(np.int64)
    return np.asarray(pairs[:, 0] << 32 | pairs[:, 1])


def volume_m3(mesh: Mesh) -> float:
    """Signed volume; right for closed meshes, positive when faces point outwards."""
    a, b, c = (mesh.vertices[mesh.faces[:, k]].astype(np.float64) for k in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6.0)


def area_m2(mesh: Mesh) -> float:
    """Area of all faces."""
    return float(np.linalg.norm(face_normals(mesh.vertices, mesh.faces), axis=1).sum() / 2.0)


def components(vertex_count: int, faces: I32) -> tuple[int, I32]:
    """Number of connected components and the (m,) component of each face."""
    if len(faces) == 0:
        return 0, np.zeros(0, np.int32)
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    graph = coo_matrix((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(vertex_count,) * 2)
    _, labels = connected_components(graph, directed=False)
    names, by_face = np.unique(labels[faces[:, 0]], return_inverse=True)
    return len(names), by_face.astype(np.int32)


def occupancy(mesh: Mesh, low: Array, spacing_m: float, shape: tuple[int, int, int]) -> Array:
    """(i, j, k) bool: is the cell centre inside the closed mesh, by winding number along z; overlaps count once."""
    # The columns are moved by an odd bit of a cell, so that no column runs along an edge of an axis-aligned mesh.
    shift = spacing_m * np.array([3.1e-5, 1.7e-5, 0.0])
    local = (mesh.vertices.astype(np.float64) - np.asarray(low) - shift) / spacing_m - 0.5
    return _winding(local, mesh.faces, shape[0], shape[1], shape[2]) > 0


@kernel
def _winding(points: F64, faces: I32, ni: int, nj: int, nk: int) -> Array:
    winding = np.zeros((ni, nj, nk), np.int16)
    for f in range(len(faces)):
        a, b, c = points[faces[f, 0]], points[faces[f, 1]], points[faces[f, 2]]
        x1, y1, x2, y2 = b[0] - a[0], b[1] - a[1], c[0] - a[0], c[1] - a[1]
        area = x1 * y2 - x2 * y1
        if area == 0.0:
            continue
        sign = 1 if area > 0 else -1
        for i in range(
            max(0, int(np.ceil(min(a[0], b[0], c[0])))), min(ni - 1, int(np.floor(max(a[0], b[0], c[0])))) + 1
        ):
            for j in range(
                max(0, int(np.ceil(min(a[1], b[1], c[1])))), min(nj - 1, int(np.floor(max(a[1], b[1], c[1])))) + 1
            ):
                u = ((i - a[0]) * y2 - x2 * (j - a[1])) / area
                v = (x1 * (j - a[1]) - (i - a[0]) * y1) / area
                if u < 0 or v < 0 or u + v > 1:
                    continue
                # A face looking up (+z) ends the inside below it.
                height = a[2] + u * (b[2] - a[2]) + v * (c[2] - a[2])
                for k in range(min(nk - 1, int(np.floor(height))) + 1):
                    winding[i, j, k] += sign
    return winding
