"""Closed shapes that things are made of: each stands on the ground (y = 0) or is centred, and faces outwards.

`n` is the number of segments around; 192 keep the chord error of a solid that fills 512 pixels under a tenth of one.
"""

from collections.abc import Sequence

import numpy as np

from scratch3d.geometry.mesh import F64, Array, Mesh

#: Fewest segments around anything.
LEAST = 5
Point2 = tuple[float, float]
Point3 = tuple[float, float, float]


def lathe(profile: Sequence[Point2], n: int) -> Mesh:
    """Turn an outline of (radius, height) around +Y: from the axis at the bottom, round the outside, back to the axis.

    An outline that comes back down on the inside makes a hollow.
    """
    n = max(n, LEAST)
    points = np.asarray(profile, float)
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
    ring = np.stack([np.sin(angle), np.zeros(n), np.cos(angle)], axis=1)
    inner = points[1:-1]
    rows = ring[None] * inner[:, :1, None] + np.array([0.0, 1.0, 0.0]) * inner[:, 1:, None]
    vertices = np.concatenate([[[0, points[0, 1], 0]], rows.reshape(-1, 3), [[0, points[-1, 1], 0]]])
    here = np.arange(n)
    after = (here + 1) % n
    faces = [np.stack([np.zeros_like(here), 1 + after, 1 + here], axis=1)]
    for row in range(len(inner) - 1):
        low, high = 1 + row * n, 1 + (row + 1) * n
        faces.append(np.stack([low + here, low + after, high + after], axis=1))
        faces.append(np.stack([low + here, high + after, high + here], axis=1))
    last, tip = 1 + (len(inner) - 1) * n, len(vertices) - 1
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


def torus(radius: float, tube: float, n: int) -> Mesh:
    """A ring that lies flat."""
    around = np.linspace(0, 2 * np.pi, n, endpoint=False)
    path = np.stack([np.sin(around) * radius, np.full(n, tube), np.cos(around) * radius], axis=1)
    across = np.linspace(0, 2 * np.pi, max(8, n // 2), endpoint=False)
    outward = np.stack([np.sin(around), np.zeros(n), np.cos(around)], axis=1)
    up = np.array([0.0, 1.0, 0.0])
    ring = np.cos(across)[None, :, None] * outward[:, None] + np.sin(across)[None, :, None] * up
    return _grid(path[:, None] + tube * ring, closed=True)


def tube(path: Sequence[Point3], radius: float | Sequence[float], n: int) -> Mesh:
    """A round bar along a path, with one radius or one per point; its ends are flat."""
    n = max(n, LEAST)
    points = np.asarray(path, float)
    radii = np.broadcast_to(np.asarray(radius, float), len(points))
    along = np.gradient(points, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    # One direction across is carried along the path, so that the bar does not twist.
    across = np.empty_like(points)
    start = np.eye(3)[int(np.abs(along[0]).argmin())]
    for i, direction in enumerate(along):
        start = start - direction * (start @ direction)
        across[i] = start = start / np.linalg.norm(start)
    other = np.cross(along, across)
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
    ring = np.cos(angle)[None, :, None] * across[:, None] + np.sin(angle)[None, :, None] * other[:, None]
    return _grid(points[:, None] + radii[:, None, None] * ring, closed=False)


def _grid(rows: F64, *, closed: bool) -> Mesh:
    """(m, k, 3) rings to a tube; open ones get a flat lid at both ends."""
    m, k = rows.shape[:2]
    i, j = (a.ravel() for a in np.meshgrid(np.arange(m if closed else m - 1), np.arange(k), indexing="ij"))
    here, along = i * k + j, (i + 1) % m * k + j
    side, corner = i * k + (j + 1) % k, (i + 1) % m * k + (j + 1) % k
    faces = [np.stack([here, along, corner], 1), np.stack([here, corner, side], 1)]
    if closed:
        return _mesh(rows.reshape(-1, 3), np.concatenate(faces))
    around = np.arange(k)
    faces.append(np.stack([np.full(k, m * k), around, (around + 1) % k], 1))
    last = (m - 1) * k
    faces.append(np.stack([np.full(k, m * k + 1), last + (around + 1) % k, last + around], 1))
    vertices = np.concatenate([rows.reshape(-1, 3), [rows[0].mean(axis=0)], [rows[-1].mean(axis=0)]])
    return _outward(_mesh(vertices, np.concatenate(faces)))


def extrude(outline: Sequence[Point2], depth: float) -> Mesh:
    """A simple polygon in x and y, any direction, made `depth` thick around z = 0."""
    points = np.asarray(outline, float)
    if _area(points) < 0:
        points = points[::-1]
    k = len(points)
    front = np.concatenate([points, np.full((k, 1), depth / 2)], axis=1)
    back = np.concatenate([points, np.full((k, 1), -depth / 2)], axis=1)
    caps = np.array(_ears(points))
    here, after = np.arange(k), (np.arange(k) + 1) % k
    sides = [np.stack([here, here + k, after + k], 1), np.stack([here, after + k, after], 1)]
    return _mesh(np.concatenate([front, back]), np.concatenate([caps, caps[:, ::-1] + k, *sides]))


def _area(points: F64) -> float:
    x, y = points.T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def _ears(points: F64) -> list[tuple[int, int, int]]:
    """Triangles of a simple counter-clockwise polygon, by cutting off ears."""
    left = list(range(len(points)))
    triangles = []
    while len(left) > 3:
        for at in range(len(left)):
            a, b, c = left[at - 1], left[at], left[(at + 1) % len(left)]
            corner = points[[a, b, c]]
            if _area(corner) > 1e-12 and not any(_within(points[i], corner) for i in left if i not in (a, b, c)):
                triangles.append((a, b, c))
                del left[at]
                break
        else:
            raise ValueError("the outline crosses itself")
    return [*triangles, (left[0], left[1], left[2])]


def _within(point: F64, corner: F64) -> bool:
    return all(_area(np.array([corner[i], corner[(i + 1) % 3], point])) >= -1e-12 for i in range(3))


def ball(rx: float, ry: float, rz: float, n: int) -> Mesh:
    """An ellipsoid around the origin."""
    turned = lathe(outline(arc(1, 1, -90, 90, lift=0.0, n=n)), n)
    return stretched(turned, rx, ry, rz)


def cylinder(radius: float, height: float, n: int, top: float | None = None) -> Mesh:
    """A cylinder, or a truncated cone with another radius on top."""
    upper = radius if top is None else top
    return lathe([(0, 0), (radius, 0), (upper, height), (0, height)], n)


def cone(radius: float, height: float, n: int) -> Mesh:
    """A cone on the ground."""
    return lathe([(0, 0), (radius, 0), (0, height)], n)


def moved(mesh: Mesh, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Mesh:
    """The mesh somewhere else."""
    return mesh.evolve(vertices=(mesh.vertices + np.array([x, y, z])).astype(np.float32))


def stretched(mesh: Mesh, x: float, y: float, z: float) -> Mesh:
    """The mesh scaled along the axes; a negative factor mirrors it."""
    faces = mesh.faces if x * y * z > 0 else np.ascontiguousarray(mesh.faces[:, ::-1])
    return mesh.evolve(vertices=(mesh.vertices * np.array([x, y, z])).astype(np.float32), faces=faces)


def turned(mesh: Mesh, axis: str, degrees: float) -> Mesh:
    """The mesh turned counter-clockwise around an axis that points at the viewer."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    turn = np.eye(3)
    turn[i, i], turn[i, j], turn[j, i], turn[j, j] = c, -s, s, c
    return mesh.evolve(vertices=(mesh.vertices @ turn.T).astype(np.float32))


def arc(radius: float, height: float, start_deg: float, stop_deg: float, *, lift: float, n: int) -> F64:
    """Points (radius, height) of an ellipse around (0, lift), from start to stop elevation."""
    steps = max(3, round(n / 2 * abs(stop_deg - start_deg) / 180))
    angle = np.radians(np.linspace(start_deg, stop_deg, steps + 1))
    return np.stack([radius * np.cos(angle), lift + height * np.sin(angle)], axis=1)


def outline(*pieces: Array) -> list[Point2]:
    """Pieces of an outline put together; no point lies behind the axis."""
    return [(float(max(r, 0.0)), float(y)) for piece in pieces for r, y in np.atleast_2d(piece)]


def _outward(mesh: Mesh) -> Mesh:
    a, b, c = (mesh.vertices[mesh.faces[:, k]].astype(float) for k in range(3))
    inside_out = np.einsum("ij,ij->", a, np.cross(b, c)) < 0
    return mesh.evolve(faces=np.ascontiguousarray(mesh.faces[:, ::-1])) if inside_out else mesh


def _mesh(vertices: Array, faces: Array) -> Mesh:
    return Mesh(vertices=vertices.astype(np.float32), faces=faces.astype(np.int32))
