"""A description becomes geometry: built, painted, placed, and scaled into the unit cube.

Every item becomes a group of solid bodies. Items that stand to nothing are set side by side on the ground, in the order
they were named; the others are placed against their target: the result is a tree of groups, built from the leaves.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import ImageColor

from scratch3d.geometry.glb import Material, Part
from scratch3d.geometry.mesh import F64, Mesh, corner_normals, merged, split_creases, srgb_to_linear

from .grammar import Description, Item, Paint
from .styles import STYLES, Style, recoloured
from .things import THINGS, solids
from .things.piece import FIXED, MAIN, Piece, Thing
from .things.solids import open_box
from .vocabulary import COLOURS, MATERIALS
from .voxels import voxelised

#: Free space between neighbours, in units of their widths' mean.
GAP = 0.18
#: Round things sink this share of their height into what carries them: a touching point would hold nothing.
SINK = 0.03
#: Things that stand in something, or on a seat, take this share of its width.
ROOMY = 0.82
#: The share of a thing's height that must fit into what it stands in, and the share that goes below the rim.
LOW_SHARE, SUNK_SHARE = 0.25, 0.55
#: Segments around round pieces, by the number of things in the scene: far fewer pixels see each of many.
SEGMENTS = ((1, 144), (2, 112), (4, 72), (8, 48), (99, 32))
#: The twelve solids carry nothing but their outline: theirs is finer.
SOLID_SEGMENTS = 192


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """Closed, coloured parts in our frame: longest side one metre, bounding box centred on the origin."""

    parts: tuple[Part, ...]
    warnings: tuple[str, ...] = ()

    @property
    def mesh(self) -> Mesh:
        """All parts as one mesh with vertex colours."""
        return merged([part.mesh for part in self.parts])


@dataclass(frozen=True, kw_only=True, eq=False)
class _Body:
    """One painted piece of a placed thing."""

    mesh: Mesh
    name: str
    colour: str
    finish: str


@dataclass(frozen=True, kw_only=True, eq=False)
class _Group:
    """Bodies that are placed together; they stand on y = 0, and the host they were built around at x = z = 0."""

    bodies: tuple[_Body, ...]

    @property
    def bounds(self) -> tuple[F64, F64]:
        """Lowest and highest corner."""
        lows, highs = zip(*(body.mesh.bounds for body in self.bodies), strict=True)
        return np.min(lows, axis=0), np.max(highs, axis=0)

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> "_Group":
        """The group somewhere else."""
        return self.mapped(1.0, np.array([x, y, z]))

    def scaled(self, factor: float) -> "_Group":
        """The group larger or smaller, around the origin."""
        return self.mapped(factor, np.zeros(3))

    def mapped(self, factor: float, offset: F64) -> "_Group":
        """The group scaled, then moved."""
        return _Group(
            bodies=tuple(
                replace(body, mesh=body.mesh.evolve(vertices=(body.mesh.vertices * factor + offset).astype(np.float32)))
                for body in self.bodies
            )
        )

    def fitted(self) -> "_Group":
        """The group with its longest side one metre, its bounding box centred on the origin."""
        low, high = self.bounds
        side = float((high - low).max())
        return self.mapped(1.0 / side, -(low + high) / 2 / side)

    def __add__(self, other: "_Group") -> "_Group":
        return _Group(bodies=self.bodies + other.bodies)


def build(said: Description, *, style: str | None = None) -> Scene:
    """The scene of a description, in a named style or the ones its words ask for."""
    styles = [STYLES[name] for name in ((style,) if style else said.styles)]
    builder = _Builder(said.items, styles)
    whole = builder.all_roots().fitted()
    for cells in (one.voxels for one in styles if one.voxels):
        # Cells at the rim that are hardly covered fall away: what is left is fitted once more.
        whole = _cubed(whole, cells).fitted()
    parts = tuple(_part(body, number, styles) for number, body in enumerate(whole.bodies, start=1))
    return Scene(parts=parts, warnings=tuple(dict.fromkeys(builder.warnings)))


def _cubed(group: _Group, cells: int) -> _Group:
    """A fitted group rebuilt of equal cubes."""
    rebuilt = voxelised([(body.mesh, body.colour, body.finish) for body in group.bodies], cells)
    return _Group(
        bodies=tuple(
            _Body(mesh=mesh, name=f"cubes-{number}", colour=colour, finish=finish)
            for number, (mesh, colour, finish) in enumerate(rebuilt, start=1)
        )
    )


class _Builder:
    """Builds and places the items of one description."""

    def __init__(self, items: Sequence[Item], styles: Sequence[Style]) -> None:
        self.items, self.styles = items, styles
        self.warnings: list[str] = []
        total = sum(item.count for item in items)
        self.segments = next(n for most, n in SEGMENTS if total <= most)
        # Two items that stand on each other's words ("a on b", "b on a") would chase each other.
        self.children: dict[int, list[int]] = {}
        for index, item in enumerate(items):
            if item.target is not None and not self._leads_to(item.target, index):
                self.children.setdefault(item.target, []).append(index)
        placed = {child for children in self.children.values() for child in children}
        self.roots = [index for index in range(len(items)) if index not in placed]

    def _leads_to(self, start: int, goal: int) -> bool:
        seen: set[int] = set()
        here: int | None = start
        while here is not None and here not in seen:
            if here == goal:
                return True
            seen.add(here)
            here = self.items[here].target
        return False

    def all_roots(self) -> _Group:
        """Every statement of the prompt, side by side."""
        return _row([self.placed(root) for root in self.roots])

    def placed(self, index: int) -> _Group:
        """An item with everything that stands to it."""
        item = self.items[index]
        one = self._built(index)
        children = self.children.get(index, [])
        if item.count > 1:
            group = _stacked([one] * item.count) if item.stacked else _arranged([one] * item.count)
        else:
            group = one
        host = group
        for relation in dict.fromkeys(str(self.items[child].relation) for child in children):
            group = self._attach(group, host, index, [c for c in children if self.items[c].relation == relation])
        return group

    def _attach(self, group: _Group, host: _Group, index: int, children: Sequence[int]) -> _Group:
        """`group` with everything that stands to its item in the same way."""
        first = self.items[children[0]]
        relation, thing = str(first.relation), THINGS[self.items[index].thing]
        if relation == "around":
            for child in children:
                group = group + self._around(group, child)
            return group
        if relation == "inside" and (thing.hollow is None or self.items[index].count > 1):
            what = "has no opening that could be seen" if thing.hollow is None else "is drawn several times"
            self.warnings.append(f"{self.items[index].thing} {what}: {first.thing} stands beside it")
            relation = "left"
        if relation == "inside":
            return group + self._inside(host, thing, _huddled([g for c in children for g in self._copies(c)]), first)
        other = _row([self.placed(child) for child in children])
        if relation == "on":
            return group + self._on(host, thing, other, first)
        if relation == "under" and thing.room is None:
            return self._lifted(group, other, first, thing)
        if relation == "under":
            return group + self._under(host, thing, other, first)
        return _beside(group, other, {"front": "front", "behind": "behind", "right": "right"}.get(relation, "left"))

    def _copies(self, index: int) -> list[_Group]:
        """Each thing of an item alone, or the whole when it carries others."""
        whole = index in self.children or self.items[index].stacked
        return [self.placed(index)] if whole else [self._built(index)] * self.items[index].count

    def _built(self, index: int) -> _Group:
        """One thing of an item, painted and sized, standing on the ground."""
        item = self.items[index]
        thing = THINGS[item.thing]
        segments = self.segments if item.thing not in _SOLIDS or self.segments < 72 else SOLID_SEGMENTS
        segments = min([segments, *(style.segments for style in self.styles if style.segments)])
        holds = any(self.items[child].relation == "inside" for child in self.children.get(index, []))
        pieces = open_box(segments) if item.thing == "box" and holds else thing.pieces(segments)
        pieces = [piece for piece in pieces if piece.part not in item.without] or pieces
        group = _Group(bodies=tuple(_painted(piece, item) for piece in pieces))
        low, high = group.bounds
        factor = thing.size / float((high - low).max())
        group = group.mapped(factor, np.array([0.0, -low[1] * factor, 0.0]))
        stretch = np.asarray(item.scale, float)
        for style in self.styles:
            stretch = stretch * style.stretch
        return _stretched(group, stretch)

    def _on(self, host: _Group, thing: Thing, other: _Group, item: Item) -> _Group:
        low, high = host.bounds
        y, x, z, centre = self._seat(host, thing)
        if item.scale == (1.0, 1.0, 1.0):
            share = ROOMY if thing.seat else 1.15  # a bare top may be overhung a little
            other = _fitted(other, share * x, share * z)
        sink = _sink(other, THINGS[item.thing].round_below) + (SINK * (high - low)[1] if thing.round_above else 0.0)
        middle = (other.bounds[0] + other.bounds[1]) / 2
        return other.moved(centre[0] - middle[0], y - sink, centre[1] - middle[2])

    def _seat(self, host: _Group, thing: Thing) -> tuple[float, float, float, tuple[float, float]]:
        """Height, half width, half depth and centre (x, z) of the place that carries things."""
        low, high = host.bounds
        seat = thing.seat
        if seat is None:
            half = (high - low) / 2
            return float(high[1]), float(half[0]), float(half[2]), _centre(low, high)
        scale = self._units(host, thing)
        centre = _centre(low, high) if seat.forward == 0 else (0.0, seat.forward * scale[2])
        return seat.y * scale[1], seat.x * scale[0], seat.z * scale[2], centre

    def _units(self, host: _Group, thing: Thing) -> F64:
        """How much larger the thing is in the scene than in its own units, by axis."""
        low, high = host.bounds
        own = [piece.mesh.bounds for piece in thing.pieces(12)]
        size = np.max([h for _, h in own], axis=0) - np.min([b for b, _ in own], axis=0)
        return np.asarray((high - low) / size)

    def _inside(self, host: _Group, thing: Thing, other: _Group, item: Item) -> _Group:
        assert thing.hollow is not None
        scale = self._units(host, thing)
        radius = thing.hollow.radius * min(scale[0], scale[2]) * ROOMY
        if item.scale == (1.0, 1.0, 1.0):
            # Stems and handles may lean out over the rim: only what stands low must fit.
            other = other.scaled(min(1.0, max(radius / _foot(other, LOW_SHARE)[2], 0.25)))
        lower, upper = other.bounds
        x, z, _ = _foot(other, LOW_SHARE)
        floor = thing.hollow.floor * scale[1]
        depth, tall = thing.hollow.rim * scale[1] - floor, float((upper - lower)[1])
        # What is lower than the rim would not be seen at all: it lies on a heap of its like.
        lift = max(0.0, depth - SUNK_SHARE * tall)
        return other.moved(-x, floor + lift - lower[1], -z)

    def _under(self, host: _Group, thing: Thing, other: _Group, item: Item) -> _Group:
        assert thing.room is not None
        scale = self._units(host, thing)
        lower, upper = other.bounds
        low, high = host.bounds
        room = np.array([(high - low)[0] * 0.72, thing.room * scale[1] * 0.94, (high - low)[2] * 0.9])
        if item.scale == (1.0, 1.0, 1.0):
            other = other.scaled(min(1.0, float((room / (upper - lower)).min())))
            lower, upper = other.bounds
        middle, centre = (lower + upper) / 2, _centre(low, high)
        if thing.trunk is not None:
            clear = thing.trunk * scale[2] + (upper - lower)[2] / 2
            return other.moved(-middle[0], 0.0, float(clear) - middle[2])
        return other.moved(centre[0] - middle[0], 0.0, centre[1] - middle[2])

    def _lifted(self, group: _Group, other: _Group, item: Item, thing: Thing) -> _Group:
        """What is under a thing without room below carries it."""
        low, high = other.bounds
        mine = group.bounds
        middle = (mine[0] + mine[1]) / 2
        sink = _sink(group, thing.round_below) + (SINK * (high - low)[1] if THINGS[item.thing].round_above else 0.0)
        x, z = _centre(low, high)
        return other + group.moved(x - middle[0], float(high[1]) - sink, z - middle[2])

    def _around(self, group: _Group, child: int) -> _Group:
        item = self.items[child]
        low, high = group.bounds
        reach = float(np.hypot(*((high - low)[[0, 2]] / 2)))
        x, z = _centre(low, high)
        thing = THINGS[item.thing]
        if thing.hole is not None and item.count == 1:
            other = self.placed(child)
            factor = self._units(other, thing)[0] * thing.hole
            return _stretched(other, np.array([reach * 1.04 / factor, 1.0, reach * 1.04 / factor])).moved(x, 0.0, z)
        one = self._built(child)
        lower, upper = one.bounds
        wide = float(np.hypot(*((upper - lower)[[0, 2]] / 2)))
        count = max(item.count, 1)
        distance = max(reach + wide * 1.15, wide * 1.1 / np.sin(np.pi / max(count, 2)) if count > 1 else 0.0)
        # The first stands to the right behind: nothing hides what they stand around from the front.
        angles = np.radians(45.0 if count == 1 else 180.0 / count) + 2 * np.pi * np.arange(count) / count
        ring = [one.moved(x + distance * float(np.sin(a)), 0.0, z + distance * float(np.cos(a))) for a in angles]
        return _Group(bodies=tuple(body for each in ring for body in each.bodies))


_SOLIDS = frozenset(solids.THINGS)


def _row(groups: Sequence[_Group]) -> _Group:
    """Groups from left to right, clear of each other, around x = 0."""
    whole = groups[0]
    for group in groups[1:]:
        whole = _beside(whole, group, "right")
    return whole


def _beside(group: _Group, other: _Group, side: str) -> _Group:
    """`other` next to everything of `group`, on the ground."""
    (low, high), (lower, upper) = group.bounds, other.bounds
    x, z = _centre(low, high)
    middle = (lower + upper) / 2
    if side in {"left", "right"}:
        gap = GAP * float((high - low)[0] + (upper - lower)[0]) / 2
        at = high[0] + gap - lower[0] if side == "right" else low[0] - gap - upper[0]
        return group + other.moved(x=float(at), z=z - middle[2])
    gap = GAP * float((high - low)[2] + (upper - lower)[2]) / 2
    at = high[2] + gap - lower[2] if side == "front" else low[2] - gap - upper[2]
    return group + other.moved(x=x - middle[0], z=float(at))


def _arranged(groups: Sequence[_Group]) -> _Group:
    """Equal groups in a row, or in rows when they are many."""
    low, high = groups[0].bounds
    across, deep = (high - low)[[0, 2]] * (1 + GAP)
    columns = len(groups) if len(groups) <= 3 else int(np.ceil(np.sqrt(len(groups) * deep / across)))
    columns = min(max(columns, 1), len(groups))
    placed = []
    for number, group in enumerate(groups):
        row, column = divmod(number, columns)
        in_row = min(columns, len(groups) - row * columns)
        placed.append(group.moved(x=(column - (in_row - 1) / 2) * float(across), z=-row * float(deep)))
    return _Group(bodies=tuple(body for group in placed for body in group.bodies))


def _huddled(groups: Sequence[_Group]) -> _Group:
    """Groups close together around the middle, as things lie in a bowl."""
    if any(group is not groups[0] for group in groups):
        return _row(groups)
    if not 3 <= len(groups) <= 6:
        return _arranged(groups)
    low, high = groups[0].bounds
    distance = float((high - low)[[0, 2]].max()) / 2 / float(np.sin(np.pi / len(groups)))
    angles = 2 * np.pi * (np.arange(len(groups)) + 0.5) / len(groups)
    placed = [
        g.moved(distance * float(np.sin(a)), 0.0, distance * float(np.cos(a)))
        for g, a in zip(groups, angles, strict=True)
    ]
    return _Group(bodies=tuple(body for group in placed for body in group.bodies))


def _stacked(groups: Sequence[_Group]) -> _Group:
    low, high = groups[0].bounds
    step = float((high - low)[1]) * (1 - SINK / 3)
    placed = [group.moved(y=number * step) for number, group in enumerate(groups)]
    return _Group(bodies=tuple(body for group in placed for body in group.bodies))


def _fitted(group: _Group, x: float, z: float) -> _Group:
    """Made small enough for a place of these half sizes: sizes that nobody named are ours to choose."""
    low, high = group.bounds
    half = (high - low) / 2
    factor = min(1.0, x / float(half[0]), z / float(half[2]))
    # A tower on a table may overhang; it must not shrink to nothing.
    return group.scaled(max(factor, 0.4)) if factor < 1 else group


def _foot(group: _Group, share: float) -> tuple[float, float, float]:
    """Middle (x, z) and largest radius of the lowest part of a group's height."""
    low, high = group.bounds
    points = np.concatenate([body.mesh.vertices for body in group.bodies])
    lowest = points[points[:, 1] <= low[1] + share * (high - low)[1]]
    x, z = _centre(lowest.min(axis=0), lowest.max(axis=0))
    return x, z, float(np.hypot(lowest[:, 0] - x, lowest[:, 2] - z).max())


def _centre(low: F64, high: F64) -> tuple[float, float]:
    middle = (low + high) / 2
    return float(middle[0]), float(middle[2])


def _sink(group: _Group, round_below: bool) -> float:
    low, high = group.bounds
    return SINK * float((high - low)[1]) if round_below else 0.0


def _stretched(group: _Group, factors: F64) -> _Group:
    if (factors == 1).all():
        return group
    return _Group(
        bodies=tuple(
            replace(body, mesh=body.mesh.evolve(vertices=(body.mesh.vertices * factors).astype(np.float32)))
            for body in group.bodies
        )
    )


def _painted(piece: Piece, item: Item) -> _Body:
    """The piece in the colour and material that were said for it, or for its thing, or in its own."""
    paint = next((paint for part, paint in reversed(item.parts) if part == piece.part), None)
    if paint is None and piece.paint == MAIN:
        paint = Paint(colour=item.colours[0] if item.colours else None, material=item.material)
    elif paint is None and piece.paint != FIXED and len(item.colours) > 1:
        paint = Paint(colour=item.colours[1])
    finish = (paint.material if paint else None) or piece.finish
    if paint and paint.colour:
        colour = COLOURS[paint.colour]
    elif (paint and paint.material) or piece.colour is None:
        colour = MATERIALS[finish].colour
    else:
        colour = piece.colour
    return _Body(mesh=piece.mesh, name=piece.part, colour=colour, finish=finish)


def _part(body: _Body, number: int, styles: Sequence[Style]) -> Part:
    rgb = tuple(c / 255.0 for c in ImageColor.getrgb(body.colour)[:3])
    for style in styles:
        if style.uniform:
            rgb = tuple(c / 255.0 for c in ImageColor.getrgb(style.uniform)[:3])
        rgb = recoloured((rgb[0], rgb[1], rgb[2]), style)
    linear = srgb_to_linear(np.array(rgb))
    colours = np.broadcast_to(linear.astype(np.float32), body.mesh.vertices.shape).copy()
    finish, name = MATERIALS[body.finish], f"{number}-{body.name}"
    return Part(
        mesh=body.mesh.evolve(colours_linear=colours),
        name=name,
        material=Material(name=name, metallic=finish.metallic, roughness=finish.roughness),
    )


def with_creases(part: Part) -> Part:
    """The part with vertices split along its creases, so that viewers draw sharp edges sharp."""
    mesh = split_creases(part.mesh, corner_normals(part.mesh.vertices, part.mesh.faces))
    return Part(mesh=mesh, material=part.material, name=part.name)
