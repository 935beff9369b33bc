"""The twelve solids: closed meshes that stand on the ground (y = 0), centred in x and z, about one unit high.

Round solids are cut into 192 segments: at 512 pixels the chord error stays under a tenth of a pixel.
"""

from collections.abc import Callable, Sequence

import numpy as np

from scratch3d.geometry.mesh import F64, Array, Mesh

SEGMENTS = 192
_HALF_TURN = SEGMENTS // 2


def lathe(profile: Sequence[tuple[float, float]]) -> Mesh:
    """Turn an outline of (radius, height), from the axis at the bottom to the axis at the top, around +Y."""
    points = np.asarray(profile, float)
    angle = np.linspace(0, 2 * np.pi, SEGMENTS, endpoint=False)
    ring = np.stack([np.sin(angle), np.zeros(SEGMENTS), np.cos(angle)], axis=1)
    inner = points[1:-1]
    rows = ring[None] * inner[:, :1, None] + np.array([0.0, 1.0, 0.0]) * inner[:, 1:, None]
    vertices = np.concatenate([[[0, points[0, 1], 0]], rows.reshape(-1, 3), [[0, points[-1, 1], 0]]])
    here = np.arange(SEGMENTS)
    after = (here + 1) % SEGMENTS
    faces = [np.stack([np.zeros_like(here), 1 + after, 1 + here], axis=1)]
    for row in range(len(inner) - 1):
        low, high = 1 + row * SEGMENTS, 1 + (row + 1) * SEGMENTS
        faces.append(np.stack([low + here, low + after, high + after], axis=1))
        faces.append(np.stack([low + here, high + after, high + here], axis=1))
    last, tip = 1 + (len(inner) - 1) * SEGMENTS, len(vertices) - 1
    faces.append(np.stack([last + here, last + after, np.full_like(here, tip)], axis=1))
    return _mesh(vertices, np.concatenate(faces))


def hull(points: Sequence[tuple[float, float, float]], rings: Sequence[Sequence[int]]) -> Mesh:
    """A polyhedron from its corners and its faces, each counter-clockwise seen from outside."""
    faces = [(ring[0], ring[k], ring[k + 1]) for ring in rings for k in range(1, len(ring) - 1)]
    return _mesh(np.asarray(points, float), np.asarray(faces))


def box(width: float, height: float, depth: float) -> Mesh:
    """An axis-aligned box."""
    x, z = width / 2, depth / 2
    low = [(-x, 0.0, z), (x, 0.0, z), (x, 0.0, -z), (-x, 0.0, -z)]
    high = [(a, height, c) for a, _, c in low]
    sides = [(k, (k + 1) % 4, (k + 1) % 4 + 4, k + 4) for k in range(4)]
    return hull([*low, *high], [(3, 2, 1, 0), (4, 5, 6, 7), *sides])


def pyramid(width: float, height: float) -> Mesh:
    """A pyramid on a square."""
    x = width / 2
    corners = [(-x, 0.0, x), (x, 0.0, x), (x, 0.0, -x), (-x, 0.0, -x), (0.0, height, 0.0)]
    return hull(corners, [(3, 2, 1, 0), *((k, (k + 1) % 4, 4) for k in range(4))])


def prism(width: float, height: float, depth: float) -> Mesh:
    """A triangular prism that lies on one side, its triangles in front and behind."""
    x, z = width / 2, depth / 2
    corners = [(-x, 0.0, z), (x, 0.0, z), (0.0, height, z), (-x, 0.0, -z), (x, 0.0, -z), (0.0, height, -z)]
    return hull(corners, [(0, 1, 2), (5, 4, 3), (0, 3, 4, 1), (1, 4, 5, 2), (2, 5, 3, 0)])


def octahedron(width: float, height: float) -> Mesh:
    """Two pyramids base to base, standing on a tip."""
    x, y = width / 2, height / 2
    corners = [(-x, y, 0.0), (0.0, y, x), (x, y, 0.0), (0.0, y, -x), (0.0, height, 0.0), (0.0, 0.0, 0.0)]
    upper = [(k, (k + 1) % 4, 4) for k in range(4)]
    lower = [((k + 1) % 4, k, 5) for k in range(4)]
    return hull(corners, [*upper, *lower])


def torus(radius: float, tube: float) -> Mesh:
    """A ring that lies flat."""
    around = np.linspace(0, 2 * np.pi, SEGMENTS, endpoint=False)
    across = np.linspace(0, 2 * np.pi, _HALF_TURN, endpoint=False)
    reach = radius + tube * np.cos(across)
    vertices = np.stack(
        [
            np.sin(around)[:, None] * reach,
            np.broadcast_to(tube + tube * np.sin(across), (SEGMENTS, _HALF_TURN)),
            np.cos(around)[:, None] * reach,
        ],
        axis=2,
    ).reshape(-1, 3)
    i, j = (a.ravel() for a in np.meshgrid(np.arange(SEGMENTS), np.arange(_HALF_TURN), indexing="ij"))
    here, right = i * _HALF_TURN + j, (i + 1) % SEGMENTS * _HALF_TURN + j
    above, across_corner = i * _HALF_TURN + (j + 1) % _HALF_TURN, (i + 1) % SEGMENTS * _HALF_TURN + (j + 1) % _HALF_TURN
    faces = np.concatenate([np.stack([here, right, across_corner], 1), np.stack([here, across_corner, above], 1)])
    return _mesh(vertices, faces)


def _arc(radius: float, height: float, start_deg: float, stop_deg: float, *, lift: float) -> F64:
    """Points (radius, height) of a quarter or half ellipse around (0, lift), from start to stop elevation."""
    angle = np.radians(np.linspace(start_deg, stop_deg, _HALF_TURN + 1))
    return np.stack([radius * np.cos(angle), lift + height * np.sin(angle)], axis=1)


def _outline(*pieces: Array) -> list[tuple[float, float]]:
    return [(float(max(r, 0.0)), float(y)) for piece in pieces for r, y in np.atleast_2d(piece)]


def _mesh(vertices: Array, faces: Array) -> Mesh:
    return Mesh(vertices=vertices.astype(np.float32), faces=faces.astype(np.int32))


#: One line a solid.
SOLIDS: dict[str, Callable[[], Mesh]] = {
    "cube": lambda: box(1, 1, 1),
    "box": lambda: box(1.4, 0.8, 0.9),
    "sphere": lambda: lathe(_outline(_arc(0.5, 0.5, -90, 90, lift=0.5))),
    "ellipsoid": lambda: lathe(_outline(_arc(0.36, 0.5, -90, 90, lift=0.5))),
    "hemisphere": lambda: lathe(_outline(np.array([0.0, 0.0]), _arc(0.5, 0.5, 0, 90, lift=0.0))),
    "cylinder": lambda: lathe([(0, 0), (0.4, 0), (0.4, 1), (0, 1)]),
    "capsule": lambda: lathe(_outline(_arc(0.26, 0.26, -90, 0, lift=0.26), _arc(0.26, 0.26, 0, 90, lift=0.74))),
    "cone": lambda: lathe([(0, 0), (0.45, 0), (0, 1)]),
    "pyramid": lambda: pyramid(1, 0.9),
    "prism": lambda: prism(1, 0.86, 1.1),
    "octahedron": lambda: octahedron(1, 1.2),
    "torus": lambda: torus(0.36, 0.14),
}
