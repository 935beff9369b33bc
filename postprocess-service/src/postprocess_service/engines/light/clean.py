"""Remove what is not part of the object; count everything that is changed."""

from dataclasses import dataclass

import numpy as np
import trimesh
from scipy.spatial import cKDTree

from scratch3d.geometry.measure import closedness, components
from scratch3d.geometry.mesh import Array, Mesh, compact, face_normals

#: A component smaller than this share of the whole area is a crumb.
CRUMB_AREA_SHARE = 0.0004


@dataclass(frozen=True, kw_only=True, eq=False)
class Cleaned:
    """The mesh, and what was done to it."""

    mesh: Mesh
    removed_components: int
    removed_faces: int
    filled_holes: int


def clean(mesh: Mesh) -> Cleaned:
    """Merge equal vertices, drop degenerate and double faces and crumbs, close small holes."""
    welded = weld(mesh)
    keep = _sound_faces(welded)
    sound = compact(welded, keep)
    crumbs, kept_faces = _crumbs(sound)
    whole = compact(sound, kept_faces)
    filled, holes = _fill_holes(whole)
    return Cleaned(
        mesh=filled,
        removed_components=crumbs,
        removed_faces=len(mesh.faces) - len(whole.faces),
        filled_holes=holes,
    )


def weld(mesh: Mesh) -> Mesh:
    """Vertices with equal position become one; their first colour is kept."""
    _, first, inverse = np.unique(mesh.vertices, axis=0, return_index=True, return_inverse=True)
    if len(first) == len(mesh.vertices):
        return mesh.evolve(normals=None, uv=None)
    # In order of first appearance, so that welding never shuffles a mesh.
    order = np.argsort(first)
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    source = first[order]
    return Mesh(
        vertices=mesh.vertices[source],
        faces=rank[inverse.reshape(-1)[mesh.faces]].astype(np.int32),
        colours_linear=None if mesh.colours_linear is None else mesh.colours_linear[source],
    )


def _sound_faces(mesh: Mesh) -> Array:
    """Faces with three different corners, each corner set once. Slivers stay: removing one would open the mesh."""
    f = mesh.faces
    distinct = (f[:, 0] != f[:, 1]) & (f[:, 1] != f[:, 2]) & (f[:, 2] != f[:, 0])
    _, first = np.unique(np.sort(f, axis=1), axis=0, return_index=True)
    once = np.zeros(len(f), bool)
    once[first] = True
    return np.asarray(distinct & once)


def _crumbs(mesh: Mesh) -> tuple[int, Array]:
    """Number of crumbs, and the (m,) faces that belong to none."""
    count, label = components(len(mesh.vertices), mesh.faces)
    area = np.bincount(label, np.linalg.norm(face_normals(mesh.vertices, mesh.faces), axis=1), minlength=count)
    large = area >= CRUMB_AREA_SHARE * area.sum()
    return int((~large).sum()), large[label]


def _fill_holes(mesh: Mesh) -> tuple[Mesh, int]:
    """Close triangular and four-sided holes; larger ones are left and reported as not watertight."""
    before = closedness(mesh.faces)
    if before.open_edges == 0:
        return mesh, 0
    body = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    faces_before = len(body.faces)
    trimesh.repair.fill_holes(body)
    added = len(body.faces) - faces_before
    if added == 0:
        return mesh, 0
    filled = Mesh(vertices=body.vertices.astype(np.float32), faces=body.faces.astype(np.int32))
    return filled.evolve(colours_linear=resample(mesh, filled.vertices)), added


def resample(source: Mesh, points: Array) -> Array | None:
    """(n, 3) linear colours at points on or near the source, from its three nearest vertices."""
    if source.colours_linear is None:
        return None
    count = min(3, len(source.vertices))
    distance, nearest = cKDTree(source.vertices).query(points, k=count, workers=-1)
    if count == 1:
        return np.asarray(source.colours_linear[nearest])
    weight = 1.0 / np.maximum(distance, 1e-9) ** 2
    weight /= weight.sum(axis=1, keepdims=True)
    return np.asarray(np.einsum("nk,nkc->nc", weight, source.colours_linear[nearest]), np.float32)
