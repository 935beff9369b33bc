"""Binary glTF 2.0, written and read here alone: deterministic bytes, no external URIs, COLOR_0 kept.

Source: Khronos glTF 2.0 specification. The reader takes what this writer writes (float32 attributes, uint32 indices,
one buffer) and refuses everything else before it allocates anything.
"""

import json
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from .mesh import Array, InvalidMesh, Mesh, checked

_MAGIC, _JSON, _BIN = 0x46546C67, 0x4E4F534A, 0x004E4942
_FLOAT, _UINT = 5126, 5125
_ARRAY_BUFFER, _ELEMENT_BUFFER = 34962, 34963
_WIDTH = {"SCALAR": 1, "VEC2": 2, "VEC3": 3}


class InvalidGlb(InvalidMesh):
    """Not a GLB of the kind that travels between our services."""


@dataclass(frozen=True, kw_only=True)
class Material:
    """Metallic-roughness PBR values; without one, glTF's default is a metal that viewers show almost black."""

    name: str = "material"
    base_linear: tuple[float, float, float] = (1.0, 1.0, 1.0)
    metallic: float = 0.0
    roughness: float = 0.8
    #: PNG file of the base colour, sRGB
    texture_png: bytes | None = None
    double_sided: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """One node: a mesh with one material."""

    mesh: Mesh
    material: Material
    name: str = "model"


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """What a GLB holds."""

    parts: tuple[Part, ...]


class _Buffer:
    """The one binary chunk, with its views and accessors."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def view(self, payload: bytes, target: int | None = None) -> int:
        view: dict[str, Any] = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(payload)}
        if target is not None:
            view["target"] = target
        self.data += payload + b"\0" * (-len(payload) % 4)
        self.views.append(view)
        return len(self.views) - 1

    def accessor(self, array: Array, kind: str, *, bounds: bool = False) -> int:
        index = array.dtype == np.uint32
        accessor: dict[str, Any] = {
            "bufferView": self.view(array.tobytes(), _ELEMENT_BUFFER if index else _ARRAY_BUFFER),
            "componentType": _UINT if index else _FLOAT,
            "count": array.shape[0],
            "type": kind,
        }
        if bounds:
            accessor["min"] = [float(x) for x in array.min(axis=0)]
            accessor["max"] = [float(x) for x in array.max(axis=0)]
        self.accessors.append(accessor)
        return len(self.accessors) - 1


def write_glb(parts: Sequence[Part]) -> bytes:
    """The GLB of some parts; the same parts give the same bytes."""
    buffer = _Buffer()
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "scratch-3d"},
        "scene": 0,
        "scenes": [{"nodes": list(range(len(parts)))}],
        "nodes": [{"mesh": i, "name": part.name} for i, part in enumerate(parts)],
        "meshes": [_mesh(buffer, i, part) for i, part in enumerate(parts)],
    }
    document["materials"] = [_material(buffer, document, part.material) for part in parts]
    document["buffers"] = [{"byteLength": len(buffer.data)}]
    document["bufferViews"], document["accessors"] = buffer.views, buffer.accessors
    text = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    binary = bytes(buffer.data)
    head = struct.pack("<III", _MAGIC, 2, 12 + 8 + len(text) + 8 + len(binary))
    return head + struct.pack("<II", len(text), _JSON) + text + struct.pack("<II", len(binary), _BIN) + binary


def _mesh(buffer: _Buffer, index: int, part: Part) -> dict[str, Any]:
    mesh = checked(part.mesh)
    if mesh.is_empty:
        raise InvalidMesh("a mesh without faces cannot be written")
    attributes = {"POSITION": buffer.accessor(np.ascontiguousarray(mesh.vertices, np.float32), "VEC3", bounds=True)}
    if mesh.normals is not None:
        attributes["NORMAL"] = buffer.accessor(np.ascontiguousarray(mesh.normals, np.float32), "VEC3")
    if mesh.colours_linear is not None:
        colours = np.clip(mesh.colours_linear, 0.0, 1.0).astype(np.float32)
        attributes["COLOR_0"] = buffer.accessor(np.ascontiguousarray(colours), "VEC3")
    if mesh.uv is not None and part.material.texture_png is not None:
        attributes["TEXCOORD_0"] = buffer.accessor(np.ascontiguousarray(mesh.uv, np.float32), "VEC2")
    indices = buffer.accessor(np.ascontiguousarray(mesh.faces, np.uint32).reshape(-1), "SCALAR")
    primitive = {"attributes": attributes, "indices": indices, "material": index, "mode": 4}
    return {"name": part.name, "primitives": [primitive]}


def _material(buffer: _Buffer, document: dict[str, Any], material: Material) -> dict[str, Any]:
    pbr: dict[str, Any] = {"metallicFactor": material.metallic, "roughnessFactor": material.roughness}
    if material.base_linear != (1.0, 1.0, 1.0):
        pbr["baseColorFactor"] = [*(round(c, 6) for c in material.base_linear), 1.0]
    if material.texture_png is not None:
        image = {"bufferView": buffer.view(material.texture_png), "mimeType": "image/png", "name": "base_colour"}
        document.setdefault("images", []).append(image)
        # Repeating would bleed across the border of the atlas: clamp.
        sampler = {"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}
        document.setdefault("samplers", []).append(sampler)
        last = len(document["images"]) - 1
        document.setdefault("textures", []).append({"source": last, "sampler": last})
        pbr["baseColorTexture"] = {"index": last}
    described: dict[str, Any] = {"name": material.name, "pbrMetallicRoughness": pbr}
    if material.double_sided:
        described["doubleSided"] = True
    return described


def read_glb(data: bytes) -> Model:
    """What `write_glb` wrote; InvalidGlb or InvalidMesh for anything else."""
    document, binary = _chunks(data)
    try:
        return Model(parts=tuple(_read_part(document, binary, mesh) for mesh in document["meshes"]))
    except (KeyError, IndexError, TypeError, AttributeError, OverflowError) as error:
        raise InvalidGlb(f"the GLB's JSON is not of the expected form: {error!r}") from error


def read_part(data: bytes) -> Part:
    """The single mesh of a GLB with its material."""
    parts = read_glb(data).parts
    if len(parts) != 1:
        raise InvalidGlb(f"expected one mesh, found {len(parts)}")
    return parts[0]


def read_mesh(data: bytes) -> Mesh:
    """The single mesh of a GLB."""
    return read_part(data).mesh


def _chunks(data: bytes) -> tuple[dict[str, Any], memoryview]:
    if len(data) < 28 or struct.unpack_from("<II", data) != (_MAGIC, 2):
        raise InvalidGlb("not a GLB 2.0 file")
    if struct.unpack_from("<I", data, 8)[0] != len(data):
        raise InvalidGlb("the length in the header is not the length of the file")
    json_length, json_kind = struct.unpack_from("<II", data, 12)
    start = 20 + json_length + 8
    if json_kind != _JSON or start > len(data):
        raise InvalidGlb("the first chunk is not JSON")
    bin_length, bin_kind = struct.unpack_from("<II", data, 20 + json_length)
    if bin_kind != _BIN or start + bin_length > len(data):
        raise InvalidGlb("the second chunk is not binary")
    try:
        document = json.loads(data[20 : 20 + json_length])
    except (ValueError, RecursionError) as error:
        raise InvalidGlb("the JSON chunk cannot be parsed") from error
    if not isinstance(document, dict):
        raise InvalidGlb("the JSON chunk is not an object")
    if document.get("extensionsRequired"):
        raise InvalidGlb("it requires extensions, and none are read")
    buffers = document.get("buffers", [])
    if not isinstance(buffers, list) or any(not isinstance(item, dict) or "uri" in item for item in buffers):
        raise InvalidGlb("external buffers are not read")
    return cast(dict[str, Any], document), memoryview(data)[start : start + bin_length]


def _whole(value: Any) -> int:
    """A count or an offset of the JSON; anything else would be allocated or sliced with."""
    if type(value) is not int or value < 0:
        raise InvalidGlb("a count or an offset is not a whole number")
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise InvalidGlb("a material's value is not a number")
    return float(value)


def _array(document: dict[str, Any], binary: memoryview, index: int) -> Array:
    accessor = document["accessors"][index]
    view = document["bufferViews"][accessor["bufferView"]]
    count, width = _whole(accessor["count"]), _WIDTH[accessor["type"]]
    offset, length = _whole(view["byteOffset"]), _whole(view["byteLength"])
    if accessor["componentType"] not in (_FLOAT, _UINT) or "sparse" in accessor or "byteStride" in view:
        raise InvalidGlb("only tightly packed float32 and uint32 arrays are read")
    if 4 * count * width > length or offset + length > len(binary):
        raise InvalidGlb("an array reaches outside its buffer")
    kind = np.float32 if accessor["componentType"] == _FLOAT else np.uint32
    flat = np.frombuffer(binary, kind, count * width, offset)
    return flat.reshape(count, width) if width > 1 else flat


def _read_part(document: dict[str, Any], binary: memoryview, described: dict[str, Any]) -> Part:
    if len(described["primitives"]) != 1:
        raise InvalidGlb("one primitive per mesh is read")
    primitive = described["primitives"][0]
    attributes = primitive["attributes"]

    def optional(name: str) -> Array | None:
        return _array(document, binary, attributes[name]) if name in attributes else None

    indices = _array(document, binary, primitive["indices"])
    if indices.size % 3 or (indices.size and indices.max() > 2**31 - 1):
        raise InvalidGlb("the indices are not triangles")
    mesh = Mesh(
        vertices=_array(document, binary, attributes["POSITION"]),
        faces=indices.reshape(-1, 3).astype(np.int32),
        colours_linear=optional("COLOR_0"),
        normals=optional("NORMAL"),
        uv=optional("TEXCOORD_0"),
    )
    material = _read_material(document, binary, document["materials"][primitive["material"]])
    return Part(mesh=checked(mesh), material=material, name=str(described.get("name", "model")))


def _read_material(document: dict[str, Any], binary: memoryview, described: dict[str, Any]) -> Material:
    pbr = described["pbrMetallicRoughness"]
    base = [_number(c) for c in pbr.get("baseColorFactor", [1.0, 1.0, 1.0, 1.0])]
    png = None
    if "baseColorTexture" in pbr:
        image = document["images"][document["textures"][pbr["baseColorTexture"]["index"]]["source"]]
        view = document["bufferViews"][image["bufferView"]]
        start = _whole(view["byteOffset"])
        png = bytes(binary[start : start + _whole(view["byteLength"])])
    return Material(
        name=str(described.get("name", "material")),
        base_linear=(base[0], base[1], base[2]),
        metallic=_number(pbr.get("metallicFactor", 1.0)),
        roughness=_number(pbr.get("roughnessFactor", 1.0)),
        texture_png=png,
        double_sided=bool(described.get("doubleSided", False)),
    )
