"""The finished model as files: GLB, OBJ with material and texture, STL, PLY. The same model gives the same bytes."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from scratch3d.geometry.glb import Material, Part, write_glb
from scratch3d.geometry.mesh import (
    U8,
    Array,
    Mesh,
    corner_normals,
    linear_to_srgb,
    split_creases,
    to_u8,
)

#: Printers read STL without a unit; slicers take millimetres, Z up.
STL_MM_PER_M = 1000.0
#: Edges sharper than this stay sharp. Carved edges are bevelled by half their angle over one voxel.
CREASE_DEG = 50.0
TEXTURE_NAME = "model-base-colour.png"


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """What is exported: the welded mesh, and the textured one where there is a texture."""

    welded: Mesh
    unwrapped: Mesh | None
    texture: U8 | None
    roughness: float = 0.8

    @cached_property
    def drawn(self) -> Mesh:
        """The mesh as viewers draw it: with the texture's UVs, smooth where it is smooth, sharp along its creases."""
        normals = corner_normals(self.welded.vertices, self.welded.faces, crease_deg=CREASE_DEG)
        return split_creases(self.welded if self.unwrapped is None else self.unwrapped, normals)

    @cached_property
    def texture_png(self) -> bytes | None:
        """The texture as a PNG file."""
        return None if self.texture is None else png(self.texture)


def png(pixels: U8) -> bytes:
    """A PNG file without metadata."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def normalised(mesh: Mesh) -> tuple[float, Array]:
    """(scale, (3,) offset) that put the mesh into the unit cube, centred over the origin, standing on the ground."""
    low, high = mesh.bounds
    scale = 1.0 / float((high - low).max())
    centre = (low + high) / 2
    return scale, np.array([-centre[0], -low[1], -centre[2]]) * scale


def moved(mesh: Mesh, scale: float, offset: Array) -> Mesh:
    """The mesh scaled, then moved."""
    return mesh.evolve(vertices=(mesh.vertices.astype(np.float64) * scale + offset).astype(np.float32))


def glb(model: Model) -> dict[str, bytes]:
    """One file; base colour texture or vertex colours, never a metal, so never dark."""
    material = Material(name="surface", roughness=model.roughness, texture_png=model.texture_png)
    return {"model.glb": write_glb([Part(mesh=model.drawn, material=material)])}


def obj(model: Model) -> dict[str, bytes]:
    """OBJ, its MTL and its texture; without a texture, vertex colours behind the positions as most readers accept."""
    mesh = model.drawn
    lines = ["# scratch-3d", "mtllib model.mtl", "o model"]
    positions = _rows("v", mesh.vertices)
    if model.texture is None and mesh.colours_linear is not None:
        colours = _rows("", linear_to_srgb(mesh.colours_linear))
        positions = [p + c for p, c in zip(positions, colours, strict=True)]
    lines += positions
    if mesh.uv is not None:
        lines += _rows("vt", np.stack([mesh.uv[:, 0], 1.0 - mesh.uv[:, 1]], axis=1))
    if mesh.normals is not None:
        lines += _rows("vn", mesh.normals)
    corner = {(True, True): "{0}/{0}/{0}", (False, True): "{0}//{0}", (True, False): "{0}/{0}", (False, False): "{0}"}
    form = corner[mesh.uv is not None, mesh.normals is not None]
    names = [form.format(i) for i in range(1, len(mesh.vertices) + 1)]
    lines.append("usemtl surface")
    lines += [f"f {names[a]} {names[b]} {names[c]}" for a, b, c in mesh.faces]
    files = {"model.obj": ("\n".join(lines) + "\n").encode(), "model.mtl": _mtl(model).encode()}
    if model.texture_png is not None:
        files[TEXTURE_NAME] = model.texture_png
    return files


def _rows(word: str, array: Array) -> list[str]:
    form = " ".join([word] + ["%.6g"] * array.shape[1])
    return [form % tuple(row) for row in array.tolist()]


def _mtl(model: Model) -> str:
    lines = ["# scratch-3d", "newmtl surface", "Ka 0 0 0", "Kd 1 1 1", "Ks 0.04 0.04 0.04", "illum 2", "d 1"]
    lines += [f"Pr {model.roughness:g}", "Pm 0"]
    if model.texture is not None:
        lines.append(f"map_Kd {TEXTURE_NAME}")
    return "\n".join(lines) + "\n"


def stl(model: Model) -> dict[str, bytes]:
    """Binary STL in millimetres, Z up, the unit cube becoming one metre."""
    mesh = model.welded
    turned = np.stack([mesh.vertices[:, 0], -mesh.vertices[:, 2], mesh.vertices[:, 1]], axis=1) * STL_MM_PER_M
    corners = turned[mesh.faces].astype(np.float32)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)
    row = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    table = np.zeros(len(corners), row)
    table["normal"], table["corners"] = normals, corners
    head = b"scratch-3d, millimetres, Z up".ljust(80, b" ")
    return {"model.stl": head + np.uint32(len(corners)).tobytes() + table.tobytes()}


def ply(model: Model) -> dict[str, bytes]:
    """Binary PLY with normals and 8-bit sRGB vertex colours."""
    mesh = model.welded
    fields = [("x", "<f4"), ("y", "<f4"), ("z", "<f4")]
    columns: list[Array] = [mesh.vertices]
    if mesh.normals is not None:
        fields += [("nx", "<f4"), ("ny", "<f4"), ("nz", "<f4")]
        columns.append(mesh.normals)
    if mesh.colours_linear is not None:
        fields += [("red", "u1"), ("green", "u1"), ("blue", "u1")]
        columns.append(to_u8(linear_to_srgb(mesh.colours_linear)))
    table = np.zeros(len(mesh.vertices), fields)
    for (name, _), column in zip(fields, np.concatenate(columns, axis=1).T, strict=True):
        table[name] = column
    faces = np.zeros(len(mesh.faces), [("count", "u1"), ("corners", "<i4", 3)])
    faces["count"], faces["corners"] = 3, mesh.faces
    words = {"<f4": "float", "u1": "uchar"}
    head = ["ply", "format binary_little_endian 1.0", "comment scratch-3d", f"element vertex {len(table)}"]
    head += [f"property {words[kind]} {name}" for name, kind in fields]
    head += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header"]
    return {"model.ply": ("\n".join(head) + "\n").encode() + table.tobytes() + faces.tobytes()}


#: Format → file names and contents, the primary file first.
WRITERS: dict[str, Callable[[Model], dict[str, bytes]]] = {"glb": glb, "obj": obj, "stl": stl, "ply": ply}
