"""A texture for a mesh: an atlas of charts, and the triplane's colour at every texel; no light is baked in.

Texture space has v up: row 0 of a texture lies at v = 0, and texel (row, column) is centred at
((column + ½) / R, (row + ½) / R).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .isosurface import colours_at

if TYPE_CHECKING:
    from .system import TSR

Array = NDArray[Any]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U32 = NDArray[np.uint32]
Mask = NDArray[np.bool_]

#: Faces that are charted at once: xatlas grows charts in quadratic time (100,000 faces: 60 s at once, 3 s in pieces).
PIECE_FACES = 1024
#: xatlas aims at a resolution and overshoots it by up to a quarter, which would shrink the padding in the texture.
PACK_SHARE = 0.8
#: Spans, texels or pieces of borders that are in the works at once, whatever the size of mesh and texture.
BATCH = 1 << 16
#: How far from a chart the centre of a texel can lie that a bilinear look-up inside the chart still reads.
REACH = 2.0**0.5
#: Borders are stamped in pieces of at most this many texels, each with a window of WINDOW² texels around it.
PIECE_TEXELS = 2.0
WINDOW = int(PIECE_TEXELS + 2 * REACH) + 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Atlas:
    """Charts of a mesh, packed into the unit square; face i is face i of the mesh, vertices are split at seams."""

    #: (v,) uint32, the vertex of the mesh that each vertex of the atlas is
    vmapping: U32
    #: (m, 3) uint32, faces over the vertices of the atlas
    indices: U32
    #: (v, 2) float32 in [0, 1]
    uvs: F32


class Triangles(Protocol):
    """What is read of a mesh, as of a `trimesh.Trimesh`."""

    @property
    def vertices(self) -> Array:
        """(n, 3)."""

    @property
    def faces(self) -> Array:
        """(m, 3)."""


@torch.no_grad()
def bake_texture(mesh: Triangles, model: "TSR", scene_code: Tensor, texture_resolution: int) -> dict[str, NDArray[Any]]:
    """`vmapping`, `indices` and `uvs` as in `Atlas`, and `colors` (R, R, 4) float32 in [0, 1], row 0 at v = 0.

    `scene_code` is (3, C, S, S), the mesh in its frame. Alpha is 1 where a chart or its margin lies, else 0. The margin
    (`padding` texels) has the colour of the chart beside it, so bilinear sampling shows no seams.

    Raises
    ------
    ValueError : the mesh has no face or a vertex that is not finite, or the resolution is not positive
    ImportError : xatlas is not installed
    """
    vertices = np.asarray(mesh.vertices)
    atlas = make_atlas(vertices, np.asarray(mesh.faces), texture_resolution)
    places, covered = rasterise_positions(atlas.uvs, atlas.indices, vertices[atlas.vmapping], texture_resolution)
    colours = np.zeros((*covered.shape, 4), np.float32)
    found = colours_at(
        model.renderer, model.decoder, scene_code, torch.from_numpy(places[covered]).to(scene_code.device)
    )
    colours[covered, :3] = found.clamp(0.0, 1.0).cpu().numpy()
    colours[covered, 3] = 1.0
    return {
        "vmapping": atlas.vmapping,
        "indices": atlas.indices,
        "uvs": atlas.uvs,
        "colors": dilated(colours, covered, padding(texture_resolution)),
    }


def padding(texture_resolution: int) -> int:
    """Texels kept free around each chart."""
    return max(2, texture_resolution // 256)


def make_atlas(vertices: Array, faces: Array, texture_resolution: int) -> Atlas:
    """Charts by xatlas for (n, 3) vertices and (m, 3) faces; errors as in `bake_texture`.

    xatlas holds the interpreter's lock while it works.
    """
    if len(faces) == 0 or not np.isfinite(vertices).all():
        raise ValueError("a mesh needs faces, and vertices that are finite, to be given a texture")
    if texture_resolution < 1:
        raise ValueError(f"texture_resolution must be positive, not {texture_resolution}")
    try:
        import xatlas
    except ImportError as error:
        raise ImportError("a texture needs xatlas: pip install xatlas") from error
    scaled = _scaled(vertices.astype(np.float64), faces)
    pieces = _pieces(scaled[faces].mean(axis=1), PIECE_FACES)
    packed = xatlas.Atlas()
    sources = []
    for piece in pieces:
        used, local = np.unique(faces[piece], return_inverse=True)
        packed.add_mesh(scaled[used].astype(np.float32), local.reshape(-1, 3).astype(np.uint32))
        sources.append(used)
    options = xatlas.PackOptions()
    options.resolution = max(1, int(texture_resolution * PACK_SHARE))
    options.padding = padding(texture_resolution)
    options.bilinear = True
    packed.generate(xatlas.ChartOptions(), options)
    return _joined(pieces, sources, [packed[i] for i in range(len(pieces))])


def _scaled(vertices: F64, faces: Array) -> F64:
    """Centred, with faces of mean area 1: xatlas drops faces whose area is below an absolute limit."""
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = 0.5 * float(np.linalg.norm(normals, axis=1).mean())
    return np.asarray((vertices - corners.mean(axis=(0, 1))) / max(area, 1e-30) ** 0.5)


def _pieces(centres: F64, limit: int) -> list[I64]:
    """Faces in compact groups of at most `limit`, halved along their longest extent."""
    whole, todo = [], [np.arange(len(centres))]
    while todo:
        group = todo.pop()
        if len(group) <= limit:
            whole.append(group)
            continue
        along = centres[group, int(np.ptp(centres[group], axis=0).argmax())]
        order, half = np.argsort(along, kind="stable"), len(group) // 2
        todo += [group[order[:half]], group[order[half:]]]
    return whole


def _joined(pieces: list[I64], sources: list[Array], charted: list[tuple[Array, Array, Array]]) -> Atlas:
    """The pieces' charts as one atlas, faces in the order of the mesh."""
    starts = np.cumsum([0, *(len(mapping) for mapping, _, _ in charted)])
    indices = np.empty((sum(map(len, pieces)), 3), np.uint32)
    for piece, start, (_, local, _) in zip(pieces, starts, charted, strict=False):
        indices[piece] = local + start
    return Atlas(
        vmapping=np.concatenate([used[mapping] for used, (mapping, _, _) in zip(sources, charted, strict=True)]).astype(
            np.uint32
        ),
        indices=indices,
        uvs=np.clip(np.concatenate([uv for _, _, uv in charted]), 0.0, 1.0).astype(np.float32),
    )


def rasterise_positions(uvs: Array, indices: Array, positions: Array, resolution: int) -> tuple[F32, Mask]:
    """(R, R, 3) float32 surface position of each texel, and (R, R) bool of the texels that have one.

    `uvs` (v, 2) in [0, 1], `indices` (m, 3), `positions` (v, 3). Where the centre of a texel lies in a face, its
    position is interpolated on that face. A texel whose centre lies outside, but which a bilinear look-up inside a
    chart reads, has the position of the nearest point of that chart's border: so charts thinner than a texel are kept.
    """
    texels = uvs.astype(np.float64) * resolution - 0.5
    values = positions.astype(np.float64)
    canvas = _Canvas(resolution)
    _fill(canvas, texels[indices], values[indices])
    borders = _borders(indices)
    _stamp(canvas, texels[borders], values[borders])
    side = (resolution, resolution)
    return canvas.values.reshape(*side, 3), np.isfinite(canvas.distance).reshape(side)


class _Canvas:
    """What is known of each texel so far, flat, row after row. Coordinates are (x, y), whole at texel centres."""

    def __init__(self, side: int) -> None:
        self.side = side
        self.values = np.zeros((side * side, 3), np.float32)
        #: of the texel's centre to the surface in texture space; 0 inside a chart, inf where nothing was put
        self.distance = np.full(side * side, np.inf, np.float32)

    def put_inside(self, x: I64, y: I64, values: F64) -> None:
        """Texels whose centres lie in a face."""
        at = y * self.side + x
        self.values[at] = values
        self.distance[at] = 0.0

    def put_beside(self, x: I64, y: I64, values: F64, distance: F64) -> None:
        """Texels whose centres may lie outside of the faces; of all that is put, the nearest stays."""
        at = y * self.side + x
        nearer = np.flatnonzero(distance < self.distance[at])
        # Where an index repeats, numpy keeps what is assigned last.
        nearest_last = nearer[np.argsort(-distance[nearer], kind="stable")]
        self.values[at[nearest_last]] = values[nearest_last]
        self.distance[at[nearest_last]] = distance[nearest_last]


def _fill(canvas: _Canvas, corners: F64, values: F64) -> None:
    """Texels with their centres in faces: (m, 3, 2) corners in texels with (m, 3, 3) values, row by row."""
    low, high = corners[..., 1].min(axis=1), corners[..., 1].max(axis=1)
    first = np.clip(np.ceil(low), 0, canvas.side).astype(np.int64)
    last = np.clip(np.floor(high), -1, canvas.side - 1).astype(np.int64)
    rows = np.where(high > low, np.maximum(last - first + 1, 0), 0)
    for faces in _batches(rows):
        face, offset = _runs(rows[faces])
        y = first[faces][face] + offset
        _fill_spans(canvas, y, *_spans(y, corners[faces][face], values[faces][face]))


def _spans(y: I64, corners: F64, values: F64) -> tuple[F64, F64]:
    """(s, 2) x and (s, 2, 3) value of the left and right end of the cut of each face with its row `y`.

    Interpolated along edges, never by the face's area: that stays exact for slivers, and two faces agree on the edge
    that they share.
    """
    ends, end_values = np.roll(corners, -1, axis=1), np.roll(values, -1, axis=1)
    rise = ends[..., 1] - corners[..., 1]
    share = (y[:, None] - corners[..., 1]) / np.where(rise == 0, 1.0, rise)
    crossed = (rise != 0) & (share >= 0) & (share <= 1)
    x = corners[..., 0] + share * (ends[..., 0] - corners[..., 0])
    edges = np.stack(
        [np.where(crossed, x, np.inf).argmin(axis=1), np.where(crossed, x, -np.inf).argmax(axis=1)], axis=1
    )
    span = np.arange(len(y))[:, None]
    start, stop = values[span, edges], end_values[span, edges]
    return x[span, edges], start + share[span, edges][..., None] * (stop - start)


def _fill_spans(canvas: _Canvas, y: I64, x: F64, values: F64) -> None:
    # A hair of tolerance: a centre on a shared edge belongs to both faces, never to none.
    first = np.clip(np.ceil(x[:, 0] - 1e-7), 0, canvas.side).astype(np.int64)
    last = np.clip(np.floor(x[:, 1] + 1e-7), -1, canvas.side - 1).astype(np.int64)
    widths = np.maximum(last - first + 1, 0)
    for spans in _batches(widths):
        span, offset = _runs(widths[spans])
        column = first[spans][span] + offset
        left, right = x[spans, 0][span], x[spans, 1][span]
        share = np.clip((column - left) / np.maximum(right - left, 1e-12), 0.0, 1.0)
        start, stop = values[spans, 0][span], values[spans, 1][span]
        canvas.put_inside(column, y[spans][span], start + share[:, None] * (stop - start))


def _borders(indices: Array) -> I64:
    """(e, 2) edges that belong to one face only."""
    edges = np.sort(
        np.concatenate([indices[:, [0, 1]], indices[:, [1, 2]], indices[:, [2, 0]]]).astype(np.int64), axis=1
    )
    keys, count = np.unique(edges[:, 0] << 32 | edges[:, 1], return_counts=True)
    alone = keys[count == 1]
    return np.stack([alone >> 32, alone & 0xFFFFFFFF], axis=1)


def _stamp(canvas: _Canvas, ends: F64, values: F64) -> None:
    """Texels within REACH of edges: (e, 2, 2) ends in texels with (e, 2, 3) values."""
    length = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)
    pieces = np.maximum(np.ceil(length / PIECE_TEXELS), 1).astype(np.int64)
    window = np.stack(np.meshgrid(np.arange(WINDOW), np.arange(WINDOW), indexing="ij"), axis=-1).reshape(-1, 2)
    for edges in _batches(pieces * len(window)):
        edge, number = _runs(pieces[edges])
        shares = np.stack([number, number + 1], axis=1)[..., None] / pieces[edges][edge][:, None, None]
        a, b = (part[edges][edge] for part in (ends, values))
        place = a[:, :1] + shares * (a[:, 1:] - a[:, :1])
        value = b[:, :1] + shares * (b[:, 1:] - b[:, :1])
        texels = np.ceil(place.min(axis=1) - REACH).astype(np.int64)[:, None] + window
        _stamp_segments(canvas, texels, place, value)


def _stamp_segments(canvas: _Canvas, texels: I64, ends: F64, values: F64) -> None:
    """(p, w, 2) texels around (p, 2, 2) segments with (p, 2, 3) values at their ends."""
    along = ends[:, 1] - ends[:, 0]
    from_start = texels - ends[:, :1]
    length2 = np.maximum((along**2).sum(axis=1), 1e-24)
    share = np.clip((from_start * along[:, None]).sum(axis=2) / length2[:, None], 0.0, 1.0)
    distance = np.linalg.norm(from_start - share[..., None] * along[:, None], axis=2)
    inside = ((texels >= 0) & (texels < canvas.side)).all(axis=2) & (distance <= REACH)
    segment, _ = np.nonzero(inside)
    start, stop = values[segment, 0], values[segment, 1]
    value = start + share[inside][:, None] * (stop - start)
    canvas.put_beside(texels[inside][:, 0], texels[inside][:, 1], value, distance[inside])


def _runs(counts: I64) -> tuple[I64, I64]:
    """For each of counts.sum() items, whose it is and its number there: [2, 1] gives [0, 0, 1] and [0, 1, 0]."""
    owner = np.repeat(np.arange(len(counts)), counts)
    before = np.cumsum(counts) - counts
    return owner, np.arange(len(owner)) - before[owner]


def _batches(counts: I64) -> Iterator[slice]:
    """Consecutive slices with at most BATCH items each, or with one single count that is larger."""
    ends = np.cumsum(counts)
    start = 0
    while start < len(counts):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + BATCH, side="right")))
        yield slice(start, stop)
        start = stop


def dilated(colours: F32, covered: Mask, radius: int) -> F32:
    """`colours` (h, w, c) with every texel within `radius` texels of a covered one as the nearest covered one.

    `covered` is (h, w) bool; the rest of the texels stay as they are.
    """
    height, width = covered.shape
    columns = np.arange(width, dtype=np.int32)
    left = np.maximum.accumulate(np.where(covered, columns, np.int32(-radius - 1)), axis=1)
    right = np.minimum.accumulate(np.where(covered, columns, np.int32(width + radius))[:, ::-1], axis=1)[:, ::-1]
    in_row = np.where(columns - left <= right - columns, left, right)
    across2 = np.minimum(np.abs(in_row - columns), radius + 1) ** 2
    best, rise = across2.copy(), np.zeros(covered.shape, np.int32)
    for shift in range(-radius, radius + 1):
        here = slice(max(0, -shift), max(0, min(height, height - shift)))
        there = slice(max(0, shift), max(0, min(height, height + shift)))
        distance2 = across2[there] + np.int32(shift * shift)
        nearer = distance2 < best[here]
        np.copyto(best[here], distance2, where=nearer)
        np.copyto(rise[here], np.int32(shift), where=nearer)
    rows, at = np.nonzero(~covered & (best <= radius * radius))
    source = rows + rise[rows, at]
    result = colours.copy()
    result[rows, at] = colours[source, in_row[source, at]]
    return result
