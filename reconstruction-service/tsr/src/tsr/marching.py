"""Marching cubes over a lattice that is already classified: outward, watertight, one vertex per crossing edge.

Lorensen & Cline (1987) with a derived case table: on every face of a cube the crossings are joined so that inside
corners hold together (thin parts do not break), which depends on that face alone: neighbours agree, the surface closes.
"""

from collections.abc import Callable
from functools import lru_cache
from itertools import combinations, product

import torch
from torch import Tensor

#: A corner of a cube is the number x + 2y + 4z; an edge is its lower corner and its axis, numbered 4·axis + place.
_EDGES = [(corner, axis) for axis in range(3) for corner in range(8) if not corner >> axis & 1]
#: Vertices keep this share of their edge away from its ends, so that no triangle vanishes.
_END_GAP = 1e-4
#: Cells that are connected at once: half a kilobyte each.
_CELLS = 1 << 18

_Triangle = tuple[int, int, int]


def marched(
    inside: Tensor,
    starts: list[Tensor],
    values: Tensor,
    iso: float,
    *,
    scale: Callable[[Tensor], Tensor] = lambda values: values,
    breathe: Callable[[], None] = lambda: None,
) -> tuple[Tensor, Tensor]:
    """Vertices in lattice units and faces of the surface between inside and outside points.

    Parameters
    ----------
    inside : (X, Y, Z) bool
    starts : `crossings` of each axis
    values : (X, Y, Z) float32; read at the ends of crossing edges alone
    iso : what `scale` of the values is above inside; it is taken as linear between two points
    breathe : called between pieces of work; what it raises ends it

    Returns
    -------
    (n, 3) float32 and (m, 3) int64, counter-clockwise seen from outside; empty without a crossing
    """
    shape = torch.tensor(inside.shape)
    steps = [int(shape[1] * shape[2]), int(shape[2]), 1]
    flat_values, flat_inside = values.reshape(-1), inside.reshape(-1)
    vertices = [_placed(start, axis, steps, flat_values, iso, scale) for axis, start in enumerate(starts)]
    cells = _cells(starts, steps, inside)
    if not len(cells):
        return values.new_zeros(0, 3), cells.new_zeros(0, 3)
    pieces = []
    for some in torch.split(cells, _CELLS):
        breathe()
        pieces.append(_faces(some, starts, steps, flat_inside))
    return torch.cat(vertices), torch.cat(pieces)


def crossings(inside: Tensor, axis: int) -> Tensor:
    """Sorted linear indices of the points from which an edge along `axis` crosses the surface."""
    count = inside.shape[axis] - 1
    crossed = inside.narrow(axis, 0, count) ^ inside.narrow(axis, 1, count)
    found = torch.nonzero(crossed.view(-1))[:, 0]
    if axis == 0:
        return found
    # From the shorter rows or slabs of `crossed` to those of `inside`.
    run = inside.stride(axis - 1)
    return found + found // (run - inside.stride(axis)) * inside.stride(axis)


def _placed(
    start: Tensor, axis: int, steps: list[int], values: Tensor, iso: float, scale: Callable[[Tensor], Tensor]
) -> Tensor:
    one, other = scale(values[start]), scale(values[start + steps[axis]])
    share = ((iso - one) / (other - one)).clamp(_END_GAP, 1 - _END_GAP)
    places = torch.stack([start // steps[0], start % steps[0] // steps[1], start % steps[1]], dim=1).to(values.dtype)
    places[:, axis] += share
    return places


def _cells(starts: list[Tensor], steps: list[int], inside: Tensor) -> Tensor:
    """Linear indices of the lowest corners of all cells that a crossing edge touches, sorted."""
    around = []
    for axis, start in enumerate(starts):
        one, other = (a for a in range(3) if a != axis)
        place = (start // steps[0], start % steps[0] // steps[1], start % steps[1])
        for down_one, down_other in product((0, 1), repeat=2):
            within = torch.ones_like(start, dtype=torch.bool)
            for which, down in ((one, down_one), (other, down_other)):
                lowest = place[which] - down
                within &= (lowest >= 0) & (lowest < inside.shape[which] - 1)
            around.append((start - down_one * steps[one] - down_other * steps[other])[within])
    touched: Tensor = torch.unique(torch.cat(around))
    return touched


def _faces(cells: Tensor, starts: list[Tensor], steps: list[int], inside: Tensor) -> Tensor:
    corners = torch.tensor([sum(steps[a] for a in range(3) if c >> a & 1) for c in range(8)], device=cells.device)
    bits = inside[cells[:, None] + corners].to(torch.int64)
    case = (bits << torch.arange(8, device=cells.device)).sum(dim=1)
    table = case_table().to(cells.device)[case]
    cell, triangle = torch.nonzero(table[:, ::3] >= 0, as_tuple=True)
    edges = table.view(len(cells), -1, 3)[cell, triangle]
    axis_of = torch.tensor([axis for _, axis in _EDGES], device=cells.device)[edges]
    start = cells[cell, None] + corners[torch.tensor([c for c, _ in _EDGES], device=cells.device)[edges]]
    faces = torch.empty_like(start)
    before = 0
    for axis in range(3):
        chosen = axis_of == axis
        faces[chosen] = torch.searchsorted(starts[axis], start[chosen]) + before
        before += len(starts[axis])
    return faces


@lru_cache(maxsize=1)
def case_table() -> Tensor:
    """(256, 15) edges of up to five triangles for each set of inside corners (bit c for corner c), -1 behind them."""
    table = torch.full((256, 15), -1, dtype=torch.int64)
    for case in range(256):
        flat = [edge for loop in _loops(case) for triangle in _flattest(loop) for edge in triangle]
        table[case, : len(flat)] = torch.tensor(flat, dtype=torch.int64)
    return table


def _edge(one: int, other: int) -> int:
    low = min(one, other)
    return _EDGES.index((low, (one ^ other).bit_length() - 1))


def _loops(case: int) -> list[tuple[int, ...]]:
    """Closed loops of crossed edges; the surface's outer side sees them counter-clockwise."""
    after: dict[int, int] = {}
    for axis, side in product(range(3), (0, 1)):
        u, v = 1 << (axis + 1) % 3, 1 << (axis + 2) % 3
        base = side << axis
        ring = [base, base | u, base | u | v, base | v] if side else [base, base | v, base | u | v, base | u]
        state = [bool(case >> corner & 1) for corner in ring]
        for k in range(4):
            if state[k - 1] and not state[k]:  # a run of outside corners begins here, and ends before `end`
                end = next(k + n for n in range(1, 5) if state[(k + n) % 4])
                left, entered = _edge(ring[k - 1], ring[k]), _edge(ring[(end - 1) % 4], ring[end % 4])
                after[entered] = left
    loops = []
    while after:
        loop = [min(after)]
        while (following := after.pop(loop[-1])) != loop[0]:
            loop.append(following)
        loops.append(tuple(loop))
    return loops


def _flattest(loop: tuple[int, ...]) -> list[_Triangle]:
    """The triangulation with the fewest inner edges in a face of the cube, where a neighbour could have the same one."""
    border = {frozenset((loop[k - 1], loop[k])) for k in range(len(loop))}

    def hidden(triangles: list[_Triangle]) -> int:
        inner = {frozenset(pair) for t in triangles for pair in combinations(t, 2)} - border
        return sum(_in_one_face(*pair) for pair in inner)

    return min(_triangulations(loop), key=hidden)


def _in_one_face(one: int, other: int) -> bool:
    corners = [c for corner, axis in (_EDGES[one], _EDGES[other]) for c in (corner, corner | 1 << axis)]
    return any(len({c >> axis & 1 for c in corners}) == 1 for axis in range(3))


def _triangulations(loop: tuple[int, ...]) -> list[list[_Triangle]]:
    if len(loop) < 3:
        return [[]]
    first, last = loop[0], loop[-1]
    return [
        [*before, (first, loop[k], last), *behind]
        for k in range(1, len(loop) - 1)
        for before in _triangulations(loop[: k + 1])
        for behind in _triangulations(loop[k:])
    ]
