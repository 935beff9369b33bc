"""The surface of a scene: the lattice is decoded only where the surface is.

A coarse lattice is decoded whole; cells that the surface crosses or may hide in are halved until the lattice is as
fine as asked. Its points are points of the fine lattice, so every value is the one the dense lattice has.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from .field import LatticeField, Report, SampledField, TriplaneField, chunk_of, silent
from .marching import crossings, marched
from .models.nerf_renderer import TriplaneNeRFRenderer
from .models.network_utils import NeRFMLP

Interpolation = Literal["log", "density"]
Method = Literal["sparse", "dense", "reference"]
#: Cells of the first lattice along an edge, at least.
COARSE_CELLS = 64
#: A cell with a corner this close to the surface may hide some of it: in log density, and as a share of what the
#: steep parts of the surface change by over one cell.
MARGIN, MARGIN_SHARE = 1.5, 0.8
#: A step is a step; of its height the margin takes no notice.
MOST_MARGIN = 5.0
#: Which part of the surface counts as steep.
_STEEP = 0.9
#: exp() of more is more than float32 holds.
_MOST_RAW = 80.0
#: The box's faces are this far outside, in log density.
_SHELL = 1.0
#: With more active cells than this share there is nothing to save.
DENSE_SHARE = 0.6
MAX_RESOLUTION = 768


@dataclass(frozen=True, kw_only=True, eq=False)
class Surface:
    """A closed surface, outward, in the network's frame."""

    #: (n, 3) float32
    vertices: Tensor
    #: (m, 3) int64
    faces: Tensor
    #: (n, 3) float32 in [0, 1], sRGB as the pictures the network learned from
    colours: Tensor | None
    #: points that were decoded, and points of the lattice
    decoded: int
    lattice: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Lattice:
    """Raw (log) density at the points of a lattice; those that were not decoded have the right sign alone."""

    #: (R, R, R) float32, x slowest
    raw: Tensor
    #: (R, R, R) bool: above the threshold
    inside: Tensor
    #: for each axis, the linear indices of the points from which an edge crosses the surface
    crossings: list[Tensor]

    @classmethod
    def of(cls, raw: Tensor, iso: float) -> "Lattice":
        """The lattice, with the surface found; where the box cuts it, it is closed within the last cell."""
        for axis in range(3):
            for end in (0, -1):
                raw.select(axis, end).clamp_(max=iso - _SHELL)
        inside = raw > iso
        return cls(raw=raw, inside=inside, crossings=[crossings(inside, axis) for axis in range(3)])


def surface_of(
    renderer: TriplaneNeRFRenderer,
    decoder: NeRFMLP,
    scene_code: Tensor,
    resolution: int,
    threshold: float,
    *,
    interpolation: Interpolation = "log",
    method: Method = "sparse",
    colour: bool = True,
    report: Report = silent,
) -> Surface:
    """The surface where the density is `threshold`.

    Parameters
    ----------
    scene_code : (3, C, S, S)
    resolution : lattice points along an edge of the box, 8 to 768
    threshold : density, above 0
    interpolation : `log` places vertices where the logarithm of the density crosses, which is nearly linear there;
        `density` where the density does, as the original (its surfaces show terraces)
    method : `sparse`; `dense` decodes the whole lattice; `reference` does so without tables, as the original
    """
    if not 8 <= resolution <= MAX_RESOLUTION:
        raise ValueError(f"resolution must be 8 to {MAX_RESOLUTION}, not {resolution}")
    if not (math.isfinite(threshold) and threshold > 0):
        raise ValueError(f"threshold must be above 0, not {threshold}")
    bias = renderer.cfg.density_bias
    iso = math.log(threshold) - bias
    field = (SampledField if method == "reference" else TriplaneField)(
        renderer, decoder, scene_code, resolution, report
    )
    lattice = sparse_lattice(field, iso) if method == "sparse" else dense_lattice(field, iso)
    report(0.9, "meshing")

    def density(raw: Tensor) -> Tensor:
        return torch.exp((raw + bias).clamp(max=_MOST_RAW))

    def breathe() -> None:
        report(0.92, "meshing")

    found = lattice.inside, lattice.crossings, lattice.raw
    if interpolation == "log":
        places, faces = marched(*found, iso, breathe=breathe)
    else:
        places, faces = marched(*found, threshold, scale=density, breathe=breathe)
    radius = renderer.cfg.radius
    vertices = places / (resolution - 1) * (2 * radius) - radius
    surface = Surface(vertices=vertices, faces=faces, colours=None, decoded=field.done, lattice=lattice.raw.numel())
    if not colour:
        return surface
    report(0.95, "colouring")
    return replace(surface, colours=colours_at(renderer, decoder, scene_code, vertices))


def colours_at(renderer: TriplaneNeRFRenderer, decoder: NeRFMLP, scene_code: Tensor, positions: Tensor) -> Tensor:
    """(n, 3) float32 in [0, 1] at (n, 3) positions of the box."""
    size = chunk_of(positions.device)
    parts = [renderer.query_triplane(decoder, part, scene_code)["color"] for part in torch.split(positions, size)]
    return torch.cat(parts) if parts else positions.new_zeros(0, 3)


def dense_lattice(field: LatticeField, iso: float) -> Lattice:
    """Every point decoded."""
    return Lattice.of(field.whole(), iso)


def sparse_lattice(field: LatticeField, iso: float) -> Lattice:
    """Points decoded where the surface `raw = iso` is, or all of them when that is nearly everywhere."""
    strides = _strides(field.resolution)
    if strides == [1]:
        return dense_lattice(field, iso)
    field.expected = round(0.1 * field.resolution**3)
    axis = _axis(field, strides[0])
    count = len(axis)
    raw = field.at(_fine(torch.arange(count**3, device=field.device), axis, field.resolution)).view(count, count, count)
    known = torch.ones_like(raw, dtype=torch.bool)
    for stride in strides[1:]:
        active = _active(raw, iso)
        if stride == strides[1]:  # what hides beside a coarse cell; from there on the surface is followed
            active = _dilated(active)
        if float(active.float().mean()) > DENSE_SHARE:
            field.expected = field.resolution**3
            return dense_lattice(field, iso)
        finer = _axis(field, stride)
        raw, known = _refined(field, axis, raw, known, finer, _points_of(active, axis, finer))
        axis = finer
    return _followed(field, raw, known, iso)


def _strides(resolution: int) -> list[int]:
    """Fine lattice steps between the points of each lattice, coarse to fine: each divides the one before."""
    stride = max(1, resolution // COARSE_CELLS)
    while stride not in (1, 2, 3, 4, 6, 8, 9, 12):
        stride -= 1
    strides = [stride]
    while stride > 1:
        stride = next(part for part in range(stride // 2, 0, -1) if stride % part == 0)
        strides.append(stride)
    return strides


def _axis(field: LatticeField, stride: int) -> Tensor:
    """Fine indices of a lattice's points along an edge; the last one is always there."""
    points = torch.arange(0, field.resolution, stride, device=field.device)
    last = field.resolution - 1
    return points if int(points[-1]) == last else torch.cat([points, points.new_tensor([last])])


def _fine(points: Tensor, axis: Tensor, resolution: int) -> Tensor:
    """Linear indices in the fine lattice of linear indices in the lattice of these points."""
    count = len(axis)
    if count == resolution:
        return points
    x, y, z = (axis[place] for place in (points // (count * count), points // count % count, points % count))
    return (x * resolution + y) * resolution + z


def _refined(
    field: LatticeField, axis: Tensor, raw: Tensor, known: Tensor, finer: Tensor, needed: Tensor
) -> tuple[Tensor, Tensor]:
    """The finer lattice with the needed points decoded; all others are as the coarse corner below them."""
    below = torch.searchsorted(axis, finer, right=True) - 1
    fine_raw = _taken(raw, below)
    at = torch.searchsorted(finer, axis)
    coarse = (at[:, None, None], at[:, None], at)
    needed[coarse] &= ~known  # what is known already is not decoded again …
    points = torch.nonzero(needed.view(-1))[:, 0]
    needed[coarse] |= known  # … and counts as decoded
    fine_raw.view(-1)[points] = field.at(_fine(points, finer, field.resolution))
    return fine_raw, needed


def _taken(volume: Tensor, places: Tensor) -> Tensor:
    """`volume[places, places, places]` as a grid; last axis first, so that the big copies are of whole rows."""
    for axis in (2, 1, 0):
        volume = volume.index_select(axis, places)
    return volume


def _pairs(volume: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    count = volume.shape[axis] - 1
    return volume.narrow(axis, 0, count), volume.narrow(axis, 1, count)


def _active(raw: Tensor, iso: float) -> Tensor:
    """Cells that the surface crosses or may hide in."""
    away = raw - iso
    inside, near = away > 0, away.abs() < _margin(away)
    every = inside
    for axis in range(3):
        inside, near = (one | other for one, other in (_pairs(inside, axis), _pairs(near, axis)))
        every = torch.logical_and(*_pairs(every, axis))
    return (inside & ~every) | near


def _margin(away: Tensor) -> float:
    """How close to the surface is close, for a lattice whose values are off it by `away`."""
    steps = []
    for axis in range(3):
        low, high = _pairs(away, axis)
        crossed = (low > 0) != (high > 0)
        steps.append((high[crossed] - low[crossed]).abs())
    step = torch.cat(steps)
    if not len(step):
        return MARGIN
    steep = float(step.kthvalue(max(1, int(_STEEP * len(step))))[0])
    return min(MOST_MARGIN, max(MARGIN, MARGIN_SHARE * steep))


def _dilated(cells: Tensor) -> Tensor:
    for axis in range(3):
        grown = cells.clone()
        low, high = _pairs(cells, axis)
        count = cells.shape[axis] - 1
        grown.narrow(axis, 1, count).logical_or_(low)
        grown.narrow(axis, 0, count).logical_or_(high)
        cells = grown
    return cells


def _points_of(cells: Tensor, axis: Tensor, finer: Tensor) -> Tensor:
    """Points of the finer lattice in these cells, their borders included."""
    behind = (torch.searchsorted(axis, finer, right=True) - 1).clamp(max=len(axis) - 2)
    before = (torch.searchsorted(axis, finer) - 1).clamp(min=0)
    for number in (2, 1, 0):
        cells = cells.index_select(number, before).logical_or_(cells.index_select(number, behind))
    return cells


def _followed(field: LatticeField, raw: Tensor, known: Tensor, iso: float) -> Lattice:
    """The lattice with the surface followed to where it leaves the cells that were thought active."""
    reach = 2
    while True:
        field.report(0.9, "following")
        lattice = Lattice.of(raw, iso)
        seen = known.view(-1)
        steps = (known.stride(0), known.stride(1), 1)
        loose = [s[~(seen[s] & seen[s + step])] for s, step in zip(lattice.crossings, steps, strict=True)]
        if not any(len(start) for start in loose):
            return lattice
        around = torch.zeros_like(known)
        for start in loose:
            around.view(-1)[start] = True
        for _ in range(reach):
            around = _dilated(around)
        reach = min(2 * reach, 16)
        missing = around & ~known
        points = torch.nonzero(missing.view(-1))[:, 0]
        raw.view(-1)[points] = field.at(points)
        known |= missing
