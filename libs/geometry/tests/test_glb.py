"""GLB: what is written is read; what is hostile is refused before it costs anything."""

import json
import struct

import numpy as np
import pytest

from scratch3d.geometry.glb import InvalidGlb, Material, Part, read_glb, read_mesh, write_glb
from scratch3d.geometry.mesh import InvalidMesh, Mesh, vertex_normals


def tetrahedron() -> Mesh:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]], np.int32)
    return Mesh(
        vertices=vertices,
        faces=faces,
        colours_linear=np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.2, 0.4, 0.6]], np.float32),
        normals=vertex_normals(vertices, faces),
    )


def test_round_trip_keeps_every_array_bit_for_bit() -> None:
    mesh = tetrahedron()
    back = read_mesh(write_glb([Part(mesh=mesh, material=Material())]))
    for name in ("vertices", "faces", "colours_linear", "normals"):
        assert np.array_equal(getattr(back, name), getattr(mesh, name)), name


def test_texture_material_and_parts_survive() -> None:
    uv = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)
    textured = tetrahedron().evolve(uv=uv, colours_linear=None)
    material = Material(name="m", roughness=0.3, metallic=1.0, texture_png=b"\x89PNG not really")
    other = Part(mesh=tetrahedron(), material=Material(base_linear=(0.1, 0.2, 0.3)), name="second")
    model = read_glb(write_glb([Part(mesh=textured, material=material, name="first"), other]))
    assert [p.name for p in model.parts] == ["first", "second"]
    assert model.parts[0].material == material
    assert np.array_equal(model.parts[0].mesh.uv, uv)  # type: ignore[arg-type]
    assert model.parts[1].material.base_linear == pytest.approx((0.1, 0.2, 0.3))


def test_same_model_same_bytes() -> None:
    parts = [Part(mesh=tetrahedron(), material=Material())]
    assert write_glb(parts) == write_glb(parts)


def test_empty_and_broken_meshes_are_not_written() -> None:
    mesh = tetrahedron()
    with pytest.raises(InvalidMesh, match="without faces"):
        write_glb([Part(mesh=mesh.evolve(faces=np.zeros((0, 3), np.int32)), material=Material())])
    with pytest.raises(InvalidMesh, match="finite"):
        write_glb([Part(mesh=mesh.evolve(vertices=np.full((4, 3), np.nan, np.float32)), material=Material())])
    with pytest.raises(InvalidMesh, match="outside"):
        write_glb([Part(mesh=mesh.evolve(faces=np.array([[0, 1, 9]], np.int32)), material=Material())])


def edited(change: object) -> bytes:
    """A GLB whose JSON was edited."""
    data = write_glb([Part(mesh=tetrahedron(), material=Material())])
    length = struct.unpack_from("<I", data, 12)[0]
    document = json.loads(data[20 : 20 + length])
    change(document)  # type: ignore[operator]
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    rest = data[20 + length :]
    return struct.pack("<IIIII", 0x46546C67, 2, 20 + len(text) + len(rest), len(text), 0x4E4F534A) + text + rest


HOSTILE = {
    "huge count": lambda d: d["accessors"][0].update(count=2**31),
    "negative count": lambda d: d["accessors"][0].update(count=-1),
    "outside buffer": lambda d: d["bufferViews"][0].update(byteOffset=10**9),
    "external uri": lambda d: d["buffers"][0].update(uri="../secret.bin"),
    "no view": lambda d: d["accessors"][0].pop("bufferView"),
    "wrong type": lambda d: d["accessors"][0].update(type="MAT4"),
    "bytes": lambda d: d["accessors"][0].update(componentType=5121),
    "no meshes": lambda d: d.pop("meshes"),
    "meshes is text": lambda d: d.update(meshes="abc"),
    "index of nothing": lambda d: d["meshes"][0]["primitives"][0].update(indices=99),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_json_is_refused(name: str) -> None:
    with pytest.raises(InvalidMesh):
        read_glb(edited(HOSTILE[name]))


@pytest.mark.parametrize("cut", [0, 4, 11, 19, 27, 100, -1])
def test_truncated_files_are_refused(cut: int) -> None:
    data = write_glb([Part(mesh=tetrahedron(), material=Material())])
    with pytest.raises(InvalidGlb):
        read_glb(data[:cut])
