"""Tools, arms, toys and things to wear; long ones stand upright."""

import numpy as np

from ..shapes import arc, ball, box, cone, cylinder, extrude, lathe, moved, outline, stretched, torus, tube, turned
from .piece import Hollow, Piece, Thing, fixed, main, second

STEEL, WOOD, GOLD, DARK = "#b7bbc1", "#7a4d28", "#e3b341", "#2d2f33"


def _sword(n: int) -> list[Piece]:
    edge = [(-0.09, 0.5), (0.09, 0.5), (0.075, 1.62), (0, 1.85), (-0.075, 1.62)]
    ridge = [(-0.03, 0.5), (0.03, 0.5), (0.025, 1.6), (0, 1.75), (-0.025, 1.6)]
    return [
        main("blade", extrude(edge, 0.05), STEEL, "metal"),
        main("blade", extrude(ridge, 0.085), STEEL, "metal"),
        second("guard", moved(box(0.52, 0.08, 0.13), y=0.44), GOLD, "gold"),
        second("handle", moved(cylinder(0.055, 0.34, n // 2), y=0.12), WOOD, "wood"),
        second("pommel", moved(ball(0.085, 0.085, 0.085, n // 2), y=0.085), GOLD, "gold"),
    ]


def _hammer(n: int) -> list[Piece]:
    claw = extrude([(-0.1, 0.9), (-0.42, 0.8), (-0.46, 0.86), (-0.3, 0.98), (-0.1, 1.06)], 0.12)
    face = moved(turned(cylinder(0.11, 0.26, n // 2), "z", -90), x=0.08, y=0.98)
    return [
        main("head", moved(box(0.26, 0.2, 0.18), y=0.88), STEEL, "metal"),
        main("head", face, STEEL, "metal"),
        main("claw", claw, STEEL, "metal"),
        second("handle", tube([(0, 0, 0), (0, 0.3, 0), (0, 0.96, 0)], (0.075, 0.07, 0.055), n // 3), WOOD, "wood"),
    ]


def _axe(n: int) -> list[Piece]:
    curve = [(0.52 + 0.08 * float(np.cos(a)), 1.0 + 0.34 * float(np.sin(a))) for a in np.linspace(-1.3, 1.3, 14)]
    head = extrude([(-0.1, 0.92), (0.1, 0.9), *curve, (0.1, 1.12), (-0.1, 1.1)], 0.09)
    return [
        main("head", head, STEEL, "metal"),
        second("handle", tube([(0, 0, 0), (0, 0.6, 0), (0, 1.2, 0)], 0.06, n // 3), WOOD, "wood"),
    ]


def _shield(_: int) -> list[Piece]:
    side = [(0.45, 1.1), (0.45, 0.62), (0.36, 0.32), (0.2, 0.12), (0, 0.0)]
    shape = [*side, *[(-x, y) for x, y in side[-2::-1]]]
    small = [(0.84 * x, 0.09 + 0.84 * y) for x, y in shape]
    return [
        second("rim", extrude(shape, 0.1), STEEL, "metal"),
        main("face", extrude(small, 0.15), "#3f6fb0", "metal"),
        second("boss", moved(ball(0.15, 0.15, 0.12, 64), y=0.62, z=0.06), STEEL, "metal"),
    ]


def _bow(n: int) -> list[Piece]:
    a = np.radians(np.linspace(-62, 62, 30))
    limb = [(float(0.8 * np.cos(t) - 0.38), float(0.72 + 0.8 * np.sin(t)), 0.0) for t in a]
    return [
        main("bow", tube(limb, 0.04, n // 3), WOOD, "wood"),
        second("string", tube([limb[0], limb[-1]], 0.014, 12), "#efe6cf"),
        second("grip", tube([limb[13], limb[14], limb[15], limb[16]], 0.06, n // 3), DARK, "rubber"),
    ]


def _key(n: int) -> list[Piece]:
    ring = turned(moved(torus(0.2, 0.06, n), y=-0.06), "x", 90)
    return [
        main("key", moved(ring, y=0.92), GOLD, "gold"),
        main("key", tube([(0, 0, 0), (0, 0.35, 0), (0, 0.72, 0)], 0.055, n // 3), GOLD, "gold"),
        main("key", moved(box(0.2, 0.09, 0.07), x=0.12, y=0.03), GOLD, "gold"),
        main("key", moved(box(0.15, 0.08, 0.07), x=0.1, y=0.18), GOLD, "gold"),
    ]


def _spoon(n: int) -> list[Piece]:
    rim, deep = arc(1, 1, -90, 0, lift=0.0, n=n // 2), arc(0.86, 0.82, 0, -90, lift=0.0, n=n // 2)
    cup = lathe(outline(rim, deep), n // 2)
    cup = stretched(turned(stretched(cup, 0.19, 0.12, 0.26), "x", 90), 1, 1, 1)
    grip = [(0, 0, 0), (0, 0.4, 0.02), (0, 0.8, 0.0), (0, 0.96, 0.0)]
    return [
        main("bowl", moved(cup, y=1.18, z=0.0), STEEL, "metal"),
        main("handle", tube(grip, (0.055, 0.04, 0.035, 0.05), n // 3), STEEL, "metal"),
    ]


def _pencil(n: int) -> list[Piece]:
    return [
        main("body", moved(cylinder(0.1, 1.0, 6), y=0.28), "#f2c230", "wood"),
        fixed("wood", stretched(moved(cylinder(0.03, 0.24, 6, 0.1), y=0.06), 1, 1, 1), "#e2bd8a", "wood"),
        fixed("lead", lathe([(0, 0), (0.034, 0.08), (0, 0.08)], n // 4), DARK),
        fixed("ferrule", moved(cylinder(0.102, 0.1, n // 3), y=1.27), STEEL, "metal"),
        second("eraser", moved(cylinder(0.095, 0.12, n // 3), y=1.36), "#e88a96", "rubber"),
    ]


def _anvil(_: int) -> list[Piece]:
    body = [
        (-0.4, 0),
        (0.4, 0),
        (0.34, 0.14),
        (0.16, 0.22),
        (0.18, 0.42),
        (0.42, 0.5),
        (0.42, 0.72),
        (-0.46, 0.72),
        (-0.46, 0.56),
        (-0.18, 0.44),
        (-0.16, 0.22),
        (-0.34, 0.14),
    ]
    horn = moved(turned(cone(0.13, 0.46, 48), "z", -90), x=0.38, y=0.6)
    return [main("anvil", extrude(body, 0.36), "#55585d", "metal"), main("horn", horn, "#55585d", "metal")]


def _dumbbell(n: int) -> list[Piece]:
    bar = moved(turned(cylinder(0.06, 1.1, n // 2), "z", -90), x=-0.55, y=0.3)
    disc = moved(turned(cylinder(0.3, 0.14, n), "z", -90), y=0.3)
    small = moved(turned(cylinder(0.22, 0.1, n), "z", -90), y=0.3)
    return [
        second("bar", bar, STEEL, "metal"),
        *(main("weight", moved(disc, x=x), "#3a3a3d", "rubber") for x in (-0.45, 0.31)),
        *(main("weight", moved(small, x=x), "#3a3a3d", "rubber") for x in (-0.54, 0.44)),
    ]


def _bell(n: int) -> list[Piece]:
    shape = [(0, 0.1), (0.46, 0.1), (0.48, 0.16), (0.36, 0.34), (0.28, 0.62), (0.2, 0.78), (0, 0.84)]
    loop = turned(torus(0.07, 0.025, 64), "x", 90)
    return [
        main("bell", lathe(shape, n), GOLD, "gold"),
        main("loop", moved(loop, y=0.9), GOLD, "gold"),
        second("clapper", moved(ball(0.1, 0.1, 0.1, n // 2), y=0.09), "#55585d", "metal"),
    ]


def _crown(n: int) -> list[Piece]:
    band = lathe([(0, 0), (0.42, 0), (0.44, 0.3), (0.38, 0.3), (0.37, 0.05), (0, 0.05)], n)
    point = extrude([(-0.13, 0), (0.13, 0), (0, 0.36)], 0.05)
    spots = [360 * k / 8 for k in range(8)]
    return [
        main("crown", band, GOLD, "gold"),
        *(main("crown", moved(turned(moved(point, z=0.405), "y", a), y=0.22), GOLD, "gold") for a in spots),
        *(
            second(
                "jewel", moved(turned(moved(ball(0.06, 0.06, 0.04, 32), z=0.43), "y", a), y=0.15), "#c8324a", "glass"
            )
            for a in spots
        ),
        *(
            main("crown", moved(turned(moved(ball(0.05, 0.05, 0.05, 32), z=0.405), "y", a), y=0.57), GOLD, "gold")
            for a in spots
        ),
    ]


def _hat(n: int) -> list[Piece]:
    return [
        main("hat", cylinder(0.56, 0.05, n), "#26262a", "cloth"),
        main("hat", moved(cylinder(0.32, 0.6, n, 0.35), y=0.03), "#26262a", "cloth"),
        second("band", moved(cylinder(0.335, 0.12, n), y=0.05), "#c8323c", "cloth"),
    ]


def _ladder(n: int) -> list[Piece]:
    rails = [tube([(s * 0.26, 0, 0), (s * 0.22, 1.6, 0)], 0.04, n // 4) for s in (-1, 1)]
    rungs = [
        tube([(-0.27 + 0.015 * k, 0.2 + 0.24 * k, 0), (0.27 - 0.015 * k, 0.2 + 0.24 * k, 0)], 0.03, n // 4)
        for k in range(6)
    ]
    return [
        *(main("rail", rail, WOOD, "wood") for rail in rails),
        *(main("rung", rung, WOOD, "wood") for rung in rungs),
    ]


def _camera(n: int) -> list[Piece]:
    lens = [turned(cylinder(r, d, n), "x", 90) for r, d in ((0.27, 0.24), (0.22, 0.3))]
    return [
        main("body", box(1.0, 0.62, 0.36), "#303036"),
        second("top", moved(box(0.96, 0.1, 0.34), y=0.6), STEEL, "metal"),
        second("top", moved(box(0.34, 0.12, 0.3), y=0.68), STEEL, "metal"),
        fixed("lens", moved(lens[0], y=0.32, z=0.17), "#1d1d20"),
        fixed("lens", moved(lens[1], y=0.32, z=0.17), "#4f7cac", "glass"),
        fixed("button", moved(cylinder(0.06, 0.06, 32), x=-0.34, y=0.69), "#c8323c"),
    ]


def _guitar(n: int) -> list[Piece]:
    lower, upper = cylinder(0.42, 0.18, n), cylinder(0.31, 0.18, n)
    lie = [moved(turned(lower, "x", 90), y=0.42), moved(turned(upper, "x", 90), y=0.92)]
    hole = moved(turned(cylinder(0.13, 0.2, n // 2), "x", 90), y=0.74, z=-0.004)
    return [
        *(main("body", part, "#b5763c", "wood") for part in lie),
        main("body", moved(box(0.44, 0.4, 0.18), y=0.5, z=0.09), "#b5763c", "wood"),
        fixed("hole", hole, "#26262a"),
        second("neck", moved(box(0.1, 0.95, 0.06), y=1.0, z=0.19), "#5b3a1e", "wood"),
        second("head", moved(box(0.17, 0.24, 0.06), y=1.92, z=0.19), "#5b3a1e", "wood"),
        fixed("bridge", moved(box(0.24, 0.05, 0.05), y=0.3, z=0.2), "#5b3a1e", "wood"),
        *(fixed("string", moved(box(0.008, 1.66, 0.012), x=x, y=0.32, z=0.228), "#efe6cf") for x in (-0.03, 0, 0.03)),
    ]


def _bomb(n: int) -> list[Piece]:
    fuse = [(0, 0.86, 0), (0.02, 0.98, 0), (0.1, 1.06, 0), (0.2, 1.06, 0)]
    return [
        main("bomb", moved(ball(0.42, 0.42, 0.42, n), y=0.42), "#26262a", "metal"),
        main("cap", moved(cylinder(0.14, 0.12, n // 2), y=0.78), "#26262a", "metal"),
        second("fuse", tube(fuse, 0.03, 16), "#d9c9a3"),
        fixed("spark", moved(ball(0.08, 0.08, 0.08, 32), x=0.22, y=1.06), "#f7a928"),
    ]


def _magnet(n: int) -> list[Piece]:
    a = np.linspace(np.pi, 2 * np.pi, 30)
    bend = [(float(0.32 * np.cos(t)), float(0.44 + 0.32 * np.sin(t)), 0.0) for t in a]
    return [
        main("magnet", tube(bend, 0.12, n // 2), "#c8323c"),
        *(main("magnet", moved(cylinder(0.12, 0.36, n // 2), x=s * 0.32, y=0.42), "#c8323c") for s in (-1, 1)),
        *(second("tip", moved(cylinder(0.121, 0.18, n // 2), x=s * 0.32, y=0.76), STEEL, "metal") for s in (-1, 1)),
    ]


def _flag(n: int) -> list[Piece]:
    x = np.linspace(0, 0.9, 24)
    wave = [(float(v), float(0.06 * np.sin(7 * v))) for v in x]
    back = [(v, z - 0.03) for v, z in wave[::-1]]
    cloth = turned(extrude([*wave, *back], 0.56), "x", -90)
    return [
        main("flag", moved(cloth, x=0.03, y=1.28), "#c8323c", "cloth"),
        second("pole", cylinder(0.04, 1.7, n // 3), STEEL, "metal"),
        second("knob", moved(ball(0.07, 0.07, 0.07, 32), y=1.72), GOLD, "gold"),
        second("base", cylinder(0.22, 0.06, n // 2), STEEL, "metal"),
    ]


def _magnifier(n: int) -> list[Piece]:
    ring = turned(moved(torus(0.32, 0.05, n), y=-0.05), "x", 90)
    glass = moved(turned(cylinder(0.31, 0.03, n), "x", 90), z=-0.015)
    return [
        main("frame", moved(ring, y=1.0), STEEL, "metal"),
        fixed("glass", moved(glass, y=1.0), "#cfe6ea", "glass"),
        second("handle", tube([(0, 0, 0), (0, 0.3, 0), (0, 0.66, 0)], (0.075, 0.065, 0.045), n // 3), WOOD, "wood"),
    ]


THINGS: dict[str, Thing] = {
    "sword": Thing(pieces=_sword, size=1.5, words=("blade", "dagger")),
    "hammer": Thing(pieces=_hammer, size=1.0, words=("mallet",)),
    "axe": Thing(pieces=_axe, size=1.1, words=("ax", "hatchet"), plurals=("hatchets",)),
    "shield": Thing(pieces=_shield, size=1.1),
    "bow": Thing(pieces=_bow, size=1.3),
    "key": Thing(pieces=_key, size=0.7),
    "spoon": Thing(pieces=_spoon, size=0.8, words=("ladle",)),
    "pencil": Thing(pieces=_pencil, size=0.9, words=("crayon",)),
    "anvil": Thing(pieces=_anvil, size=0.9),
    "dumbbell": Thing(pieces=_dumbbell, size=0.9, words=("barbell",), round_below=True),
    "bell": Thing(pieces=_bell, size=0.7),
    "crown": Thing(pieces=_crown, size=0.7, words=("tiara",), hollow=Hollow(floor=0.05, rim=0.3, radius=0.34)),
    "hat": Thing(pieces=_hat, size=0.9, words=("top hat",)),
    "ladder": Thing(pieces=_ladder, size=1.7),
    "camera": Thing(pieces=_camera, size=0.8),
    "guitar": Thing(pieces=_guitar, size=1.4),
    "bomb": Thing(pieces=_bomb, size=0.8, round_below=True),
    "magnet": Thing(pieces=_magnet, size=0.7, words=("horseshoe",), round_below=True),
    "flag": Thing(pieces=_flag, size=1.5, words=("banner",)),
    "magnifier": Thing(pieces=_magnifier, size=0.9, words=("magnifying glass",), plurals=("magnifying glasses",)),
}
