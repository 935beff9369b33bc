"""Marching cubes over a sparse set of blocks: watertight, outward, one vertex per crossing lattice edge.

The lattice is cut into blocks of 8³ cells; only blocks through which the surface passes are stored. The case table
is derived, not listed (Lorensen & Cline 1987 describe the idea): on every cube face the crossings are joined so that
inside corners are kept apart, a rule that depends on that face's corners alone, so neighbouring cubes always agree;
the joined segments close into loops, and each loop is cut into triangles whose inner edges never lie in a cube face.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from .jit import kernel, parallel_kernel, prange
from .mesh import F32, F64, I32, I64, Array, Mesh

#: Cells along the edge of a block.
BLOCK = 8
#: Share of a lattice edge kept free at both ends, so that no triangle degenerates.
END_GAP = 1e-3

_Corner = tuple[int, int, int]


def _edges() -> list[tuple[_Corner, _Corner]]:
    """The 12 cube edges as (base corner, other corner); edge index = axis * 4 + offsets of the two other axes."""
    edges = []
    for axis in range(3):
        others = [a for a in range(3) if a != axis]
        for high, low in itertools.product((0, 1), repeat=2):
            base = [0, 0, 0]
            base[others[0]], base[others[1]] = low, high
            end = list(base)
            end[axis] = 1
            edges.append(((base[0], base[1], base[2]), (end[0], end[1], end[2])))
    return edges


EDGES = _edges()


def _face_rings() -> list[list[_Corner]]:
    """Corners of the 6 cube faces, counter-clockwise seen from outside."""
    rings = []
    for axis, side in itertools.product(range(3), (0, 1)):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        ring = []
        for du, dv in ((0, 0), (1, 0), (1, 1), (0, 1)):
            corner = [0, 0, 0]
            corner[axis], corner[u], corner[v] = side, du, dv
            ring.append((corner[0], corner[1], corner[2]))
        rings.append(ring if side else ring[::-1])
    return rings


def _loops(inside: set[_Corner], rings: list[list[_Corner]]) -> list[list[int]]:
    """Closed loops of crossed edges around the inside corners."""
    edge_of = {frozenset(pair): i for i, pair in enumerate(EDGES)}
    follow: dict[int, int] = {}
    for ring in rings:
        for k, corner in enumerate(ring):
            if corner in inside and ring[(k + 1) % 4] not in inside:
                back = k  # walk back to where the ring entered the inside; corners kept apart where ambiguous
                while ring[back - 1] in inside:
                    back -= 1
                leave = edge_of[frozenset((corner, ring[(k + 1) % 4]))]
                enter = edge_of[frozenset((ring[back - 1], ring[back]))]
                follow[enter] = leave
    loops = []
    while follow:
        start, here = follow.popitem()
        loop = [start]
        while here != start:
            loop.append(here)
            here = follow.pop(here)
        loops.append(loop)
    return loops


def _share_face(one: int, two: int) -> bool:
    corners = np.array([*EDGES[one], *EDGES[two]])
    return bool((corners == corners[0]).all(axis=0).any())


def _triangulations(loop: list[int]) -> list[list[tuple[int, int, int]]]:
    if len(loop) < 3:
        return [[]]
    return [
        [(loop[0], loop[k], loop[-1]), *left, *right]
        for k in range(1, len(loop) - 1)
        for left in _triangulations(loop[: k + 1])
        for right in _triangulations(loop[k:])
    ]


def _cut(loop: list[int]) -> list[tuple[int, int, int]]:
    """The first triangulation none of whose inner edges lies in a face of the cube."""
    border = {frozenset((loop[i - 1], loop[i])) for i in range(len(loop))}

    def bad(triangles: list[tuple[int, int, int]]) -> int:
        pairs = {frozenset(p) for t in triangles for p in itertools.combinations(t, 2)}
        return sum(_share_face(*sorted(p)) for p in pairs - border)

    return min(_triangulations(loop), key=bad)


def case_table() -> tuple[I32, I32]:
    """(256,) triangle counts and (256, 5·3) crossed edges; bit x + 2y + 4z of a case is set for an inside corner."""
    rings, corners = _face_rings(), list(itertools.product((0, 1), (0, 1), (0, 1)))
    count, table = np.zeros(256, np.int32), np.full((256, 15), -1, np.int32)
    for case in range(256):
        inside = {c for c in corners if case >> (c[0] + 2 * c[1] + 4 * c[2]) & 1}
        triangles = [t for loop in sorted(_loops(inside, rings)) for t in _cut(loop)]
        count[case] = len(triangles)
        table[case, : 3 * len(triangles)] = [edge for t in triangles for edge in t]
    return count, table


_COUNT, _TABLE = case_table()
_BASES = np.array([base for base, _ in EDGES], np.int32)


def extract(values: F32, blocks: I32, index: I32, *, origin: Array, spacing_m: float) -> Mesh:
    """The surface where the field changes sign.

    Parameters
    ----------
    values : (b, 9, 9, 9) float32, field at the corners of each block's cells, positive inside; blocks share borders
    blocks : (b, 3) int32, block coordinates; every block with a sign change among its corners must be listed
    index : (i, j, k) int32, position in `blocks` of each block of the lattice, -1 where not listed
    origin : (3,) metres, lattice point (0, 0, 0)
    spacing_m : distance of lattice points
    """
    local, counts = _number(values)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    vertices = _place(values, blocks, local, starts, np.asarray(origin, np.float64), spacing_m)
    triangles = _count_triangles(values, _COUNT)
    offsets = np.concatenate([[0], np.cumsum(triangles)]).astype(np.int64)
    faces = _connect(values, blocks, index, local, starts, offsets, _COUNT, _TABLE, _BASES)
    return Mesh(vertices=vertices, faces=faces)


def surface(
    values: F32, blocks: Array, shape: Sequence[int] | Array, *, origin: Array, spacing_m: float
) -> Mesh | None:
    """As `extract`, of the given blocks through which the surface passes, in a lattice of `shape` blocks; None of none."""
    crossed = (values > 0).any(axis=(1, 2, 3)) & (values <= 0).any(axis=(1, 2, 3))
    through = np.ascontiguousarray(blocks[crossed], dtype=np.int32)
    if not len(through):
        return None
    index = np.full(shape, -1, np.int32)
    index[tuple(through.T)] = np.arange(len(through), dtype=np.int32)
    return extract(np.ascontiguousarray(values[crossed]), through, index, origin=origin, spacing_m=spacing_m)


@parallel_kernel
def _number(values: F32) -> tuple[Array, I64]:
    """Per block, the running number of every crossed edge that starts in it (65535: not crossed)."""
    local = np.full((len(values), 3, BLOCK, BLOCK, BLOCK), 65535, np.uint16)
    counts = np.zeros(len(values), np.int64)
    for b in prange(len(values)):
        n = 0
        for axis in range(3):
            di, dj, dk = int(axis == 0), int(axis == 1), int(axis == 2)
            for i in range(BLOCK):
                for j in range(BLOCK):
                    for k in range(BLOCK):
                        if (values[b, i, j, k] > 0) != (values[b, i + di, j + dj, k + dk] > 0):
                            local[b, axis, i, j, k] = n
                            n += 1
        counts[b] = n
    return local, counts


@parallel_kernel
def _place(values: F32, blocks: I32, local: Array, starts: I64, origin: F64, spacing: float) -> F32:
    vertices = np.empty((starts[-1], 3), np.float32)
    for b in prange(len(values)):
        for axis in range(3):
            di, dj, dk = int(axis == 0), int(axis == 1), int(axis == 2)
            for i in range(BLOCK):
                for j in range(BLOCK):
                    for k in range(BLOCK):
                        n = local[b, axis, i, j, k]
                        if n == 65535:
                            continue
                        here = values[b, i, j, k]
                        there = values[b, i + di, j + dj, k + dk]
                        t = min(max(here / (here - there), END_GAP), 1 - END_GAP)
                        v = starts[b] + n
                        vertices[v, 0] = origin[0] + spacing * (blocks[b, 0] * BLOCK + i + t * di)
                        vertices[v, 1] = origin[1] + spacing * (blocks[b, 1] * BLOCK + j + t * dj)
                        vertices[v, 2] = origin[2] + spacing * (blocks[b, 2] * BLOCK + k + t * dk)
    return vertices


@kernel
def _case(values: F32, b: int, i: int, j: int, k: int) -> int:
    case = 0
    for dk in range(2):
        for dj in range(2):
            for di in range(2):
                if values[b, i + di, j + dj, k + dk] > 0:
                    case |= 1 << (di + 2 * dj + 4 * dk)
    return case


@parallel_kernel
def _count_triangles(values: F32, count: I32) -> I64:
    triangles = np.zeros(len(values), np.int64)
    for b in prange(len(values)):
        n = 0
        for i in range(BLOCK):
            for j in range(BLOCK):
                for k in range(BLOCK):
                    n += count[_case(values, b, i, j, k)]
        triangles[b] = n
    return triangles


@parallel_kernel
def _connect(
    values: F32,
    blocks: I32,
    index: I32,
    local: Array,
    starts: I64,
    offsets: I64,
    count: I32,
    table: I32,
    bases: I32,
) -> I32:
    faces = np.empty((offsets[-1], 3), np.int32)
    for b in prange(len(values)):
        row = offsets[b]
        for i in range(BLOCK):
            for j in range(BLOCK):
                for k in range(BLOCK):
                    case = _case(values, b, i, j, k)
                    for slot in range(3 * count[case]):
                        edge = table[case, slot]
                        x, y, z = i + bases[edge, 0], j + bases[edge, 1], k + bases[edge, 2]
                        owner = index[blocks[b, 0] + x // BLOCK, blocks[b, 1] + y // BLOCK, blocks[b, 2] + z // BLOCK]
                        number = local[owner, edge // 4, x % BLOCK, y % BLOCK, z % BLOCK]
                        faces[row + slot // 3, slot % 3] = starts[owner] + number
                    row += count[case]
    return faces
