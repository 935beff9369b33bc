"""A scene rebuilt of equal cubes: which cells are inside, and runs of one colour as closed boxes."""

from collections.abc import Sequence

import numpy as np

from scratch3d.geometry.measure import occupancy
from scratch3d.geometry.mesh import Array, Mesh, merged

from .shapes import box

#: A solid with its colour and finish.
Painted = tuple[Mesh, str, str]


def voxelised(bodies: Sequence[Painted], cells: int) -> list[Painted]:
    """Bodies inside a cube of one metre around the origin, `cells` along its side; later bodies win where they overlap."""
    spacing = 1.0 / cells
    # Half a cell around: thin parts fall on the lattice whichever side of the middle they lie.
    low = np.full(3, -0.5 - spacing)
    side = cells + 2
    owner = np.full((side, side, side), -1)
    for number, (mesh, _, _) in enumerate(bodies):
        owner[_covered(mesh, low, spacing, side)] = number
    found = []
    for look in dict.fromkeys((colour, finish) for _, colour, finish in bodies):
        mine = np.isin(owner, [n for n, body in enumerate(bodies) if body[1:] == look])
        if mine.any():
            found.append((merged([_box(run, low, spacing) for run in _runs(mine)]), *look))
    return found


def _covered(mesh: Mesh, low: Array, spacing: float, side: int) -> Array:
    """Cells of which a good part is inside: eight points are asked in each, so that thin parts are kept."""
    fine = occupancy(mesh, low, spacing / 2, (2 * side, 2 * side, 2 * side))
    share = fine.reshape(side, 2, side, 2, side, 2).mean(axis=(1, 3, 5))
    covered = np.asarray(share >= 0.25)
    if not covered.any():
        # Thinner than the points lie apart: the cells of its corners and of its faces' middles stand for it.
        points = np.concatenate([mesh.vertices, mesh.vertices[mesh.faces].mean(axis=1)])
        cells = np.clip(((points - low) / spacing).astype(int), 0, side - 1)
        covered[tuple(cells.T)] = True
    return covered


def _runs(mine: Array) -> list[tuple[int, int, int, int]]:
    """(start, stop, y, z) of every unbroken run along x."""
    edges = np.diff(np.pad(mine, ((1, 1), (0, 0), (0, 0))).astype(np.int8), axis=0)
    starts, stops = np.argwhere(edges.transpose(1, 2, 0) == 1), np.argwhere(edges.transpose(1, 2, 0) == -1)
    return [(int(a[2]), int(b[2]), int(a[0]), int(a[1])) for a, b in zip(starts, stops, strict=True)]


def _box(run: tuple[int, int, int, int], low: Array, spacing: float) -> Mesh:
    start, stop, y, z = run
    body = box((stop - start) * spacing, spacing, spacing)
    at = low + np.array([(start + stop) / 2, y, z + 0.5]) * spacing
    return body.evolve(vertices=(body.vertices + at).astype(np.float32))
