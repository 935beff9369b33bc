"""Hostile GLB files at the post-processing service: nothing outside the file is read, nothing is allocated on its word."""

import base64
import copy
import json
import struct
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from attack import Attacker, Canary, Watch, check_refused, each, running_mesh

from scratch3d.geometry.glb import read_mesh
from scratch3d.geometry.mesh import InvalidMesh

#: Each of these is a matter of milliseconds.
ENDS_WITHIN_S = 15.0
SECRET = b"the content of a file that nobody was given" * 40
Document = dict[str, Any]
Change = Callable[[Document], None]


def tetrahedron(*, vertices: Any = None, indices: Any = None, colours: Any = None) -> tuple[Document, bytes]:
    """The JSON and the buffer of an honest file, to be spoilt."""
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]] if vertices is None else vertices, np.float32)
    tints = np.full(points.shape, 0.5, np.float32) if colours is None else np.array(colours, np.float32)
    corners = np.array([0, 2, 1, 0, 1, 3, 1, 2, 3, 2, 0, 3] if indices is None else indices, np.uint32)
    arrays = (points, tints, corners)
    starts = np.cumsum([0, *(array.nbytes for array in arrays)]).tolist()
    document = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "COLOR_0": 1}, "indices": 2, "material": 0}]}],
        "materials": [{"pbrMetallicRoughness": {"metallicFactor": 0}}],
        "buffers": [{"byteLength": starts[3]}],
        "bufferViews": [
            {"buffer": 0, "byteOffset": start, "byteLength": array.nbytes}
            for start, array in zip(starts, arrays, strict=False)
        ],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": len(points), "type": "VEC3"},
            {"bufferView": 1, "componentType": 5126, "count": len(tints), "type": "VEC3"},
            {"bufferView": 2, "componentType": 5125, "count": len(corners), "type": "SCALAR"},
        ],
    }
    return document, b"".join(array.tobytes() for array in arrays)


def packed(document: Document | bytes, buffer: bytes, **lies: int) -> bytes:
    """A GLB; `lies` replace what its headers say."""
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    total = 12 + 8 + len(text) + 8 + len(buffer)
    head = struct.pack("<III", lies.get("magic", 0x46546C67), lies.get("version", 2), lies.get("total", total))
    first = struct.pack("<II", lies.get("json_length", len(text)), lies.get("json_kind", 0x4E4F534A))
    second = struct.pack("<II", lies.get("bin_length", len(buffer)), lies.get("bin_kind", 0x004E4942))
    return head + first + text + second + buffer


def spoilt(change: Change) -> bytes:
    document, buffer = tetrahedron()
    change(document)
    return packed(document, buffer)


def replaced(**values: Any) -> Change:
    """Sets entries by path: `accessors__0__count=5`."""

    def change(document: Document) -> None:
        for path, value in values.items():
            *way, last = (int(part) if part.isdigit() else part for part in path.split("__"))
            place: Any = document
            for part in way:
                place = place[part]
            place[last] = value

    return change


def buffer_at(uri: str) -> Change:
    """The geometry is said to lie elsewhere."""
    return lambda document: document.update(buffers=[{"byteLength": len(SECRET), "uri": uri}])


def second_buffer_at(uri: str) -> Change:
    def change(document: Document) -> None:
        document["buffers"].append({"byteLength": len(SECRET), "uri": uri})
        document["bufferViews"][0]["buffer"] = 1

    return change


def image_at(uri: str) -> Change:
    """The base colour is said to lie elsewhere."""

    def change(document: Document) -> None:
        document["images"] = [{"uri": uri}]
        document["textures"] = [{"source": 0}]
        document["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"] = {"index": 0}

    return change


#: `PORT` is the canary's.
ELSEWHERE: dict[str, Change] = {
    "buffer in the same directory": buffer_at("secret.bin"),
    "buffer in the parent directory": buffer_at("../secret.bin"),
    "buffer by absolute path": buffer_at("/etc/passwd"),
    "buffer by file URL": buffer_at("file:///etc/passwd"),
    "buffer by http": buffer_at("http://127.0.0.1:PORT/secret.bin"),
    "buffer as 40 MB of data URI": buffer_at("data:application/octet-stream;base64," + "A" * 40_000_000),
    "buffer on a network share": buffer_at("\\\\127.0.0.1\\share\\secret.bin"),
    "second buffer by relative path": second_buffer_at("secret.bin"),
    "image by relative path": image_at("secret.bin"),
    "image by http": image_at("http://127.0.0.1:PORT/secret.png"),
}

COUNTS: dict[str, Change] = {
    "a hundred million vertices": replaced(accessors__0__count=10**8),
    "two thousand million indices": replaced(accessors__2__count=2 * 10**9),
    "a count beyond 64 bits": replaced(accessors__0__count=2**70),
    "a negative count": replaced(accessors__0__count=-4),
    "a count in words": replaced(accessors__0__count="four"),
    "an accessor without a view": lambda document: document["accessors"][0].pop("bufferView"),
    "a sparse accessor of a hundred million": replaced(
        accessors__0={
            "componentType": 5126,
            "count": 10**8,
            "type": "VEC3",
            "sparse": {"count": 1, "indices": {"bufferView": 2, "componentType": 5125}, "values": {"bufferView": 0}},
        }
    ),
    "a view that begins at infinity": replaced(bufferViews__0__byteOffset=float("inf")),
}

CHUNKS: dict[str, dict[str, int]] = {
    "the file is said to be longer": {"total": 10**6},
    "the JSON is said to end behind the file": {"json_length": 2**32 - 4},
    "the JSON is said to be empty": {"json_length": 0},
    "the buffer is said to end behind the file": {"bin_length": 2**32 - 4},
    "the buffer is said to be empty": {"bin_length": 0},
    "the second chunk is of an unknown kind": {"bin_kind": 0x21212121},
}


def chain_of_nodes(length: int) -> Change:
    nodes: list[Document] = [{"children": [number + 1]} for number in range(length)]
    return lambda document: document.update(nodes=[*nodes, {"mesh": 0}])


#: The tree of nodes is not read here: each of these may be refused, or be the one tetrahedron it is.
TREES: dict[str, Change] = {
    "a node that is its own child": lambda document: document.update(nodes=[{"mesh": 0, "children": [0]}]),
    "two nodes that are each other's children": lambda document: document.update(
        nodes=[{"children": [1]}, {"mesh": 0, "children": [0]}]
    ),
    "a tree ten thousand nodes deep": chain_of_nodes(10_000),
    "one mesh in sixteen thousand places": lambda document: document.update(
        nodes=[{"mesh": 0}] * 16_000, scenes=[{"nodes": list(range(16_000))}]
    ),
    "doubled thirty times": lambda document: document.update(
        nodes=[*({"children": [number + 1, number + 1]} for number in range(30)), {"mesh": 0}]
    ),
}

VALUES: dict[str, dict[str, Any]] = {
    "a vertex that is no number": {"vertices": [[np.nan, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]},
    "a vertex at infinity": {"vertices": [[0, 0, 0], [np.inf, 0, 0], [0, 1, 0], [0, 0, 1]]},
    "a colour that is no number": {"colours": [[np.nan, 0, 0]] * 4},
    "vertices so far out that their squares overflow": {
        "vertices": [[-3e38, 0, 0], [3e38, 0, 0], [0, 3e38, 0], [0, 0, 3e38]]
    },
    "vertices all in one place": {"vertices": [[1, 1, 1]] * 4},
    "vertices all on one line": {"vertices": [[0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0]]},
    "vertices so close that their products vanish": {
        "vertices": [[0, 0, 0], [1e-30, 0, 0], [0, 1e-30, 0], [0, 0, 1e-30]]
    },
    "a face of vertices that are not there": {"indices": [0, 1, 2, 0, 1, 9]},
    "a face of the largest index": {"indices": [0, 1, 2, 0, 1, 2**32 - 1]},
}


def with_extension(name: str, *, required: bool, body: Document | None = None) -> Change:
    """The primitive is said to be packed in a way that this reader does not know."""

    def change(document: Document) -> None:
        document["extensionsUsed"] = [name]
        if required:
            document["extensionsRequired"] = [name]
        document["meshes"][0]["primitives"][0]["extensions"] = {name: body or {"bufferView": 0, "attributes": {}}}

    return change


def meshopt(document: Document) -> None:
    packing = {"buffer": 0, "byteLength": 4, "byteStride": 12, "count": 10**9, "mode": "ATTRIBUTES"}
    document["extensionsUsed"] = document["extensionsRequired"] = ["EXT_meshopt_compression"]
    document["bufferViews"][0]["extensions"] = {"EXT_meshopt_compression": packing}
    document["accessors"][0]["count"] = 10**9


def ktx(document: Document) -> None:
    document["extensionsUsed"] = document["extensionsRequired"] = ["KHR_texture_basisu"]
    document["images"] = [{"bufferView": 0, "mimeType": "image/ktx2"}]
    document["textures"] = [{"extensions": {"KHR_texture_basisu": {"source": 0}}}]
    document["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"] = {"index": 0}


PACKINGS: dict[str, Change] = {
    "Draco": with_extension("KHR_draco_mesh_compression", required=True),
    "Draco that unpacks to a thousand million": lambda document: [  # type: ignore[return-value]
        with_extension("KHR_draco_mesh_compression", required=True)(document),
        replaced(accessors__0__count=10**9)(document),
    ],
    "meshopt that unpacks to a thousand million": meshopt,
    "a KTX2 texture": ktx,
    "a required extension that nobody knows": with_extension("VENDOR_unheard_of", required=True),
}

#: Deep enough to exhaust any recursive parser, as an array and as objects.
DEEP: dict[str, bytes] = {
    "arrays": b'{"asset":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "objects": b'{"a":' * 200_000 + b"0" + b"}" * 200_000,
}


def sent(mesh: Any, service_url: dict[str, str], watch: Watch, content: bytes) -> httpx.Response:
    """The service's answer to a file that lies under inputs."""
    (mesh.data_dir / "inputs" / "secret.bin").write_bytes(SECRET)
    (mesh.data_dir / "inputs" / "hostile.glb").write_bytes(content)
    wish = {"mesh_path": "inputs/hostile.glb", "output_format": "glb", "output_prefix": "cache/hostile"}
    with Attacker(service_url["postprocess-service"], watch) as service:
        try:
            reply = service.post("/postprocess/clean", json=wish, timeout=ENDS_WITHIN_S)
        except httpx.TimeoutException:
            _replace_engine(mesh, service)
            raise AssertionError(f"the engine was still working on it after {ENDS_WITHIN_S:g} s") from None
        assert service.get("/ready").status_code == 200
    return reply


def _replace_engine(mesh: Any, service: Attacker) -> None:
    """An engine that hangs must not be charged to the next input."""
    for child in psutil.Process(mesh.pid("postprocess-service")).children():
        child.kill()
        child.wait(5)
    running_mesh().until(lambda: service.get("/ready").status_code == 200)
    time.sleep(0.5)
    service.watch.replies.clear()


def check_unreadable(content: bytes) -> None:
    """The reader itself says no, and has asked for no more memory than the file and its JSON are worth."""
    tracemalloc.start()
    try:
        with pytest.raises(InvalidMesh):
            read_mesh(content)
        assert tracemalloc.get_traced_memory()[1] < 8 * len(content) + 2**20
    finally:
        tracemalloc.stop()


@pytest.fixture
def answer(mesh: Any, service_url: dict[str, str], watch: Watch) -> Callable[[bytes], httpx.Response]:
    return lambda content: sent(mesh, service_url, watch, content)


Ask = Callable[[bytes], httpx.Response]


def test_the_file_that_the_others_are_made_of_is_good(answer: Ask) -> None:
    reply = answer(spoilt(lambda document: None))
    assert reply.status_code == 200 and reply.json()["report"]["faces"] == 4, reply.text


@pytest.mark.parametrize("change", **each(ELSEWHERE))
def test_nothing_outside_the_file_is_read(answer: Ask, canary: Canary, change: Change) -> None:
    document, buffer = tetrahedron()
    change(document)
    content = packed(json.dumps(document).replace("PORT", str(canary.port)).encode(), buffer)
    check_unreadable(content)
    reply = answer(content)
    check_refused(reply, "mesh", "mesh_path")
    assert SECRET[:20].decode() not in reply.text and base64.b64encode(SECRET)[:20].decode() not in reply.text


@pytest.mark.parametrize("change", **each(COUNTS))
def test_nothing_is_allocated_on_the_word_of_a_count(answer: Ask, change: Change) -> None:
    check_unreadable(spoilt(change))
    check_refused(answer(spoilt(change)), "mesh", "mesh_path")


@pytest.mark.parametrize("lies", **each(CHUNKS))
def test_lengths_must_be_true(answer: Ask, lies: dict[str, int]) -> None:
    content = packed(*tetrahedron(), **lies)
    check_unreadable(content)
    check_refused(answer(content), "mesh", "mesh_path")


@pytest.mark.parametrize("change", **each(TREES))
def test_trees_of_nodes_multiply_nothing(answer: Ask, change: Change) -> None:
    reply = answer(spoilt(change))
    if reply.status_code == 200:
        assert reply.json()["report"]["faces"] == 4
    else:
        check_refused(reply, "mesh", "mesh_path")


@pytest.mark.parametrize("values", **each(VALUES))
def test_values_that_no_mesh_has_are_refused(answer: Ask, values: dict[str, Any]) -> None:
    check_refused(answer(packed(*tetrahedron(**values))), "mesh", "mesh_path")


@pytest.mark.parametrize("change", **each(PACKINGS))
def test_packings_that_are_not_read_are_refused(answer: Ask, change: Change) -> None:
    # The specification: a file whose required extension is not known must not be loaded.
    check_refused(answer(spoilt(change)), "mesh", "mesh_path")


@pytest.mark.parametrize("text", **each(DEEP))
def test_json_deeper_than_any_parser_is_refused(answer: Ask, text: bytes) -> None:
    content = packed(text, tetrahedron()[1])
    with pytest.raises(InvalidMesh):
        read_mesh(content)
    check_refused(answer(content), "mesh", "mesh_path")


#: What a careless reader takes for a number, a list or an object.
STRAYS = (None, True, -1, -(2**70), 2**70, 10**9, 1.5, float("nan"), float("inf"), "", "x", [], {}, [[]], [None])


def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value of a document."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in inside for found in ((*way, key), *places(item, (*way, key)))]


@pytest.mark.parametrize("stray", STRAYS, ids=repr)
def test_any_value_in_any_place_is_read_or_refused(stray: Any) -> None:
    document, buffer = tetrahedron()
    ktx(document)
    document["textures"][0]["source"] = 0
    for *way, last in places(document):
        spoiling = place = copy.deepcopy(document)
        for key in way:
            place = place[key]
        place[last] = stray
        try:
            read_mesh(packed(spoiling, buffer))
        except InvalidMesh:
            continue
        except Exception as error:
            pytest.fail(f"{way} {last}: {error!r}")
