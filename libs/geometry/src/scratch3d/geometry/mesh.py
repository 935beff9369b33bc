"""The mesh value and the few operations every service needs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .jit import kernel

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
Array = NDArray[Any]


class InvalidMesh(ValueError):
    """The arrays do not describe a mesh: wrong shape, index out of range, or a value that is not finite."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Mesh:
    """Triangles in our frame."""

    #: (n, 3) float32, metres
    vertices: F32
    #: (m, 3) int32, counter-clockwise seen from outside
    faces: I32
    #: (n, 3) float32 linear RGB, 0 to 1
    colours_linear: F32 | None = None
    #: (n, 3) float32, unit length
    normals: F32 | None = None
    #: (n, 2) float32, glTF convention: origin at the top left of the texture
    uv: F32 | None = None

    def evolve(self, **changes: Any) -> "Mesh":
        """A copy with some fields replaced."""
        return replace(self, **changes)

    @property
    def is_empty(self) -> bool:
        """Without a single face."""
        return len(self.faces) == 0

    @property
    def bounds(self) -> tuple[F64, F64]:
        """Lowest and highest corner, (3,) each, metres."""
        return self.vertices.min(axis=0).astype(np.float64), self.vertices.max(axis=0).astype(np.float64)


def checked(mesh: Mesh) -> Mesh:
    """The same mesh, or InvalidMesh naming what is wrong with it."""
    n = len(mesh.vertices)
    if mesh.vertices.shape != (n, 3) or mesh.faces.ndim != 2 or mesh.faces.shape[1] != 3:
        raise InvalidMesh(f"wrong shapes: vertices {mesh.vertices.shape}, faces {mesh.faces.shape}")
    for name, array, width in (
        ("vertices", mesh.vertices, 3),
        ("colours", mesh.colours_linear, 3),
        ("normals", mesh.normals, 3),
        ("uv", mesh.uv, 2),
    ):
        if array is None:
            continue
        if array.shape != (n, width):
            raise InvalidMesh(f"{name} have shape {array.shape}, expected {(n, width)}")
        if not np.isfinite(array).all():
            raise InvalidMesh(f"{name} contain values that are not finite")
    if len(mesh.faces) and (mesh.faces.min() < 0 or mesh.faces.max() >= n):
        raise InvalidMesh(f"a face names a vertex outside 0..{n - 1}")
    return mesh


def merged(meshes: Sequence[Mesh]) -> Mesh:
    """All meshes as one, vertices one after the other; colours are kept when every part has them."""
    starts = np.cumsum([0] + [len(m.vertices) for m in meshes])
    colours = [m.colours_linear for m in meshes if m.colours_linear is not None]
    return Mesh(
        vertices=np.concatenate([m.vertices for m in meshes]),
        faces=np.concatenate([m.faces + np.int32(start) for m, start in zip(meshes, starts, strict=False)]),
        colours_linear=np.concatenate(colours) if len(colours) == len(meshes) else None,
    )


def compact(mesh: Mesh, keep: Array) -> Mesh:
    """Only the faces in `keep` (m,) bool, and only the vertices they use."""
    faces = mesh.faces[keep]
    used = np.zeros(len(mesh.vertices), bool)
    used[faces] = True
    rank = np.cumsum(used) - 1
    return Mesh(
        vertices=mesh.vertices[used],
        faces=rank[faces].astype(np.int32),
        colours_linear=None if mesh.colours_linear is None else mesh.colours_linear[used],
    )


def face_normals(vertices: Array, faces: I32) -> F64:
    """(m, 3) cross products: direction of the outside, length twice the area in m²."""
    a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
    return np.cross(b - a, c - a)


def vertex_normals(vertices: Array, faces: I32) -> F32:
    """(n, 3) unit normals, area-weighted mean of the faces around each vertex."""
    return _vertex_normals(np.ascontiguousarray(vertices, np.float64), np.ascontiguousarray(faces))


@kernel
def _vertex_normals(vertices: F64, faces: I32) -> F32:
    total = np.zeros((len(vertices), 3))
    for f in range(len(faces)):
        a, b, c = vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]]
        ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
        vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
        x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for k in range(3):
            total[faces[f, k], 0] += x
            total[faces[f, k], 1] += y
            total[faces[f, k], 2] += z
    out = np.empty((len(vertices), 3), np.float32)
    for i in range(len(vertices)):
        length = np.sqrt(total[i, 0] ** 2 + total[i, 1] ** 2 + total[i, 2] ** 2)
        if length < 1e-20:
            out[i, 0], out[i, 1], out[i, 2] = 0.0, 1.0, 0.0
        else:
            for k in range(3):
                out[i, k] = total[i, k] / length
    return out


def unit(vectors: Array) -> F32:
    """(n, 3) of length one; a vector without direction becomes +Y."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    safe = np.where(length > 1e-20, vectors / np.maximum(length, 1e-20), (0.0, 1.0, 0.0))
    return safe.astype(np.float32)


def corner_normals(vertices: Array, faces: I32, *, crease_deg: float = 35.0) -> F32:
    """(m, 3, 3) unit normal per face corner: smooth over edges flatter than the crease angle, sharp over others."""
    weighted = face_normals(vertices, faces)
    order = np.argsort(faces.ravel(), kind="stable")
    starts = np.searchsorted(faces.ravel()[order], np.arange(len(vertices) + 1))
    directions = unit(weighted).astype(np.float64)
    return _corner_normals(faces, weighted, directions, order // 3, starts, float(np.cos(np.radians(crease_deg))))


@kernel
def _corner_normals(faces: I32, weighted: F64, directions: F64, around: I64, starts: I64, limit: float) -> F32:
    out = np.empty((len(faces), 3, 3), np.float32)
    for f in range(len(faces)):
        for k in range(3):
            v = faces[f, k]
            x = y = z = 0.0
            for i in range(starts[v], starts[v + 1]):
                g = around[i]
                dot = 0.0
                for axis in range(3):
                    dot += directions[f, axis] * directions[g, axis]
                if dot >= limit:
                    x += weighted[g, 0]
                    y += weighted[g, 1]
                    z += weighted[g, 2]
            length = np.sqrt(x * x + y * y + z * z)
            if length < 1e-20:
                x, y, z, length = directions[f, 0], directions[f, 1], directions[f, 2], 1.0
            out[f, k, 0] = x / length
            out[f, k, 1] = y / length
            out[f, k, 2] = z / length
    return out


def split_creases(mesh: Mesh, normals: F32) -> Mesh:
    """The mesh with (m, 3, 3) corner normals as vertex normals; vertices are split where corners disagree."""
    # A thousandth of a unit vector: finer differences are rounding, and would split smooth surfaces.
    keys = np.concatenate([mesh.faces.reshape(-1, 1), np.rint(normals.reshape(-1, 3) * 1e3).astype(np.int64)], axis=1)
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    source = mesh.faces.reshape(-1)[first]
    return Mesh(
        vertices=mesh.vertices[source],
        faces=inverse.reshape(-1, 3).astype(np.int32),
        colours_linear=None if mesh.colours_linear is None else mesh.colours_linear[source],
        normals=normals.reshape(-1, 3)[first],
        uv=None if mesh.uv is None else mesh.uv[source],
    )


def srgb_to_linear(colour: Array) -> F32:
    """SRGB 0..1 to linear light (IEC 61966-2-1)."""
    c = np.asarray(colour, np.float64)
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4).astype(np.float32)


def linear_to_srgb(colour: Array) -> F32:
    """Linear light 0..1 to sRGB (IEC 61966-2-1)."""
    c = np.clip(np.asarray(colour, np.float64), 0.0, 1.0)
    return np.where(c <= 0.0031308, c * 12.92, 1.055 * c ** (1 / 2.4) - 0.055).astype(np.float32)


def to_u8(colour: Array) -> U8:
    """0..1 to 0..255, rounded."""
    return np.rint(np.clip(colour, 0.0, 1.0) * 255.0).astype(np.uint8)
