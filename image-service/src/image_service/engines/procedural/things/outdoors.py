"""Buildings and vehicles; vehicles drive towards +Z."""

import numpy as np

from scratch3d.geometry.mesh import Mesh

from ..shapes import (
    arc,
    ball,
    box,
    cone,
    cylinder,
    extrude,
    lathe,
    moved,
    outline,
    prism,
    pyramid,
    stretched,
    torus,
    turned,
)
from .piece import Piece, Seat, Thing, fixed, main, second

STONE, ROOF, GLASS, WOOD, DARK = "#b9b2a3", "#b0413e", "#7fb2cc", "#7a4d28", "#2d2f33"


def _house(_: int) -> list[Piece]:
    panes = [(x, 0.42, 0.61) for x in (-0.34, 0.34)]
    return [
        main("wall", box(1.3, 0.9, 1.2), "#efe3c8"),
        second("roof", moved(prism(1.54, 0.72, 1.36), y=0.88), ROOF),
        second("chimney", moved(box(0.18, 0.5, 0.18), x=0.4, y=1.05, z=-0.2), "#9c5a43", "stone"),
        fixed("door", moved(box(0.26, 0.52, 0.06), z=0.6), WOOD, "wood"),
        *(fixed("window", moved(box(0.24, 0.26, 0.05), x=x, y=y, z=0.6), GLASS, "glass") for x, y, _ in panes),
        *(fixed("window", moved(box(0.05, 0.26, 0.3), x=s * 0.65, y=0.42), GLASS, "glass") for s in (-1, 1)),
    ]


def _battlements(radius: float, y: float, count: int) -> list[Mesh]:
    stone = moved(box(0.12, 0.14, 0.1), z=radius - 0.05)
    return [moved(turned(stone, "y", 360 * k / count), y=y) for k in range(count)]


def _tower(n: int) -> list[Piece]:
    body = lathe([(0, 0), (0.4, 0), (0.34, 0.2), (0.34, 1.5), (0.42, 1.62), (0.42, 1.78), (0, 1.78)], n)
    slit = box(0.08, 0.24, 0.1)
    return [
        main("wall", body, STONE, "stone"),
        *(main("battlement", m, STONE, "stone") for m in _battlements(0.42, 1.74, 10)),
        fixed("door", moved(box(0.24, 0.42, 0.14), z=0.32), WOOD, "wood"),
        *(fixed("window", moved(slit, y=y, z=0.31), DARK) for y in (0.72, 1.2)),
    ]


def _castle(n: int) -> list[Piece]:
    corners = [(a * 0.72, b * 0.6) for a in (-1, 1) for b in (-1, 1)]
    tower, roof = cylinder(0.24, 1.15, n // 2), cone(0.3, 0.5, n // 2)
    long, short = box(1.44, 0.7, 0.16), box(0.16, 0.7, 1.2)
    teeth = [moved(box(0.12, 0.12, 0.16), x=x, y=0.68, z=z) for x in (-0.36, -0.12, 0.12, 0.36) for z in (-0.6, 0.6)]
    return [
        *(main("wall", moved(long, z=z), STONE, "stone") for z in (-0.6, 0.6)),
        *(main("wall", moved(short, x=x), STONE, "stone") for x in (-0.72, 0.72)),
        *(main("battlement", tooth, STONE, "stone") for tooth in teeth),
        *(main("tower", moved(tower, x=x, z=z), STONE, "stone") for x, z in corners),
        *(second("roof", moved(roof, x=x, y=1.14, z=z), ROOF) for x, z in corners),
        main("keep", moved(box(0.66, 1.15, 0.6), z=-0.12), STONE, "stone"),
        second("roof", moved(pyramid(0.8, 0.5), y=1.14, z=-0.12), ROOF),
        fixed("gate", moved(box(0.34, 0.46, 0.2), z=0.6), WOOD, "wood"),
        *(fixed("window", moved(box(0.1, 0.2, 0.06), x=x, y=0.72, z=0.17), DARK) for x in (-0.16, 0.16)),
    ]


def _lighthouse(n: int) -> list[Piece]:
    bands = [(0.36 - 0.028 * k, 0.3 * k) for k in range(5)]
    rings = [moved(cylinder(r, 0.31, n, r - 0.028), y=y) for r, y in bands]
    return [
        fixed("rock", cylinder(0.52, 0.08, n, 0.44), "#7d7a74", "stone"),
        *(
            (main if k % 2 == 0 else second)("band", moved(ring, y=0.06), "#c8323c" if k % 2 == 0 else "#f4f1ea")
            for k, ring in enumerate(rings)
        ),
        fixed("balcony", moved(cylinder(0.3, 0.06, n), y=1.56), DARK, "metal"),
        fixed("light", moved(cylinder(0.16, 0.24, n), y=1.6), "#f7d774", "glass"),
        main("roof", moved(cone(0.24, 0.24, n), y=1.83), "#c8323c"),
    ]


def _tent(_: int) -> list[Piece]:
    return [
        main("canvas", prism(1.3, 0.95, 1.3), "#d9863d", "cloth"),
        second("door", moved(stretched(prism(0.5, 0.62, 0.05), 1, 1, 1), z=0.64), "#5b3a1e", "cloth"),
    ]


def _igloo(n: int) -> list[Piece]:
    dome = lathe(outline(np.array([0.0, 0.0]), arc(0.7, 0.66, 0, 90, lift=0.0, n=n)), n)
    ice = "#eaf4f9"
    profile = [(0.3 * float(np.cos(a)), 0.42 * float(np.sin(a))) for a in np.linspace(0, np.pi, 32)]
    return [
        main("dome", dome, ice, "plastic"),
        main("porch", moved(extrude(profile, 0.4), z=0.72), ice),
        fixed("door", moved(extrude([(0.7 * x, 0.8 * y) for x, y in profile], 0.06), z=0.91), "#35516b"),
    ]


def _windmill(n: int) -> list[Piece]:
    sail = moved(box(0.2, 0.72, 0.03), x=0.08, y=0.1)
    arm = moved(box(0.05, 0.85, 0.05))
    at = {"y": 1.28, "z": 0.46}
    return [
        main("tower", cylinder(0.46, 1.3, n, 0.3), "#efe3c8", "stone"),
        second("roof", moved(cone(0.36, 0.4, n), y=1.28), ROOF),
        *(fixed("sail", moved(turned(sail, "z", 90 * k + 20), **at), "#f4f1ea", "cloth") for k in range(4)),
        *(fixed("arm", moved(turned(arm, "z", 90 * k + 20), **at), WOOD, "wood") for k in range(4)),
        fixed("hub", moved(turned(cylinder(0.08, 0.32, 48), "x", 90), y=1.28, z=0.2), WOOD, "wood"),
        fixed("door", moved(box(0.24, 0.44, 0.12), z=0.4), WOOD, "wood"),
    ]


def _bridge(_: int) -> list[Piece]:
    arch = [(0.62 * float(np.cos(a)), 0.5 * float(np.sin(a))) for a in np.linspace(np.pi, 0, 28)]
    deck = [(1.1, 0.0), (1.1, 0.36), (0.55, 0.68), (0, 0.76), (-0.55, 0.68), (-1.1, 0.36), (-1.1, 0.0)]
    rail = [
        (1.1, 0.36),
        (1.1, 0.56),
        (0.55, 0.88),
        (0, 0.96),
        (-0.55, 0.88),
        (-1.1, 0.56),
        (-1.1, 0.36),
        (-0.55, 0.68),
        (0, 0.76),
        (0.55, 0.68),
    ]
    side = extrude(rail, 0.08)
    return [
        main("deck", extrude([*deck, *arch], 0.7), STONE, "stone"),
        *(main("rail", moved(side, z=s * 0.33), STONE, "stone") for s in (-1, 1)),
    ]


def _fence(_: int) -> list[Piece]:
    outline_ = [(-0.07, 0), (0.07, 0), (0.07, 0.62), (0, 0.74), (-0.07, 0.62)]
    board = extrude(outline_, 0.05)
    return [
        *(main("board", moved(board, x=x), "#f2efe8", "wood") for x in np.linspace(-0.7, 0.7, 6)),
        *(main("rail", moved(box(1.6, 0.08, 0.05), y=y, z=-0.04), "#f2efe8", "wood") for y in (0.16, 0.44)),
    ]


def _wheel(radius: float, width: float) -> tuple[Mesh, Mesh]:
    """A tyre and its hub, axle along x, centred."""
    tyre = moved(turned(cylinder(radius, width, 64), "z", -90), x=-width / 2)
    hub = moved(turned(cylinder(radius * 0.5, width * 1.12, 48), "z", -90), x=-width * 0.56)
    return tyre, hub


def _wheels(spots: list[tuple[float, float]], radius: float, width: float) -> list[Piece]:
    tyre, hub = _wheel(radius, width)
    return [
        *(fixed("wheel", moved(tyre, x=x, y=radius, z=z), DARK, "rubber") for x, z in spots),
        *(fixed("hub", moved(hub, x=x, y=radius, z=z), "#b7bbc1", "metal") for x, z in spots),
    ]


def _along(profile: list[tuple[float, float]], width: float) -> Mesh:
    """An outline of (z, y), seen from the right, made `width` wide."""
    return turned(extrude([(-z, y) for z, y in profile], width), "y", 90)


def _car(_: int) -> list[Piece]:
    body = [(-0.95, 0.18), (0.95, 0.18), (0.97, 0.42), (0.5, 0.52), (-0.9, 0.54), (-0.97, 0.4)]
    cabin = [(0.5, 0.5), (0.2, 0.82), (-0.52, 0.82), (-0.84, 0.5)]
    pane = [(0.38, 0.54), (0.16, 0.77), (-0.48, 0.77), (-0.68, 0.54)]
    front = moved(turned(box(0.66, 0.34, 0.04), "x", -43), y=0.53, z=0.475)
    lamps = [moved(turned(cylinder(0.08, 0.06, 48), "x", 90), x=s * 0.3, y=0.36, z=0.92) for s in (-1, 1)]
    return [
        main("body", _along(body, 0.86), "#c8323c", "metal"),
        main("cabin", _along(cabin, 0.76), "#c8323c", "metal"),
        fixed("window", _along(pane, 0.8), GLASS, "glass"),
        fixed("window", front, GLASS, "glass"),
        *(fixed("headlight", lamp, "#fbf3c4", "glass") for lamp in lamps),
        *_wheels([(s * 0.4, z) for s in (-1, 1) for z in (-0.56, 0.58)], 0.2, 0.16),
    ]


def _truck(_: int) -> list[Piece]:
    cab = [(0.42, 0.2), (1.1, 0.2), (1.1, 0.62), (0.98, 1.05), (0.42, 1.05)]
    pane = [(0.6, 0.66), (1.0, 0.66), (0.92, 0.98), (0.6, 0.98)]
    return [
        main("cab", _along(cab, 0.8), "#3f7d4f", "metal"),
        fixed("window", _along(pane, 0.84), GLASS, "glass"),
        fixed("window", moved(turned(box(0.66, 0.32, 0.03), "x", -16), y=0.67, z=1.085), GLASS, "glass"),
        second("trailer", moved(box(0.9, 1.0, 1.5), y=0.3, z=-0.42), "#e8e4da", "metal"),
        fixed("frame", moved(box(0.6, 0.14, 2.2), y=0.18, z=-0.05), DARK, "metal"),
        *_wheels([(s * 0.36, z) for s in (-1, 1) for z in (-0.9, -0.45, 0.76)], 0.2, 0.16),
    ]


def _bus(_: int) -> list[Piece]:
    side = moved(box(0.84, 0.3, 1.84), y=0.6, z=-0.02)
    return [
        main("body", moved(box(0.8, 0.86, 2.1), y=0.18), "#e8b23a", "metal"),
        fixed("window", side, GLASS, "glass"),
        fixed("window", moved(box(0.7, 0.36, 0.04), y=0.56, z=1.04), GLASS, "glass"),
        second("stripe", moved(box(0.83, 0.06, 2.13), y=0.42), "#f4f1ea"),
        *_wheels([(s * 0.36, z) for s in (-1, 1) for z in (-0.66, 0.66)], 0.19, 0.14),
    ]


def _train(n: int) -> list[Piece]:
    boiler = moved(turned(cylinder(0.32, 1.2, n), "x", 90), y=0.62, z=-0.2)
    return [
        main("boiler", boiler, "#2f6b4f", "metal"),
        main("cab", moved(box(0.8, 0.92, 0.6), y=0.28, z=-0.5), "#2f6b4f", "metal"),
        second("roof", moved(box(0.92, 0.08, 0.74), y=1.18, z=-0.5), "#c8323c", "metal"),
        fixed("window", moved(box(0.84, 0.28, 0.32), y=0.78, z=-0.5), GLASS, "glass"),
        second(
            "chimney",
            moved(lathe([(0, 0), (0.1, 0), (0.1, 0.3), (0.17, 0.44), (0, 0.44)], n // 2), y=0.88, z=0.72),
            "#c8323c",
            "metal",
        ),
        fixed("frame", moved(box(0.62, 0.12, 1.9), y=0.24, z=0.1), DARK, "metal"),
        fixed("buffer", moved(prism(0.7, 0.3, 0.3), z=1.05, y=0.04), DARK, "metal"),
        *_wheels([(s * 0.32, z) for s in (-1, 1) for z in (-0.56, 0.1, 0.68)], 0.22, 0.1),
    ]


def _boat(n: int) -> list[Piece]:
    z = np.linspace(-0.8, 0.95, 40)
    half = (
        0.4 * np.sqrt(np.clip(1 - np.clip((z - 0.05) / 0.9, 0, 1) ** 2.2, 0, 1)) * np.clip(0.8 + 0.2 * (z + 0.8), 0, 1)
    )
    rim = [(float(x), float(v)) for x, v in zip(half, z, strict=True)]
    plan = [*rim, *[(-x, v) for x, v in rim[-2::-1]]]
    hull = extrude([(x, -v) for x, v in plan], 0.44)
    hull = turned(hull, "x", -90)
    low = hull.vertices[:, 1] < 0
    narrowed = hull.vertices.copy()
    narrowed[low, 0] *= 0.55
    narrowed[low, 2] = narrowed[low, 2] * 0.86 - 0.04
    hull = moved(hull.evolve(vertices=narrowed), y=0.22)
    return [
        main("hull", hull, "#a8703a", "wood"),
        second("cabin", moved(box(0.42, 0.34, 0.56), y=0.42, z=-0.3), "#f2efe8"),
        fixed("window", moved(box(0.44, 0.14, 0.36), y=0.54, z=-0.3), GLASS, "glass"),
        fixed("funnel", moved(cylinder(0.09, 0.3, n // 2), y=0.74, z=-0.38), "#c8323c"),
    ]


def _sailboat(n: int) -> list[Piece]:
    hull = next(piece for piece in _boat(n) if piece.part == "hull")
    mainsail = turned(extrude([(0.06, 0.62), (0.72, 0.62), (0.06, 1.72)], 0.03), "y", 90)
    jib = turned(extrude([(-0.06, 0.62), (-0.62, 0.62), (-0.06, 1.5)], 0.03), "y", 90)
    return [
        hull,
        fixed("mast", moved(cylinder(0.035, 1.5, 32), y=0.4), WOOD, "wood"),
        second("sail", mainsail, "#f4f1ea", "cloth"),
        second("sail", jib, "#f4f1ea", "cloth"),
    ]


def _plane(n: int) -> list[Piece]:
    body = lathe([(0, -1.0), (0.05, -0.98), (0.15, -0.5), (0.2, 0.1), (0.18, 0.6), (0.1, 0.88), (0, 0.96)], n)
    wing = [
        (-1.1, -0.2),
        (-0.15, 0.28),
        (0.15, 0.28),
        (1.1, -0.2),
        (1.1, -0.36),
        (0.15, -0.16),
        (-0.15, -0.16),
        (-1.1, -0.36),
    ]
    tail = [(-0.42, -0.98), (-0.05, -0.74), (0.05, -0.74), (0.42, -0.98)]
    fin = [(-0.66, 0.1), (-0.9, 0.5), (-1.02, 0.5), (-0.96, 0.1)]
    return [
        main("body", moved(turned(body, "x", 90), y=0.3), "#f4f1ea", "metal"),
        second("wing", moved(turned(extrude(wing, 0.05), "x", 90), y=0.26), "#3f6fb0", "metal"),
        second("tail", moved(turned(extrude(tail, 0.04), "x", 90), y=0.36), "#3f6fb0", "metal"),
        second("fin", moved(_along(fin, 0.05), y=0.28), "#3f6fb0", "metal"),
        fixed("window", moved(ball(0.12, 0.1, 0.2, n // 2), y=0.42, z=0.5), GLASS, "glass"),
        *(
            fixed("engine", moved(turned(cylinder(0.08, 0.34, 48), "x", 90), x=s * 0.5, y=0.18, z=-0.06), DARK, "metal")
            for s in (-1, 1)
        ),
    ]


def _rocket(n: int) -> list[Piece]:
    body = [(0, 0.16), (0.2, 0.16), (0.3, 0.5), (0.32, 0.9), (0.26, 1.3), (0.18, 1.5), (0, 1.5)]
    nose = [(0, 1.48), (0.19, 1.48), (0.1, 1.72), (0, 1.9)]
    fin = extrude([(0.18, 0.62), (0.56, 0.2), (0.56, 0.0), (0.16, 0.26)], 0.06)
    return [
        main("body", lathe(body, n), "#f4f1ea", "metal"),
        second("nose", lathe(nose, n), "#c8323c", "metal"),
        *(second("fin", turned(fin, "y", 90 * k + 45), "#c8323c", "metal") for k in range(4)),
        second("band", moved(cylinder(0.325, 0.08, n), y=0.56), "#c8323c", "metal"),
        fixed("window", moved(turned(cylinder(0.11, 0.12, 64), "x", 90), y=1.02, z=0.22), GLASS, "glass"),
        fixed("nozzle", moved(cylinder(0.2, 0.16, n, 0.14), y=0.02), DARK, "metal"),
    ]


def _submarine(n: int) -> list[Piece]:
    screw = moved(box(0.06, 0.5, 0.03), y=-0.25, z=-1.08)
    return [
        main("hull", moved(ball(0.36, 0.36, 1.0, n), y=0.42), "#e8b23a", "metal"),
        main("tower", moved(cylinder(0.2, 0.4, n), y=0.66), "#e8b23a", "metal"),
        fixed("periscope", moved(cylinder(0.04, 0.3, 32), y=1.04), DARK, "metal"),
        fixed("periscope", moved(box(0.07, 0.07, 0.16), y=1.3, z=0.04), DARK, "metal"),
        *(
            fixed(
                "window",
                moved(turned(cylinder(0.09, 0.1, 48), "z", -90), x=s * 0.28 - 0.05, y=0.46, z=z),
                GLASS,
                "glass",
            )
            for s in (-1, 1)
            for z in (-0.2, 0.14, 0.46)
        ),
        *(second("propeller", moved(turned(screw, "z", 60 * k), y=0.42), "#b7bbc1", "metal") for k in range(3)),
        second("propeller", moved(turned(cylinder(0.06, 0.2, 32), "x", 90), y=0.42, z=-1.12), "#b7bbc1", "metal"),
    ]


def _balloon(n: int) -> list[Piece]:
    taper = np.array([(0.0, 0.6), (0.14, 0.6), (0.3, 0.78), (0.46, 0.98)])
    envelope = outline(taper, arc(0.56, 0.56, -18, 90, lift=1.26, n=n))
    rope = [moved(box(0.02, 0.4, 0.02), x=a * 0.12, y=0.24, z=b * 0.12) for a in (-1, 1) for b in (-1, 1)]
    return [
        main("balloon", lathe(envelope, n), "#c8323c", "cloth"),
        *(fixed("rope", r, WOOD) for r in rope),
        fixed("basket", box(0.34, 0.26, 0.34), "#b98a4e", "wood"),
    ]


def _ufo(n: int) -> list[Piece]:
    disc = outline(np.array([0.0, 0.1]), arc(0.75, 0.16, -80, 80, lift=0.28, n=n), np.array([0.0, 0.44]))
    lights = [(0.58 * np.sin(a), 0.58 * np.cos(a)) for a in np.linspace(0, 2 * np.pi, 8, endpoint=False)]
    return [
        main("disc", lathe(disc, n), "#a9adb3", "metal"),
        second("dome", moved(ball(0.34, 0.32, 0.34, n), y=0.42), "#8fd0b6", "glass"),
        *(fixed("light", moved(ball(0.06, 0.06, 0.06, 32), x=x, y=0.39, z=z), "#f7d774") for x, z in lights),
        *(
            fixed("leg", turned(moved(turned(cylinder(0.03, 0.26, 24), "x", -20), z=0.44), "y", 120 * k), DARK)
            for k in (0, 1, 2)
        ),
    ]


def _wheel_alone(_: int) -> list[Piece]:
    spokes = [turned(box(0.06, 0.42, 0.06), "z", 60 * k) for k in range(6)]
    rim = turned(moved(torus(0.44, 0.08, 128), y=-0.08), "x", 90)
    return [
        main("tyre", moved(rim, y=0.52), DARK, "rubber"),
        *(second("spoke", moved(s, y=0.52), "#b7bbc1", "metal") for s in spokes),
        second("hub", moved(turned(moved(cylinder(0.1, 0.2, 64), y=-0.1), "x", 90), y=0.52), "#b7bbc1", "metal"),
    ]


THINGS: dict[str, Thing] = {
    "house": Thing(pieces=_house, size=2.1, words=("home", "cottage", "cabin", "hut", "barn")),
    "castle": Thing(pieces=_castle, size=2.4, words=("fortress", "palace")),
    "tower": Thing(pieces=_tower, size=2.2, seat=Seat(y=1.78, x=0.25, z=0.25)),
    "lighthouse": Thing(pieces=_lighthouse, size=2.4, words=("light house",)),
    "tent": Thing(pieces=_tent, size=1.4),
    "igloo": Thing(pieces=_igloo, size=1.4, words=("iglu",), round_above=True),
    "windmill": Thing(pieces=_windmill, size=2.3, words=("mill",)),
    "bridge": Thing(pieces=_bridge, size=2.2, room=0.42),
    "fence": Thing(pieces=_fence, size=1.6),
    "car": Thing(pieces=_car, size=1.8, words=("automobile", "sports car", "race car", "racing car", "taxi")),
    "truck": Thing(pieces=_truck, size=2.2, words=("lorry", "van")),
    "bus": Thing(pieces=_bus, size=2.1, words=("school bus",), plurals=("buses", "school buses")),
    "train": Thing(pieces=_train, size=2.1, words=("locomotive", "steam engine", "steam train")),
    "boat": Thing(pieces=_boat, size=1.7, words=("ship", "motorboat", "fishing boat")),
    "sailboat": Thing(pieces=_sailboat, size=1.9, words=("sailing boat", "sail boat", "sailing ship", "yacht")),
    "plane": Thing(pieces=_plane, size=2.0, words=("airplane", "aeroplane", "aircraft", "jet")),
    "rocket": Thing(pieces=_rocket, size=2.0, words=("spaceship", "space ship", "rocket ship", "spacecraft")),
    "submarine": Thing(pieces=_submarine, size=2.0, words=("sub",)),
    "balloon": Thing(pieces=_balloon, size=2.0, words=("hot air balloon", "air balloon")),
    "ufo": Thing(pieces=_ufo, size=1.5, words=("flying saucer",), round_above=True),
    "wheel": Thing(pieces=_wheel_alone, size=1.0, words=("tyre", "tire")),
}
