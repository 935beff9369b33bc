"""Plants, food, the sky."""

import numpy as np

from scratch3d.geometry.mesh import F64, Mesh

from ..shapes import arc, ball, box, cone, cylinder, extrude, lathe, moved, outline, stretched, torus, tube, turned
from .piece import Piece, Seat, Thing, fixed, main, second

BARK, LEAF, STEM = "#7a4d28", "#4c8c3f", "#5b8a3a"


def _tree(n: int) -> list[Piece]:
    crowns = [
        (0, 1.32, 0, 0.5),
        (0.32, 1.12, 0.1, 0.36),
        (-0.32, 1.14, -0.06, 0.36),
        (0.02, 1.1, -0.34, 0.34),
        (-0.04, 1.08, 0.32, 0.34),
    ]
    return [
        second("trunk", lathe([(0, 0), (0.2, 0), (0.12, 0.2), (0.1, 0.95), (0, 0.95)], n // 2), BARK, "wood"),
        *(main("leaf", moved(ball(r, r * 0.92, r, n // 2), x=x, y=y, z=z), LEAF) for x, y, z, r in crowns),
    ]


def _pine(n: int) -> list[Piece]:
    tiers = [(0.6, 0.28, 0.7), (0.48, 0.66, 0.62), (0.36, 1.02, 0.56), (0.24, 1.36, 0.5)]
    return [
        second("trunk", cylinder(0.1, 0.4, n // 2), BARK, "wood"),
        *(main("leaf", moved(cone(r, h, n // 2), y=y), "#2f6b45") for r, y, h in tiers),
    ]


def _palm(n: int) -> list[Piece]:
    path = [(0, 0, 0), (0.05, 0.5, 0), (0.14, 1.0, 0), (0.26, 1.5, 0)]
    leaf = tube([(0, 0, 0), (0.3, 0.16, 0), (0.62, 0.06, 0), (0.86, -0.2, 0)], (0.05, 0.12, 0.1, 0.012), 16)
    flat = stretched(leaf, 1, 0.45, 1.25)
    return [
        second("trunk", tube(path, (0.12, 0.09, 0.08, 0.075), n // 3), "#8a6a43", "wood"),
        *(main("leaf", moved(turned(flat, "y", 360 * k / 7 + 12), x=0.26, y=1.5), LEAF) for k in range(7)),
        *(
            fixed(
                "coconut",
                moved(ball(0.08, 0.08, 0.08, 32), x=0.26 + 0.1 * np.cos(a), y=1.42, z=0.1 * np.sin(a)),
                "#5b3a1e",
                "wood",
            )
            for a in (0.3, 2.4, 4.5)
        ),
    ]


def _bush(n: int) -> list[Piece]:
    lumps = [
        (0, 0.34, 0, 0.36),
        (0.32, 0.24, 0.06, 0.26),
        (-0.32, 0.25, 0.02, 0.27),
        (0.06, 0.26, 0.3, 0.26),
        (-0.04, 0.24, -0.3, 0.25),
    ]
    return [main("leaf", moved(ball(r, r, r, n // 2), x=x, y=y, z=z), LEAF) for x, y, z, r in lumps]


def _cactus(n: int) -> list[Piece]:
    arm = [(0, 0.5, 0), (0.3, 0.52, 0), (0.36, 0.62, 0), (0.36, 0.92, 0)]
    body = outline(np.array([(0, 0), (0.2, 0), (0.2, 1.1)]), arc(0.2, 0.2, 0, 90, lift=1.1, n=n))
    cap = ball(0.1, 0.1, 0.1, n // 3)
    left = stretched(tube(arm, 0.1, n // 3), -1, 0.8, 1)
    return [
        main("body", lathe(body, n // 2), "#4f8f52"),
        main("arm", tube(arm, 0.1, n // 3), "#4f8f52"),
        main("arm", moved(cap, x=0.36, y=0.92), "#4f8f52"),
        main("arm", moved(left, y=0.3), "#4f8f52"),
        main("arm", moved(cap, x=-0.36, y=0.3 + 0.92 * 0.8), "#4f8f52"),
        fixed("flower", moved(ball(0.09, 0.07, 0.09, 32), y=1.32), "#e8608a"),
    ]


def _flower(n: int) -> list[Piece]:
    petal = moved(stretched(ball(0.16, 0.24, 0.05, n // 3), 1, 1, 1), y=0.27)
    stem = tube([(0, 0, 0), (0.02, 0.4, 0), (0, 0.86, 0)], 0.035, 16)
    leaf = moved(turned(ball(0.2, 0.07, 0.03, n // 3), "z", 30), x=0.18, y=0.36)
    head = {"y": 0.98, "z": 0.04}
    return [
        fixed("stem", stem, STEM),
        fixed("leaf", leaf, STEM),
        *(main("petal", moved(turned(petal, "z", 360 * k / 7), **head), "#e8608a") for k in range(7)),
        second("centre", moved(ball(0.15, 0.15, 0.08, n // 2), y=0.98, z=0.07), "#f4c430"),
    ]


def _mushroom(n: int) -> list[Piece]:
    under = np.array([(0.0, 0.5), (0.46, 0.46)])
    cap = lathe(outline(under, arc(0.5, 0.42, 0, 90, lift=0.5, n=n)), n)
    stalk = lathe([(0, 0), (0.2, 0), (0.22, 0.1), (0.15, 0.35), (0.16, 0.55), (0, 0.55)], n)
    spots = [
        (20, 50, 0.08),
        (95, 38, 0.07),
        (165, 55, 0.07),
        (235, 36, 0.08),
        (305, 52, 0.07),
        (60, 20, 0.06),
        (275, 16, 0.05),
        (0, 88, 0.08),
        (130, 14, 0.05),
        (200, 14, 0.06),
        (340, 18, 0.06),
    ]
    return [
        second("stalk", stalk, "#f1e8d6"),
        main("cap", cap, "#c8323c"),
        *(
            second(
                "spot",
                moved(
                    ball(r, r * 0.6, r, 32),
                    x=float(0.48 * np.cos(e) * np.sin(a)),
                    y=float(0.5 + 0.4 * np.sin(e)),
                    z=float(0.48 * np.cos(e) * np.cos(a)),
                ),
                "#f1e8d6",
            )
            for a, e, r in ((np.radians(a), np.radians(e), r) for a, e, r in spots)
        ),
    ]


def _rock(_: int) -> list[Piece]:
    rough = ball(0.6, 0.42, 0.5, 18)
    v = rough.vertices.astype(float)
    bump = 1 + 0.12 * np.sin(7 * v[:, 0] + 1.3) * np.cos(6 * v[:, 2]) + 0.08 * np.sin(11 * v[:, 1] + 4 * v[:, 0])
    v = v * bump[:, None]
    v[:, 1] = np.maximum(v[:, 1] + 0.32, 0.0)
    return [main("rock", _solid(v, rough), "#8d8a84", "stone")]


def _solid(vertices: F64, mesh: Mesh) -> Mesh:
    return mesh.evolve(vertices=np.asarray(vertices, np.float32))


def _mountain(_: int) -> list[Piece]:
    peaks = [(0, 0, 0.8, 1.2), (0.55, 0.15, 0.5, 0.7), (-0.5, -0.1, 0.55, 0.85)]
    pieces = [main("rock", moved(cone(r, h, 9), x=x, z=z), "#7d7a74", "stone") for x, z, r, h in peaks]
    caps = [(x, z, r * 0.34, h * 0.34, h * 0.685) for x, z, r, h in peaks]
    return [*pieces, *(second("snow", moved(cone(r, h, 9), x=x, y=y, z=z), "#f7f9fb") for x, z, r, h, y in caps)]


def _cloud(n: int) -> list[Piece]:
    lumps = [
        (0, 0.32, 0, 0.34),
        (0.38, 0.24, 0.02, 0.26),
        (-0.38, 0.24, 0, 0.27),
        (0.68, 0.17, 0, 0.17),
        (-0.68, 0.17, 0, 0.17),
        (0.16, 0.24, 0.2, 0.24),
        (-0.16, 0.24, -0.2, 0.24),
    ]
    return [main("cloud", moved(ball(r, r, r, n // 2), x=x, y=y, z=z), "#f4f7fa") for x, y, z, r in lumps]


def _star(_: int) -> list[Piece]:
    tips = [(0.5 * np.sin(a), 0.5 + 0.5 * np.cos(a)) for a in np.arange(5) * 2 * np.pi / 5]
    dents = [(0.2 * np.sin(a), 0.5 + 0.2 * np.cos(a)) for a in (np.arange(5) + 0.5) * 2 * np.pi / 5]
    points = [(float(x), float(y)) for pair in zip(tips, dents, strict=True) for x, y in pair]
    low = min(y for _, y in points)
    return [main("star", extrude([(x, y - low) for x, y in points], 0.2), "#f4c430")]


def _heart(_: int) -> list[Piece]:
    t = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    x = 16 * np.sin(t) ** 3 / 34
    y = (13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) / 34
    return [main("heart", extrude(list(zip(x.tolist(), (y - y.min()).tolist(), strict=True)), 0.28), "#d6304a")]


def _moon(_: int) -> list[Piece]:
    a = np.radians(np.linspace(55, 305, 60))
    outer = [(float(0.5 * np.cos(t)), float(0.5 + 0.5 * np.sin(t))) for t in a]
    b = np.radians(np.linspace(292, 68, 50))
    inner = [(float(0.16 + 0.42 * np.cos(t)), float(0.5 + 0.42 * np.sin(t))) for t in b]
    return [main("moon", extrude([*outer, *inner], 0.22), "#f3e3a2")]


def _apple(n: int) -> list[Piece]:
    t = np.linspace(0, np.pi, 48)
    radius, height = (
        0.46 * np.sin(t) * (1 + 0.1 * np.cos(t)),
        0.4 - 0.42 * np.cos(t) + 0.09 * np.cos(t) ** 8 * np.sign(np.cos(t)),
    )
    body = lathe(outline(np.stack([radius, height - height.min()], axis=1)), n)
    leaf = moved(turned(ball(0.14, 0.02, 0.07, 32), "z", 25), x=0.14, y=0.86)
    return [
        main("apple", body, "#c8323c"),
        fixed("stem", tube([(0, 0.68, 0), (0.01, 0.8, 0), (0.05, 0.92, 0)], 0.025, 12), BARK, "wood"),
        fixed("leaf", leaf, LEAF),
    ]


def _orange(n: int) -> list[Piece]:
    return [
        main("orange", moved(ball(0.42, 0.4, 0.42, n), y=0.4), "#f08a24"),
        fixed("stem", moved(cylinder(0.05, 0.05, 24), y=0.78), "#5f7a35"),
    ]


def _pear(n: int) -> list[Piece]:
    profile = [
        (0, 0),
        (0.22, 0.02),
        (0.38, 0.18),
        (0.42, 0.36),
        (0.36, 0.56),
        (0.24, 0.74),
        (0.18, 0.9),
        (0.1, 1.0),
        (0, 1.02),
    ]
    smooth = _smooth(profile)
    return [
        main("pear", lathe(smooth, n), "#b7c447"),
        fixed("stem", tube([(0, 0.98, 0), (0.02, 1.08, 0), (0.06, 1.18, 0)], 0.025, 12), BARK, "wood"),
    ]


def _smooth(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Corners rounded off three times (Chaikin), ends kept."""
    line = np.asarray(points, float)
    for _ in range(3):
        quarter, three = line[:-1] * 0.75 + line[1:] * 0.25, line[:-1] * 0.25 + line[1:] * 0.75
        line = np.concatenate([line[:1], np.stack([quarter, three], axis=1).reshape(-1, 2)[1:-1], line[-1:]])
    return [(float(r), float(y)) for r, y in line]


def _banana(n: int) -> list[Piece]:
    a = np.radians(np.linspace(200, 340, 20))
    path = [(float(0.6 * np.cos(t)), float(0.75 + 0.6 * np.sin(t)), 0.0) for t in a]
    radii = [float(0.125 * min(1.0, 0.35 + 3.4 * min(k, 19 - k) / 19)) for k in range(20)]
    tip, stalk = path[0], path[-1]
    return [
        main("banana", tube(path, radii, n // 2), "#f2cf3b"),
        fixed("tip", moved(ball(0.05, 0.05, 0.05, 24), x=tip[0], y=tip[1]), "#4a3a1e"),
        fixed("stalk", tube([stalk, (stalk[0] + 0.06, stalk[1] + 0.12, 0)], 0.045, 16), "#8a8a3a"),
    ]


def _carrot(n: int) -> list[Piece]:
    root = lathe(_smooth([(0, 0), (0.02, 0.0), (0.1, 0.3), (0.2, 0.8), (0.22, 0.98), (0.12, 1.06), (0, 1.06)]), n)
    tops = [
        turned(tube([(0, 1.0, 0), (0.05, 1.3, 0), (0.16, 1.5, 0)], (0.05, 0.05, 0.015), 12), "y", 90 * k)
        for k in range(4)
    ]
    return [main("carrot", root, "#e8752a"), *(fixed("leaf", top, LEAF) for top in tops)]


def _pumpkin(n: int) -> list[Piece]:
    rib = moved(ball(0.22, 0.38, 0.26, n // 2), z=0.3)
    ribs = [moved(turned(rib, "y", 36 * k), y=0.38) for k in range(10)]
    return [
        main("pumpkin", moved(ball(0.4, 0.34, 0.4, n // 2), y=0.38), "#e07b28"),
        *(main("pumpkin", r, "#e07b28") for r in ribs),
        fixed("stem", tube([(0, 0.66, 0), (0.02, 0.82, 0), (0.1, 0.94, 0)], (0.09, 0.06, 0.06), 16), "#5f7a35", "wood"),
    ]


def _cake(n: int) -> list[Piece]:
    cherries = [(0.34 * np.sin(a), 0.34 * np.cos(a)) for a in np.linspace(0, 2 * np.pi, 8, endpoint=False)]
    return [
        second("plate", cylinder(0.66, 0.04, n), "#f2efe8", "ceramic"),
        main("cake", moved(cylinder(0.54, 0.34, n), y=0.04), "#c98a5a"),
        second("icing", moved(cylinder(0.56, 0.12, n), y=0.36), "#f6d6de"),
        *(fixed("cherry", moved(ball(0.07, 0.07, 0.07, 32), x=x, y=0.52, z=z), "#b3202f") for x, z in cherries),
        fixed("candle", moved(cylinder(0.035, 0.28, 24), y=0.47), "#4f7cac"),
        fixed("flame", moved(lathe([(0, 0), (0.035, 0.04), (0.02, 0.1), (0, 0.14)], 24), y=0.75), "#f7a928"),
    ]


def _cupcake(n: int) -> list[Piece]:
    swirl = [(0.42, 0.44, 0.2), (0.32, 0.62, 0.17), (0.2, 0.78, 0.14)]
    return [
        second("case", cylinder(0.28, 0.4, n, 0.4), "#a8703a"),
        *(main("icing", moved(ball(r, h, r, n // 2), y=y), "#f2a7bd") for r, y, h in swirl),
        fixed("cherry", moved(ball(0.09, 0.09, 0.09, 48), y=0.94), "#b3202f"),
    ]


def _ice_cream(n: int) -> list[Piece]:
    wafer = lathe([(0, 0), (0.26, 0.78), (0, 0.78)], n)
    return [
        second("cone", wafer, "#d9a45b"),
        main("scoop", moved(ball(0.29, 0.29, 0.29, n), y=0.92), "#f6d6de"),
        fixed("cherry", moved(ball(0.08, 0.08, 0.08, 48), y=1.24), "#b3202f"),
    ]


def _burger(n: int) -> list[Piece]:
    bun = lathe(outline(np.array([0.0, 0.4]), arc(0.5, 0.32, 0, 90, lift=0.4, n=n)), n)
    return [
        main("bun", cylinder(0.48, 0.16, n), "#d8974a"),
        fixed("patty", moved(cylinder(0.52, 0.12, n), y=0.15), "#6b3a22"),
        fixed("cheese", moved(turned(box(0.8, 0.03, 0.8), "y", 45), y=0.27), "#f2b632"),
        fixed("lettuce", moved(cylinder(0.55, 0.05, n), y=0.3), "#7fb04a"),
        fixed("tomato", moved(cylinder(0.47, 0.06, n), y=0.345), "#d0402f"),
        main("bun", bun, "#d8974a"),
    ]


def _donut(n: int) -> list[Piece]:
    dough, icing = torus(0.34, 0.16, n), torus(0.34, 0.165, n)
    v = icing.vertices.astype(float)
    v[:, 1] = np.maximum(v[:, 1], 0.17) + 0.006
    spots = [
        (0.34 * np.sin(a), 0.34 * np.cos(a), k) for k, a in enumerate(np.linspace(0, 2 * np.pi, 14, endpoint=False))
    ]
    hues = ("#4f7cac", "#f4d35e", "#7fb04a")
    return [
        second("dough", dough, "#d8a05a"),
        main("icing", _solid(v, icing), "#f2a7bd"),
        *(
            fixed(
                "sprinkle",
                moved(turned(box(0.09, 0.03, 0.03), "y", 47 * k), x=x + 0.06 * (k % 3 - 1), y=0.325, z=z),
                hues[k % 3],
            )
            for x, z, k in spots
        ),
    ]


def _egg(n: int) -> list[Piece]:
    t = np.linspace(0, np.pi, 64)
    profile = np.stack([0.36 * np.sin(t) * (1 + 0.12 * np.cos(t)), 0.5 - 0.5 * np.cos(t)], axis=1)
    return [main("egg", lathe(outline(profile), n), "#f1e3cc")]


def _barrel(n: int) -> list[Piece]:
    staves = [(0, 0), *[(0.36 + 0.09 * np.sin(np.pi * t), float(t)) for t in np.linspace(0, 1, 24)], (0, 1)]
    hoops = [(0.43, 0.2), (0.455, 0.44), (0.43, 0.72)]
    return [
        main("barrel", lathe([(float(r), float(y)) for r, y in staves], n), "#a8703a", "wood"),
        *(second("hoop", moved(cylinder(r, 0.08, n), y=y), "#55585d", "metal") for r, y in hoops),
    ]


THINGS: dict[str, Thing] = {
    "tree": Thing(pieces=_tree, size=1.9, words=("oak tree", "apple tree"), room=0.8, trunk=0.2, round_above=True),
    "pine": Thing(pieces=_pine, size=1.9, words=("pine tree", "fir", "fir tree", "christmas tree", "spruce")),
    "palm": Thing(pieces=_palm, size=1.9, words=("palm tree", "coconut tree"), room=1.2, trunk=0.14),
    "bush": Thing(pieces=_bush, size=1.0, words=("shrub", "hedge"), plurals=("bushes",), round_above=True),
    "cactus": Thing(pieces=_cactus, size=1.2, plurals=("cacti", "cactuses")),
    "flower": Thing(pieces=_flower, size=1.0, words=("rose", "tulip", "daisy", "sunflower"), plurals=("daisies",)),
    "mushroom": Thing(pieces=_mushroom, size=0.9, words=("toadstool",), round_above=True),
    "rock": Thing(pieces=_rock, size=1.0, words=("boulder", "stone", "pebble"), round_above=True),
    "mountain": Thing(pieces=_mountain, size=2.2, words=("hill",)),
    "cloud": Thing(pieces=_cloud, size=1.5, round_below=True, round_above=True),
    "star": Thing(pieces=_star, size=0.9),
    "heart": Thing(pieces=_heart, size=0.9, round_below=True),
    "moon": Thing(pieces=_moon, size=0.9, words=("crescent", "crescent moon"), round_below=True),
    "apple": Thing(pieces=_apple, size=0.45),
    "orange": Thing(pieces=_orange, size=0.45, words=("tangerine",), round_below=True, round_above=True),
    "pear": Thing(pieces=_pear, size=0.5),
    "banana": Thing(pieces=_banana, size=0.7, round_below=True),
    "carrot": Thing(pieces=_carrot, size=0.7, round_below=True),
    "pumpkin": Thing(pieces=_pumpkin, size=0.8, round_above=True),
    "cake": Thing(pieces=_cake, size=1.0, words=("birthday cake",), seat=Seat(y=0.48, x=0.22, z=0.16, forward=0.2)),
    "cupcake": Thing(pieces=_cupcake, size=0.6, words=("muffin",)),
    "ice cream": Thing(pieces=_ice_cream, size=0.9, words=("icecream", "ice cream cone")),
    "burger": Thing(pieces=_burger, size=0.8, words=("hamburger", "cheeseburger")),
    "donut": Thing(pieces=_donut, size=0.7, words=("doughnut",), hole=0.18),
    "egg": Thing(pieces=_egg, size=0.45, round_below=True, round_above=True),
    "barrel": Thing(pieces=_barrel, size=1.0, words=("keg", "cask")),
}
