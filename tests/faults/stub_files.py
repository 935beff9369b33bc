"""The files that stub engines leave, right and wrong: a picture and a mesh, a few hundred bytes each."""

import json
import struct
import zlib

BROKEN_PICTURES = frozenset({"truncated_png", "zero_size_png", "black_png", "white_png", "empty_file"})
BROKEN_MESHES = frozenset(
    {"empty_file", "nan_mesh", "empty_mesh", "index_out_of_range", "non_manifold", "huge_header_mesh"}
)


def png(fault: str | None = None) -> bytes:
    """An orange square on nothing, 8 × 8."""
    if fault == "empty_file":
        return b""
    side = 0 if fault == "zero_size_png" else 8
    colour = {"black_png": b"\0\0\0\xff", "white_png": b"\xff" * 4}.get(fault or "", b"\xe6\x78\x14\xff")
    row = b"\0" + colour * side
    parts = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)), (b"IDAT", zlib.compress(row * side))]
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in [*parts, (b"IEND", b"")]
    )
    return content[: len(content) // 2] if fault == "truncated_png" else content


def glb(fault: str | None = None, *, seed: int = 0, padding: int = 0) -> bytes:
    """A tetrahedron with colours per vertex, and as many bytes more as are asked for (a multiple of four)."""
    if fault == "empty_file":
        return b""
    points = [0.0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1]
    corners = [0, 2, 1, 0, 1, 3, 1, 2, 3, 2, 0, 3]
    if fault == "nan_mesh":
        points[0] = float("nan")
    elif fault == "empty_mesh":
        corners = []
    elif fault == "index_out_of_range":
        corners[-1] = 99
    elif fault == "non_manifold":
        corners += [0, 1, 2, 0, 3, 1, 0, 1, 2]
    buffer = struct.pack("<12f12f", *points, *([0.5] * 12)) + struct.pack(f"<{len(corners)}I", *corners)
    buffer += bytes(padding)
    views = [(0, 48), (48, 48), (96, 4 * len(corners))]
    claimed = 150_000_000 if fault == "huge_header_mesh" else len(corners)
    document = {
        "asset": {"version": "2.0", "generator": "stub", "extras": {"seed": seed}},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "COLOR_0": 1}, "indices": 2, "material": 0}]}],
        "materials": [{"pbrMetallicRoughness": {"metallicFactor": 0}}],
        "buffers": [{"byteLength": len(buffer)}],
        "bufferViews": [{"buffer": 0, "byteOffset": at, "byteLength": long} for at, long in views],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 4, "type": "VEC3", "min": [0, 0, 0], "max": [1, 1, 1]},
            {"bufferView": 1, "componentType": 5126, "count": 4, "type": "VEC3"},
            {"bufferView": 2, "componentType": 5125, "count": claimed, "type": "SCALAR"},
        ],
    }
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<III", 0x46546C67, 2, 28 + len(text) + len(buffer))
    return head + struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(buffer), 0x4E4942) + buffer
