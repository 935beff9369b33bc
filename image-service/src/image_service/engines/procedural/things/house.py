"""Furniture, vessels and other things of the house."""

import numpy as np

from ..shapes import arc, ball, box, cone, cylinder, extrude, lathe, moved, outline, stretched, torus, tube, turned
from .piece import Hollow, Piece, Seat, Thing, fixed, main, second


def _mug(n: int) -> list[Piece]:
    angle = np.radians(np.linspace(-78, 78, 15))
    grip = [(0.36 + 0.27 * np.cos(a), 0.47 + 0.27 * np.sin(a), 0.0) for a in angle]
    cup = lathe([(0, 0), (0.4, 0), (0.42, 0.04), (0.42, 0.95), (0.36, 0.95), (0.36, 0.08), (0, 0.08)], n)
    return [main("cup", cup, finish="ceramic"), main("handle", tube(grip, 0.05, 16), finish="ceramic")]


def _bowl(n: int) -> list[Piece]:
    outer, inner = arc(0.6, 0.5, -90, 0, lift=0.53, n=n), arc(0.54, 0.44, 0, -90, lift=0.53, n=n)
    outer[:, 1] = np.maximum(outer[:, 1], 0.06)
    foot = np.array([(0, 0), (0.24, 0), (0.24, 0.06)])
    return [main("bowl", lathe(outline(foot, outer[outer[:, 0] > 0.24], inner), n), finish="ceramic")]


def _plate(n: int) -> list[Piece]:
    rim = [(0, 0), (0.3, 0), (0.5, 0.07), (0.5, 0.1), (0.3, 0.035), (0, 0.035)]
    return [main("plate", lathe(rim, n), finish="ceramic")]


def _bottle(n: int) -> list[Piece]:
    shoulder = arc(0.15, 0.16, 0, 90, lift=0.62, n=n) + np.array([0.07, 0.0])
    glass = lathe(outline(np.array([(0, 0), (0.22, 0)]), shoulder, np.array([(0.07, 0.98), (0, 0.98)])), n)
    label = lathe([(0, 0.2), (0.226, 0.2), (0.226, 0.48), (0, 0.48)], n)
    cork = moved(cylinder(0.055, 0.1, n), y=0.96)
    return [
        main("bottle", glass, "#2e6b45", "glass"),
        second("label", label, "#efe6cf"),
        fixed("cork", cork, "#b98a55", "wood"),
    ]


def _vase(n: int) -> list[Piece]:
    t = np.linspace(0, 1, 40)
    radius = 0.16 + 0.17 * np.sin(np.pi * np.clip(t * 1.15, 0, 1)) ** 1.2 + 0.05 * np.clip(t - 0.85, 0, 1) / 0.15
    outer = np.stack([radius, t], axis=1)
    inner = np.stack([radius - 0.03, t], axis=1)[:3:-1]
    return [main("vase", lathe(outline(np.array([0.0, 0.0]), outer, inner, np.array([0, 0.1])), n), finish="ceramic")]


def _goblet(n: int) -> list[Piece]:
    cup = outline(
        np.array([(0, 0), (0.28, 0), (0.28, 0.03), (0.05, 0.08), (0.045, 0.42)]),
        arc(0.27, 0.24, -80, 0, lift=0.68, n=n),
        np.array([(0.24, 0.95), (0.21, 0.95), (0.23, 0.68)]),
        arc(0.23, 0.2, 0, -90, lift=0.68, n=n),
    )
    return [main("goblet", lathe(cup, n), finish="gold")]


def _teapot(n: int) -> list[Piece]:
    body = stretched(ball(0.42, 0.42, 0.42, n), 1, 0.86, 1)
    grip = [(-0.3 - 0.3 * np.sin(a), 0.4 + 0.2 * np.cos(a), 0) for a in np.linspace(0.1, np.pi - 0.1, 14)]
    spout = [(0.28, 0.24, 0), (0.45, 0.3, 0), (0.56, 0.46, 0), (0.66, 0.62, 0)]
    lid = lathe(outline(np.array([0.0, 0.0]), arc(0.22, 0.1, 0, 90, lift=0.0, n=n)), n)
    return [
        main("pot", moved(body, y=0.36), finish="ceramic"),
        main("handle", tube(grip, 0.045, 16), finish="ceramic"),
        main("spout", tube(spout, (0.1, 0.085, 0.06, 0.045), 20), finish="ceramic"),
        second("lid", moved(lid, y=0.66), "#f2efe8", "ceramic"),
        second("knob", moved(ball(0.055, 0.055, 0.055, n // 2), y=0.79), "#f2efe8", "ceramic"),
    ]


def _pot(n: int) -> list[Piece]:
    pot = [(0, 0), (0.32, 0), (0.42, 0.62), (0.48, 0.62), (0.48, 0.8), (0.4, 0.8), (0.36, 0.6), (0.28, 0.1), (0, 0.1)]
    return [main("pot", lathe(pot, n), "#b5623c", "stone")]


def _bucket(n: int) -> list[Piece]:
    pail = [(0, 0), (0.34, 0), (0.45, 0.8), (0.47, 0.8), (0.47, 0.84), (0.42, 0.84), (0.31, 0.05), (0, 0.05)]
    bail = [(0.45 * np.cos(a), 0.8 + 0.42 * np.sin(a), 0.0) for a in np.linspace(0, np.pi, 24)]
    return [main("bucket", lathe(pail, n), finish="metal"), second("handle", tube(bail, 0.025, 12), "#55585d", "metal")]


def _basket(n: int) -> list[Piece]:
    weave = [(0, 0), (0.4, 0), (0.52, 0.42), (0.54, 0.42), (0.54, 0.5), (0.47, 0.5), (0.37, 0.06), (0, 0.06)]
    bail = [(0.5 * np.cos(a), 0.46 + 0.42 * np.sin(a), 0.0) for a in np.linspace(0, np.pi, 24)]
    return [
        main("basket", lathe(weave, n), "#b98a4e", "wood"),
        main("handle", tube(bail, 0.035, 12), "#a57a40", "wood"),
    ]


def _legs(x: float, z: float, height: float, side: float) -> list[Piece]:
    leg = box(side, height, side)
    return [main("leg", moved(leg, x=a * x, z=b * z), finish="wood") for a in (-1, 1) for b in (-1, 1)]


def _table(_: int) -> list[Piece]:
    return [main("top", moved(box(1.5, 0.08, 0.9), y=0.72), finish="wood"), *_legs(0.68, 0.38, 0.72, 0.09)]


def _round_table(n: int) -> list[Piece]:
    return [
        main("top", moved(cylinder(0.65, 0.08, n), y=0.72), finish="wood"),
        main("leg", lathe([(0, 0.06), (0.34, 0.06), (0.09, 0.16), (0.07, 0.74), (0, 0.74)], n), finish="wood"),
        main("foot", cylinder(0.38, 0.08, n), finish="wood"),
    ]


def _chair(_: int) -> list[Piece]:
    bars = [moved(box(0.07, 0.62, 0.07), x=s * 0.25, y=0.5, z=-0.25) for s in (-1, 1)]
    return [
        main("seat", moved(box(0.58, 0.08, 0.58), y=0.44), finish="wood"),
        *_legs(0.25, 0.25, 0.44, 0.07),
        *(main("back", bar, finish="wood") for bar in bars),
        main("back", moved(box(0.5, 0.24, 0.06), y=0.84, z=-0.25), finish="wood"),
    ]


def _stool(n: int) -> list[Piece]:
    spread = [(0.17, 0.17), (-0.17, 0.17), (0.17, -0.17), (-0.17, -0.17)]
    legs = [tube([(x * 1.5, 0, z * 1.5), (x, 0.62, z)], 0.04, 16) for x, z in spread]
    top = moved(cylinder(0.3, 0.08, n), y=0.6)
    return [main("seat", top, finish="wood"), *(main("leg", leg, finish="wood") for leg in legs)]


def _bench(_: int) -> list[Piece]:
    return [
        main("seat", moved(box(1.4, 0.07, 0.45), y=0.4), finish="wood"),
        *_legs(0.6, 0.16, 0.4, 0.08),
        *(main("back", moved(box(0.06, 0.5, 0.06), x=s * 0.6, y=0.42, z=-0.19), finish="wood") for s in (-1, 1)),
        *(main("back", moved(box(1.4, 0.12, 0.05), y=y, z=-0.19), finish="wood") for y in (0.62, 0.82)),
    ]


def _bed(_: int) -> list[Piece]:
    return [
        second("frame", moved(box(1.1, 0.16, 1.9), y=0.16), "#8a5a30", "wood"),
        *(
            second("leg", moved(box(0.1, 0.18, 0.1), x=a * 0.48, z=b * 0.88), "#8a5a30", "wood")
            for a in (-1, 1)
            for b in (-1, 1)
        ),
        second("headboard", moved(box(1.1, 0.75, 0.08), y=0.16, z=-0.93), "#8a5a30", "wood"),
        main("blanket", moved(box(1.06, 0.22, 1.4), y=0.3, z=0.22), "#4f7cac", "cloth"),
        fixed("mattress", moved(box(1.02, 0.18, 1.8), y=0.3), "#f2efe8", "cloth"),
        fixed("pillow", moved(ball(0.36, 0.1, 0.2, 48), y=0.52, z=-0.66), "#ffffff", "cloth"),
    ]


def _sofa(n: int) -> list[Piece]:
    arm = moved(turned(cylinder(0.14, 0.8, n), "x", 90), z=-0.4)
    return [
        main("seat", moved(box(1.5, 0.34, 0.8), y=0.08), "#7a4b6b", "cloth"),
        main("back", moved(box(1.5, 0.55, 0.22), y=0.3, z=-0.32), "#7a4b6b", "cloth"),
        *(main("arm", moved(box(0.2, 0.5, 0.8), x=s * 0.76, y=0.08), "#7a4b6b", "cloth") for s in (-1, 1)),
        *(main("arm", moved(arm, x=s * 0.76, y=0.58), "#7a4b6b", "cloth") for s in (-1, 1)),
        *(
            second("cushion", moved(box(0.6, 0.12, 0.56), x=s * 0.32, y=0.4, z=0.1), "#95658a", "cloth")
            for s in (-1, 1)
        ),
        *(
            fixed("leg", moved(box(0.08, 0.1, 0.08), x=a * 0.7, z=b * 0.33), "#4a3220", "wood")
            for a in (-1, 1)
            for b in (-1, 1)
        ),
    ]


def _shelf(_: int) -> list[Piece]:
    boards = [main("board", moved(box(0.9, 0.05, 0.34), y=y), finish="wood") for y in (0.04, 0.42, 0.8, 1.18, 1.5)]
    sides = [main("side", moved(box(0.05, 1.55, 0.34), x=s * 0.45), finish="wood") for s in (-1, 1)]
    return [*boards, *sides, main("back", moved(box(0.9, 1.5, 0.03), y=0.02, z=-0.155), finish="wood")]


def _lamp(n: int) -> list[Piece]:
    shade = lathe([(0, 0.68), (0.34, 0.68), (0.2, 1.06), (0, 1.06)], n)
    return [
        second("base", cylinder(0.24, 0.06, n), "#6b6e73", "metal"),
        second("stem", cylinder(0.035, 0.72, n // 2), "#6b6e73", "metal"),
        main("shade", shade, "#f3d98b", "cloth"),
    ]


def _candle(n: int) -> list[Piece]:
    flame = lathe([(0, 0), (0.05, 0.06), (0.055, 0.11), (0.03, 0.2), (0, 0.27)], n // 2)
    return [
        main("candle", cylinder(0.16, 0.7, n), "#efe4c8"),
        fixed("wick", moved(cylinder(0.014, 0.08, 12), y=0.69), "#3a3a3d"),
        fixed("flame", moved(flame, y=0.73), "#f7a928"),
    ]


def _clock(n: int) -> list[Piece]:
    face = turned(cylinder(0.46, 0.1, n), "x", 90)
    rim = turned(moved(torus(0.46, 0.06, n), y=-0.06), "x", 90)
    hands = [
        turned(moved(box(0.035, 0.26, 0.03), y=-0.02), "z", -55),
        turned(moved(box(0.03, 0.36, 0.03), y=-0.02), "z", 40),
    ]
    marks = [turned(moved(box(0.03, 0.07, 0.03), y=0.34), "z", 30 * k) for k in range(12)]
    return [
        second("face", moved(face, y=0.52, z=-0.05), "#f6f2e6"),
        main("frame", moved(rim, y=0.52), finish="wood"),
        *(fixed("hand", moved(hand, y=0.52, z=0.06), "#26262a") for hand in hands),
        *(fixed("mark", moved(mark, y=0.52, z=0.055), "#26262a") for mark in marks),
    ]


def _book(_: int) -> list[Piece]:
    cover = box(0.74, 0.03, 1.0)
    return [
        main("cover", cover, "#8c2f39"),
        main("cover", moved(cover, y=0.17), "#8c2f39"),
        main("spine", moved(box(0.03, 0.2, 1.0), x=-0.37), "#8c2f39"),
        second("page", moved(box(0.7, 0.15, 0.94), x=-0.01, y=0.025), "#f4efe0"),
    ]


def _umbrella(n: int) -> list[Piece]:
    under = [(float(r), float(0.95 - 0.13 * (r / 0.62) ** 2)) for r in np.linspace(0.0, 0.6, 12)]
    canopy = lathe([*under, *outline(arc(0.62, 0.4, 0, 90, lift=0.8, n=n))], n)
    hook = [(0, 0.9, 0), (0, 0.16, 0), (0.02, 0.08, 0), (0.09, 0.04, 0), (0.16, 0.08, 0), (0.17, 0.15, 0)]
    return [
        main("canopy", canopy),
        second("handle", tube(hook, 0.03, 16), "#7a4d28", "wood"),
        second("tip", moved(cone(0.025, 0.1, 24), y=1.18), "#7a4d28", "wood"),
    ]


def _gift(_: int) -> list[Piece]:
    bow = [turned(moved(stretched(torus(0.14, 0.035, 48), 1, 1, 0.75), x=0.15), "z", 30)]
    loops = [moved(turned(bow[0], "y", 180 * k), y=0.86) for k in (0, 1)]
    return [
        main("box", box(0.9, 0.72, 0.9), "#c8324a"),
        main("lid", moved(box(0.98, 0.16, 0.98), y=0.68), "#c8324a"),
        second("ribbon", moved(box(0.16, 0.86, 1.0), y=-0.005), "#f4d35e"),
        second("ribbon", moved(box(1.0, 0.86, 0.16), y=-0.005), "#f4d35e"),
        *(second("bow", loop, "#f4d35e") for loop in loops),
    ]


def _chest(n: int) -> list[Piece]:
    half = arc(0.36, 0.3, 0, 90, lift=0.5, n=n)
    profile = [(float(r), float(y)) for r, y in half] + [(-float(r), float(y)) for r, y in half[-2::-1]]
    lid = turned(extrude(profile, 1.1), "y", 90)
    bands = [
        turned(moved(extrude([(1.03 * x, 0.5 + 1.04 * (y - 0.5)) for x, y in profile], 0.1), z=z), "y", 90)
        for z in (-0.38, 0.38)
    ]
    return [
        main("chest", box(1.1, 0.5, 0.72), "#8a5a30", "wood"),
        main("lid", lid, "#8a5a30", "wood"),
        *(second("band", band, "#e3b341", "gold") for band in bands),
        *(second("band", moved(box(0.1, 0.5, 0.76), x=x), "#e3b341", "gold") for x in (-0.38, 0.38)),
        second("lock", moved(box(0.16, 0.2, 0.06), y=0.4, z=0.37), "#e3b341", "gold"),
    ]


def _television(_: int) -> list[Piece]:
    return [
        main("frame", moved(box(1.4, 0.84, 0.08), y=0.16), "#26262a"),
        fixed("screen", moved(box(1.3, 0.74, 0.02), y=0.21, z=0.04), "#3e5c76", "glass"),
        main("stand", moved(box(0.12, 0.2, 0.08)), "#26262a"),
        main("stand", box(0.6, 0.04, 0.3), "#26262a"),
    ]


def _laptop(_: int) -> list[Piece]:
    screen = moved(box(1.0, 0.66, 0.04), y=0.0)
    glass = moved(box(0.9, 0.56, 0.02), y=0.05, z=0.02)
    return [
        main("base", box(1.0, 0.05, 0.7), "#a9adb3", "metal"),
        main("lid", moved(turned(screen, "x", -15), y=0.03, z=-0.33), "#a9adb3", "metal"),
        fixed("screen", moved(turned(glass, "x", -15), y=0.03, z=-0.33), "#2b4162", "glass"),
        fixed("key", moved(box(0.84, 0.02, 0.34), y=0.04, z=-0.08), "#303036"),
    ]


def _phone(_: int) -> list[Piece]:
    return [
        main("body", moved(box(0.5, 1.0, 0.06)), "#26262a"),
        fixed("screen", moved(box(0.44, 0.9, 0.02), y=0.05, z=0.03), "#4f7cac", "glass"),
        fixed("camera", moved(turned(cylinder(0.05, 0.03, 48), "x", -90), x=-0.15, y=0.88, z=-0.025), "#55585d"),
    ]


THINGS: dict[str, Thing] = {
    "mug": Thing(
        pieces=_mug,
        size=0.6,
        words=("cup", "coffee mug", "coffee cup", "teacup", "tea cup"),
        hollow=Hollow(floor=0.08, rim=0.95, radius=0.36),
    ),
    "bowl": Thing(
        pieces=_bowl, size=0.8, words=("dish",), plurals=("dishes",), hollow=Hollow(floor=0.12, rim=0.53, radius=0.5)
    ),
    "plate": Thing(pieces=_plate, size=0.9, seat=Seat(y=0.04, x=0.3, z=0.3)),
    "bottle": Thing(pieces=_bottle, size=0.9),
    "vase": Thing(pieces=_vase, size=0.9, hollow=Hollow(floor=0.1, rim=1.0, radius=0.12)),
    "goblet": Thing(
        pieces=_goblet,
        size=0.7,
        words=("chalice", "trophy", "wine glass", "glass"),
        plurals=("trophies", "wine glasses"),
        hollow=Hollow(floor=0.5, rim=0.95, radius=0.2),
    ),
    "teapot": Thing(pieces=_teapot, size=0.8, words=("kettle",)),
    "flowerpot": Thing(
        pieces=_pot, size=0.7, words=("pot", "flower pot", "planter"), hollow=Hollow(floor=0.3, rim=0.8, radius=0.36)
    ),
    "bucket": Thing(pieces=_bucket, size=0.8, words=("pail",), hollow=Hollow(floor=0.05, rim=0.84, radius=0.38)),
    "basket": Thing(pieces=_basket, size=0.9, hollow=Hollow(floor=0.06, rim=0.5, radius=0.42)),
    "table": Thing(pieces=_table, size=1.7, words=("desk",), seat=Seat(y=0.8, x=0.7, z=0.4), room=0.72),
    "round table": Thing(pieces=_round_table, size=1.4, seat=Seat(y=0.8, x=0.5, z=0.5)),
    "chair": Thing(
        pieces=_chair, size=1.3, words=("throne",), seat=Seat(y=0.52, x=0.25, z=0.24, forward=0.02), room=0.44
    ),
    "stool": Thing(pieces=_stool, size=0.9, seat=Seat(y=0.68, x=0.24, z=0.24), room=0.5),
    "bench": Thing(
        pieces=_bench, size=1.7, plurals=("benches",), seat=Seat(y=0.47, x=0.62, z=0.18, forward=0.03), room=0.4
    ),
    "bed": Thing(pieces=_bed, size=2.0, seat=Seat(y=0.52, x=0.45, z=0.6, forward=0.22)),
    "sofa": Thing(
        pieces=_sofa,
        size=1.8,
        words=("couch", "armchair"),
        plurals=("couches",),
        seat=Seat(y=0.52, x=0.58, z=0.26, forward=0.1),
    ),
    "bookshelf": Thing(pieces=_shelf, size=1.7, words=("shelf", "bookcase"), plurals=("shelves", "bookshelves")),
    "lamp": Thing(pieces=_lamp, size=1.0, words=("table lamp", "lantern")),
    "candle": Thing(pieces=_candle, size=0.7),
    "clock": Thing(pieces=_clock, size=0.8),
    "book": Thing(pieces=_book, size=0.7),
    "umbrella": Thing(pieces=_umbrella, size=1.2, words=("parasol",)),
    "gift": Thing(pieces=_gift, size=0.7, words=("present", "gift box"), plurals=("gift boxes",)),
    "chest": Thing(pieces=_chest, size=1.0, words=("treasure chest", "treasure")),
    "television": Thing(pieces=_television, size=1.3, words=("tv", "monitor")),
    "laptop": Thing(pieces=_laptop, size=0.9, words=("computer",)),
    "phone": Thing(pieces=_phone, size=0.6, words=("smartphone", "mobile phone")),
}
