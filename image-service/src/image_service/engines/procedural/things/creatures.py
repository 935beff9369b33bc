"""Animals and figures; they look towards +Z."""

import numpy as np

from scratch3d.geometry.mesh import Mesh

from ..shapes import ball, box, cone, cylinder, extrude, lathe, moved, stretched, tube, turned
from .piece import Piece, Thing, fixed, main, second

DARK, ORANGE, SNOW, PINK = "#26262a", "#e8852a", "#f7f9fb", "#e89aa4"


def _pair(x: float, mesh: Mesh) -> list[Mesh]:
    """The mesh on the right, and its mirror image on the left."""
    return [moved(mesh, x=x), moved(stretched(mesh, -1, 1, 1), x=-x)]


def _eyes(x: float, y: float, z: float, radius: float = 0.035) -> list[Piece]:
    eye = moved(ball(radius, radius, radius, 32), y=y, z=z)
    return [fixed("eye", side, DARK) for side in _pair(x, eye)]


def _robot(n: int) -> list[Piece]:
    arm = tube([(0, 0.9, 0), (0.12, 0.75, 0), (0.14, 0.48, 0.04)], 0.07, n // 3)
    return [
        main("body", moved(box(0.62, 0.6, 0.4), y=0.4), "#9fb4c0", "metal"),
        main("head", moved(box(0.46, 0.38, 0.36), y=1.06), "#9fb4c0", "metal"),
        second("neck", moved(cylinder(0.09, 0.1, 48), y=0.98), "#55585d", "metal"),
        *(second("arm", side, "#55585d", "metal") for side in _pair(0.3, arm)),
        *(
            main("hand", side, "#9fb4c0", "metal")
            for side in _pair(0.44, moved(ball(0.1, 0.1, 0.1, 48), y=0.44, z=0.04))
        ),
        *(second("leg", side, "#55585d", "metal") for side in _pair(0.17, moved(cylinder(0.08, 0.36, 48), y=0.06))),
        *(main("foot", side, "#9fb4c0", "metal") for side in _pair(0.17, moved(box(0.22, 0.1, 0.34), z=0.05))),
        fixed("panel", moved(box(0.34, 0.22, 0.04), y=0.62, z=0.2), "#2b4162"),
        *(
            fixed("light", moved(ball(0.045, 0.045, 0.03, 32), x=x, y=0.73, z=0.225), c)
            for x, c in ((-0.1, "#d6304a"), (0, "#f4c430"), (0.1, "#4fae5a"))
        ),
        *(
            fixed("eye", side, "#f7d774", "glass")
            for side in _pair(0.11, moved(ball(0.07, 0.07, 0.05, 48), y=1.28, z=0.18))
        ),
        fixed("mouth", moved(box(0.24, 0.04, 0.04), y=1.13, z=0.17), DARK),
        second("antenna", tube([(0, 1.42, 0), (0, 1.62, 0)], 0.02, 16), "#55585d", "metal"),
        fixed("antenna", moved(ball(0.055, 0.055, 0.055, 32), y=1.64), "#d6304a"),
    ]


def _snowman(n: int) -> list[Piece]:
    nose = moved(turned(cone(0.05, 0.3, 32), "x", 90), y=1.22, z=0.2)
    twig = tube([(0.26, 0.84, 0), (0.5, 0.98, 0.04), (0.66, 1.06, 0.06)], 0.025, 12)
    return [
        main("body", moved(ball(0.46, 0.42, 0.46, n), y=0.38), SNOW),
        main("body", moved(ball(0.34, 0.32, 0.34, n), y=0.84), SNOW),
        main("head", moved(ball(0.25, 0.24, 0.25, n), y=1.22), SNOW),
        *_eyes(0.09, 1.3, 0.21),
        fixed("nose", nose, ORANGE),
        *(
            fixed("button", moved(ball(0.035, 0.035, 0.03, 32), y=y, z=z), DARK)
            for y, z in ((0.98, 0.3), (0.84, 0.33), (0.7, 0.31))
        ),
        *(fixed("arm", side, "#7a4d28", "wood") for side in _pair(0.0, twig)),
        second("hat", moved(cylinder(0.3, 0.04, n), y=1.4), DARK, "cloth"),
        second("hat", moved(cylinder(0.19, 0.3, n), y=1.42), DARK, "cloth"),
        second("scarf", moved(ball(0.28, 0.08, 0.28, n), y=1.04), "#c8323c", "cloth"),
    ]


def _four_legs(x: float, front: float, back: float, height: float, radius: float, n: int) -> list[Mesh]:
    leg = lathe([(0, 0), (radius * 1.15, 0), (radius, 0.06), (radius, height), (0, height)], n // 3)
    return [side for z in (front, back) for side in _pair(x, moved(leg, z=z))]


def _cat(n: int) -> list[Piece]:
    ear = moved(turned(stretched(cone(0.1, 0.2, 24), 1, 1, 0.6), "z", -14), y=1.0, z=0.42)
    inner = moved(turned(stretched(cone(0.055, 0.13, 24), 1, 1, 0.5), "z", -14), y=1.0, z=0.455)
    tail = [(0, 0.5, -0.5), (0.02, 0.56, -0.68), (0.04, 0.78, -0.78), (0.02, 1.0, -0.74)]
    coat = "#d98f4a"
    return [
        main("body", moved(ball(0.26, 0.26, 0.52, n), y=0.5, z=-0.06), coat),
        main("head", moved(ball(0.27, 0.24, 0.24, n), y=0.86, z=0.42), coat),
        *(main("ear", side, coat) for side in _pair(0.16, ear)),
        *(fixed("ear inside", side, PINK) for side in _pair(0.16, inner)),
        *(main("leg", leg, coat) for leg in _four_legs(0.15, 0.26, -0.38, 0.42, 0.075, n)),
        main("tail", tube(tail, (0.06, 0.055, 0.05, 0.04), n // 3), coat),
        *_eyes(0.11, 0.91, 0.63),
        second("muzzle", moved(ball(0.11, 0.07, 0.08, 48), y=0.79, z=0.61), "#f6ead9"),
        fixed("nose", moved(ball(0.035, 0.025, 0.025, 32), y=0.83, z=0.68), PINK),
    ]


def _dog(n: int) -> list[Piece]:
    ear = moved(turned(ball(0.06, 0.2, 0.11, 48), "z", 14), y=0.92, z=0.5)
    coat = "#a8703a"
    return [
        main("body", moved(ball(0.27, 0.27, 0.56, n), y=0.56, z=-0.06), coat),
        main("head", moved(ball(0.25, 0.24, 0.25, n), y=0.98, z=0.48), coat),
        main("neck", tube([(0, 0.66, 0.3), (0, 0.9, 0.44)], 0.16, n // 2), coat),
        second("muzzle", moved(ball(0.13, 0.11, 0.2, n // 2), y=0.9, z=0.7), "#e2bd8a"),
        fixed("nose", moved(ball(0.055, 0.045, 0.045, 32), y=0.96, z=0.88), DARK),
        *(second("ear", side, "#6b4320") for side in _pair(0.25, ear)),
        *(main("leg", leg, coat) for leg in _four_legs(0.16, 0.28, -0.4, 0.46, 0.085, n)),
        main("tail", tube([(0, 0.66, -0.56), (0, 0.84, -0.72), (0, 1.02, -0.76)], (0.06, 0.05, 0.03), n // 3), coat),
        *_eyes(0.1, 1.04, 0.69),
        fixed("collar", moved(turned(cylinder(0.18, 0.06, n // 2), "x", 30), y=0.76, z=0.36), "#c8323c", "cloth"),
    ]


def _rabbit(n: int) -> list[Piece]:
    ear = moved(turned(ball(0.07, 0.3, 0.05, 48), "z", -8), y=1.22, z=0.24)
    inner = moved(turned(ball(0.04, 0.22, 0.03, 48), "z", -8), y=1.22, z=0.272)
    fur = "#e9e4dc"
    return [
        main("body", moved(ball(0.3, 0.34, 0.4, n), y=0.36, z=-0.1), fur),
        main("head", moved(ball(0.22, 0.21, 0.22, n), y=0.8, z=0.26), fur),
        *(main("ear", side, fur) for side in _pair(0.1, ear)),
        *(second("ear inside", side, PINK) for side in _pair(0.1, inner)),
        *(main("paw", side, fur) for side in _pair(0.15, moved(ball(0.09, 0.08, 0.18, 48), y=0.08, z=0.26))),
        *(main("paw", side, fur) for side in _pair(0.24, moved(ball(0.11, 0.09, 0.22, 48), y=0.09, z=-0.1))),
        second("tail", moved(ball(0.12, 0.12, 0.12, 48), y=0.3, z=-0.5), "#ffffff"),
        *_eyes(0.11, 0.85, 0.43),
        fixed("nose", moved(ball(0.035, 0.03, 0.03, 32), y=0.78, z=0.47), PINK),
    ]


def _duck(n: int) -> list[Piece]:
    wing = moved(turned(ball(0.07, 0.15, 0.26, 64), "x", 12), y=0.38, z=-0.1)
    return [
        main("body", moved(ball(0.36, 0.3, 0.48, n), y=0.3, z=-0.04), "#f2cf3b"),
        main("tail", moved(turned(cone(0.2, 0.36, n // 2), "x", -58), y=0.36, z=-0.36), "#f2cf3b"),
        main("head", moved(ball(0.24, 0.24, 0.24, n), y=0.76, z=0.26), "#f2cf3b"),
        *(main("wing", side, "#f2cf3b") for side in _pair(0.34, wing)),
        second("beak", moved(ball(0.13, 0.045, 0.17, 48), y=0.72, z=0.5), ORANGE),
        *_eyes(0.12, 0.84, 0.45),
    ]


def _bird(n: int) -> list[Piece]:
    wing = moved(turned(ball(0.05, 0.16, 0.26, 64), "x", -20), y=0.44, z=-0.04)
    tail = extrude([(-0.05, 0), (0.05, 0), (0.13, 0.42), (-0.13, 0.42)], 0.05)
    leg = tube([(0, 0, 0.06), (0, 0.24, 0.02)], 0.022, 16)
    return [
        main("body", moved(turned(ball(0.24, 0.25, 0.34, n), "x", -18), y=0.44), "#4f86c6"),
        main("head", moved(ball(0.19, 0.19, 0.19, n), y=0.74, z=0.22), "#4f86c6"),
        second("belly", moved(ball(0.19, 0.2, 0.22, n // 2), y=0.4, z=0.13), "#f4f1ea"),
        *(main("wing", side, "#3c6aa0") for side in _pair(0.22, wing)),
        main("tail", moved(turned(tail, "x", -112), y=0.4, z=-0.2), "#3c6aa0"),
        fixed("beak", moved(turned(cone(0.06, 0.18, 32), "x", 90), y=0.73, z=0.38), ORANGE),
        *_eyes(0.1, 0.79, 0.37),
        *(fixed("leg", side, ORANGE) for side in _pair(0.09, leg)),
        *(fixed("foot", side, ORANGE) for side in _pair(0.09, moved(ball(0.05, 0.02, 0.09, 32), y=0.02, z=0.08))),
    ]


def _penguin(n: int) -> list[Piece]:
    flipper = moved(turned(ball(0.05, 0.26, 0.12, 64), "z", 14), y=0.6)
    return [
        main("body", moved(ball(0.34, 0.48, 0.32, n), y=0.52), "#2d3440"),
        main("head", moved(ball(0.24, 0.24, 0.24, n), y=1.06), "#2d3440"),
        second("belly", moved(ball(0.27, 0.4, 0.2, n), y=0.5, z=0.15), "#f4f1ea"),
        second("face", moved(ball(0.17, 0.14, 0.1, n // 2), y=1.04, z=0.165), "#f4f1ea"),
        *(main("flipper", side, "#2d3440") for side in _pair(0.36, flipper)),
        fixed("beak", moved(turned(cone(0.06, 0.18, 32), "x", 90), y=1.02, z=0.24), ORANGE),
        *_eyes(0.08, 1.1, 0.235),
        *(fixed("foot", side, ORANGE) for side in _pair(0.14, moved(ball(0.12, 0.05, 0.18, 48), y=0.05, z=0.12))),
    ]


def _fish(n: int) -> list[Piece]:
    tail = extrude([(0, -0.06), (-0.34, -0.32), (-0.24, 0.0), (-0.34, 0.32), (0, 0.06)], 0.05)
    fin = extrude([(-0.24, 0), (0.2, 0), (-0.16, 0.22)], 0.05)
    return [
        main("body", moved(ball(0.17, 0.3, 0.52, n), y=0.36), "#e8752a"),
        second("tail", moved(turned(tail, "y", -90), y=0.36, z=-0.42), "#f4c430"),
        second("fin", moved(turned(fin, "y", -90), y=0.6), "#f4c430"),
        *(
            second("fin", moved(turned(ball(0.14, 0.02, 0.09, 32), "z", s * -35), x=s * 0.2, y=0.26, z=0.08), "#f4c430")
            for s in (-1, 1)
        ),
        *(fixed("eye", eye, "#ffffff") for eye in _pair(0.13, moved(ball(0.05, 0.06, 0.06, 32), y=0.44, z=0.3))),
        *(fixed("eye", eye, DARK) for eye in _pair(0.165, moved(ball(0.03, 0.034, 0.034, 32), y=0.44, z=0.31))),
    ]


def _whale(n: int) -> list[Piece]:
    fluke = [turned(ball(0.28, 0.05, 0.15, 64), "y", s * 35) for s in (-1, 1)]
    return [
        main("body", moved(ball(0.42, 0.38, 0.7, n), y=0.38, z=0.1), "#4f86c6"),
        main("tail", tube([(0, 0.4, -0.4), (0, 0.5, -0.75), (0, 0.72, -0.95)], (0.26, 0.13, 0.08), n // 2), "#4f86c6"),
        *(main("fluke", moved(f, x=s * 0.2, y=0.74, z=-1.0), "#4f86c6") for s, f in zip((-1, 1), fluke, strict=True)),
        second("belly", moved(ball(0.37, 0.24, 0.62, n), y=0.26, z=0.14), "#e6eef5"),
        *(
            main("fin", side, "#4f86c6")
            for side in _pair(0.42, moved(turned(ball(0.2, 0.04, 0.12, 48), "z", -25), y=0.22, z=0.2))
        ),
        *_eyes(0.36, 0.42, 0.46, 0.04),
        fixed("water", tube([(0, 0.72, 0.2), (0, 0.92, 0.2)], 0.035, 16), "#bfe3f2"),
        *(fixed("water", moved(ball(0.07, 0.07, 0.07, 32), x=s * 0.06, y=0.96, z=0.2), "#bfe3f2") for s in (-1, 1)),
    ]


def _pig(n: int) -> list[Piece]:
    ear = moved(turned(stretched(cone(0.1, 0.16, 24), 1, 1, 0.5), "z", -24), y=0.86, z=0.44)
    skin = "#f0a6b0"
    return [
        main("body", moved(ball(0.36, 0.34, 0.52, n), y=0.5, z=-0.05), skin),
        main("head", moved(ball(0.27, 0.25, 0.25, n), y=0.66, z=0.46), skin),
        *(main("ear", side, skin) for side in _pair(0.15, ear)),
        second("snout", moved(turned(cylinder(0.12, 0.14, n // 2), "x", 90), y=0.62, z=0.66), "#e58593"),
        *(
            fixed("nostril", side, "#a84f5e")
            for side in _pair(0.045, moved(ball(0.025, 0.035, 0.02, 24), y=0.62, z=0.8))
        ),
        *(main("leg", leg, skin) for leg in _four_legs(0.2, 0.24, -0.34, 0.34, 0.095, n)),
        main(
            "tail", tube([(0, 0.6, -0.54), (0.06, 0.66, -0.62), (0, 0.72, -0.66), (-0.05, 0.66, -0.7)], 0.03, 16), skin
        ),
        *_eyes(0.11, 0.75, 0.67),
    ]


def _turtle(n: int) -> list[Piece]:
    leg = moved(ball(0.14, 0.1, 0.14, 48), y=0.1)
    return [
        main("shell", moved(_dome(0.5, 0.4, 0.58, n), y=0.16), "#5f8f4a"),
        second("rim", moved(ball(0.54, 0.07, 0.62, n), y=0.18), "#a8a05a"),
        fixed("head", moved(ball(0.16, 0.15, 0.19, n // 2), y=0.32, z=0.76), "#8fbf6a"),
        fixed("neck", tube([(0, 0.2, 0.5), (0, 0.3, 0.72)], 0.1, 48), "#8fbf6a"),
        *(fixed("leg", moved(leg, x=a * 0.4, z=b * 0.4), "#8fbf6a") for a in (-1, 1) for b in (-1, 1)),
        fixed("tail", moved(turned(cone(0.07, 0.2, 32), "x", -90), y=0.16, z=-0.56), "#8fbf6a"),
        *_eyes(0.09, 0.38, 0.9, 0.03),
    ]


def _dome(x: float, y: float, z: float, n: int) -> Mesh:
    t = np.linspace(0, np.pi / 2, max(4, n // 4))
    return stretched(
        lathe([(0.0, 0.0), *[(float(np.cos(a)), float(np.sin(a))) for a in t[:-1]], (0.0, 1.0)], n), x, y, z
    )


def _bear(n: int) -> list[Piece]:
    fur = "#a06a3a"
    return [
        main("body", moved(ball(0.33, 0.36, 0.28, n), y=0.42), fur),
        main("head", moved(ball(0.29, 0.27, 0.26, n), y=0.96), fur),
        *(main("ear", side, fur) for side in _pair(0.22, moved(ball(0.1, 0.1, 0.06, 48), y=1.18))),
        *(
            main("arm", side, fur)
            for side in _pair(0.36, moved(turned(ball(0.11, 0.24, 0.11, 64), "z", 28), y=0.52, z=0.06))
        ),
        *(main("leg", side, fur) for side in _pair(0.2, moved(ball(0.14, 0.13, 0.26, 64), y=0.13, z=0.2))),
        second("belly", moved(ball(0.22, 0.24, 0.12, n // 2), y=0.42, z=0.2), "#d9b384"),
        second("muzzle", moved(ball(0.13, 0.1, 0.1, 64), y=0.89, z=0.23), "#d9b384"),
        fixed("nose", moved(ball(0.05, 0.035, 0.03, 32), y=0.93, z=0.32), DARK),
        *_eyes(0.1, 1.02, 0.235),
    ]


def _ghost(n: int) -> list[Piece]:
    body = lathe(
        [
            (0, 0),
            (0.36, 0),
            (0.4, 0.06),
            (0.34, 0.5),
            *[(float(0.34 * np.cos(a)), float(0.76 + 0.34 * np.sin(a))) for a in np.linspace(0, np.pi / 2, 24)[:-1]],
            (0, 1.1),
        ],
        n,
    )
    return [
        main("body", body, "#f2f4f7", "cloth"),
        *(
            main("arm", side, "#f2f4f7", "cloth")
            for side in _pair(0.34, moved(turned(ball(0.16, 0.08, 0.09, 48), "z", 20), y=0.58, z=0.1))
        ),
        *_eyes(0.12, 0.82, 0.31, 0.055),
        fixed("mouth", moved(ball(0.06, 0.08, 0.04, 32), y=0.65, z=0.33), DARK),
    ]


def _person(n: int) -> list[Piece]:
    arm = tube([(0, 1.16, 0), (0.08, 0.9, 0), (0.1, 0.68, 0.04)], (0.075, 0.065, 0.055), n // 3)
    leg = tube([(0, 0.06, 0), (0, 0.4, 0), (0, 0.68, 0)], (0.075, 0.085, 0.1), n // 3)
    skin = "#e0ac83"
    return [
        main("shirt", moved(ball(0.27, 0.34, 0.17, n), y=0.94), "#3f7d9c", "cloth"),
        *(main("sleeve", side, "#3f7d9c", "cloth") for side in _pair(0.24, arm)),
        second("trousers", moved(ball(0.22, 0.16, 0.16, n // 2), y=0.68), "#3a4256", "cloth"),
        *(second("leg", side, "#3a4256", "cloth") for side in _pair(0.11, leg)),
        *(fixed("shoe", side, DARK) for side in _pair(0.11, moved(ball(0.09, 0.07, 0.16, 48), y=0.07, z=0.05))),
        *(fixed("hand", side, skin) for side in _pair(0.345, moved(ball(0.065, 0.075, 0.06, 32), y=0.63, z=0.05))),
        fixed("neck", moved(cylinder(0.075, 0.16, 48), y=1.2), skin),
        fixed("head", moved(ball(0.18, 0.21, 0.19, n), y=1.48), skin),
        fixed("hair", moved(ball(0.19, 0.15, 0.2, n // 2), y=1.57, z=-0.03), "#4a2f1c"),
        *_eyes(0.065, 1.5, 0.17, 0.025),
        fixed("nose", moved(ball(0.025, 0.035, 0.03, 24), y=1.46, z=0.185), skin),
    ]


def _snail(n: int) -> list[Piece]:
    t = np.linspace(0, 1, 60)
    a = 2 * np.pi * 2.1 * t
    coil = [
        (0.0, float(0.52 + (0.33 - 0.3 * s) * np.cos(b)), float(-0.1 + (0.33 - 0.3 * s) * np.sin(b)))
        for s, b in zip(t, a, strict=True)
    ]
    radii = [float(0.17 - 0.12 * s) for s in t]
    body = tube([(0, 0.1, -0.7), (0, 0.12, 0.0), (0, 0.14, 0.4), (0, 0.34, 0.58)], (0.03, 0.14, 0.13, 0.11), n // 2)
    stalk = tube([(0, 0.4, 0.6), (0.03, 0.6, 0.66)], 0.02, 12)
    return [
        second("body", body, "#d9b384"),
        second("head", moved(ball(0.12, 0.12, 0.12, 48), y=0.36, z=0.6), "#d9b384"),
        main("shell", tube(coil, radii, n // 2), "#a8553a"),
        *(second("stalk", side, "#d9b384") for side in _pair(0.05, stalk)),
        *(fixed("eye", side, DARK) for side in _pair(0.08, moved(ball(0.035, 0.035, 0.035, 24), y=0.61, z=0.66))),
    ]


THINGS: dict[str, Thing] = {
    "robot": Thing(pieces=_robot, size=1.5, words=("android",)),
    "snowman": Thing(pieces=_snowman, size=1.5, plurals=("snowmen",)),
    "cat": Thing(pieces=_cat, size=1.1, words=("kitten", "kitty"), plurals=("kitties",)),
    "dog": Thing(pieces=_dog, size=1.2, words=("puppy",), plurals=("puppies",)),
    "rabbit": Thing(pieces=_rabbit, size=1.0, words=("bunny", "hare"), plurals=("bunnies",)),
    "duck": Thing(pieces=_duck, size=0.9, words=("rubber duck", "duckling")),
    "bird": Thing(pieces=_bird, size=0.8, words=("sparrow",)),
    "penguin": Thing(pieces=_penguin, size=1.1),
    "fish": Thing(pieces=_fish, size=0.9, words=("goldfish",), plurals=("fish", "fishes"), round_below=True),
    "whale": Thing(pieces=_whale, size=1.6),
    "pig": Thing(pieces=_pig, size=1.1, words=("piglet",)),
    "turtle": Thing(pieces=_turtle, size=1.1, words=("tortoise",), round_above=True),
    "bear": Thing(pieces=_bear, size=1.1, words=("teddy bear", "teddy")),
    "ghost": Thing(pieces=_ghost, size=1.1),
    "person": Thing(
        pieces=_person,
        size=1.6,
        words=("man", "woman", "human", "figure", "figurine"),
        plurals=("people", "men", "women", "persons"),
    ),
    "snail": Thing(pieces=_snail, size=0.9),
}
