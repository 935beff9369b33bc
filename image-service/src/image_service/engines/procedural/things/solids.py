"""The twelve solids, about one unit high."""

import numpy as np

from scratch3d.geometry.mesh import Mesh

from ..shapes import arc, box, cone, cylinder, lathe, moved, octahedron, outline, prism, pyramid, torus
from .piece import Hollow, Piece, Thing, main


def _one(mesh: Mesh) -> list[Piece]:
    return [main("body", mesh)]


def _ellipsoid(radius: float, n: int) -> Mesh:
    return lathe(outline(arc(radius, 0.5, -90, 90, lift=0.5, n=n)), n)


def _capsule(n: int) -> Mesh:
    return lathe(outline(arc(0.26, 0.26, -90, 0, lift=0.26, n=n), arc(0.26, 0.26, 0, 90, lift=0.74, n=n)), n)


def _hemisphere(n: int) -> Mesh:
    return lathe(outline(np.array([0.0, 0.0]), arc(0.5, 0.5, 0, 90, lift=0.0, n=n)), n)


def open_box(_: int) -> list[Piece]:
    """A box without a lid, for what lies in it."""
    wall = 0.06
    long, short = box(1.4, 0.8, wall), box(wall, 0.8, 0.9)
    return [
        main("body", box(1.4, wall, 0.9)),
        main("body", moved(short, x=0.7 - wall / 2)),
        main("body", moved(short, x=wall / 2 - 0.7)),
        main("body", moved(long, z=0.45 - wall / 2)),
        main("body", moved(long, z=wall / 2 - 0.45)),
    ]


THINGS: dict[str, Thing] = {
    "cube": Thing(pieces=lambda _: _one(box(1, 1, 1)), words=("block", "dice")),
    "box": Thing(
        pieces=lambda _: _one(box(1.4, 0.8, 0.9)),
        size=1.4,
        words=("brick", "cuboid", "crate", "carton"),
        plurals=("boxes",),
        hollow=Hollow(floor=0.06, rim=0.8, radius=0.38),
    ),
    "sphere": Thing(
        pieces=lambda n: _one(_ellipsoid(0.5, n)),
        words=("ball", "globe", "orb", "marble ball"),
        round_below=True,
        round_above=True,
    ),
    "ellipsoid": Thing(pieces=lambda n: _one(_ellipsoid(0.36, n)), round_below=True, round_above=True),
    "hemisphere": Thing(pieces=lambda n: _one(_hemisphere(n)), words=("dome",), round_above=True),
    "cylinder": Thing(
        pieces=lambda n: _one(cylinder(0.4, 1, n)), words=("drum", "pillar", "column", "tube", "tin", "can")
    ),
    "capsule": Thing(pieces=lambda n: _one(_capsule(n)), words=("pill",), round_below=True, round_above=True),
    "cone": Thing(pieces=lambda n: _one(cone(0.45, 1, n)), words=("traffic cone",)),
    "pyramid": Thing(pieces=lambda _: _one(pyramid(1, 0.9))),
    "prism": Thing(pieces=lambda _: _one(prism(1, 0.86, 1.1)), size=1.1, words=("wedge",)),
    "octahedron": Thing(
        pieces=lambda _: _one(octahedron(1, 1.2)), size=1.2, words=("diamond", "gem", "crystal"), round_below=True
    ),
    "torus": Thing(
        pieces=lambda n: _one(torus(0.36, 0.14, n)),
        words=("ring", "hoop"),
        plurals=("tori", "toruses"),
        hole=0.22,
    ),
}
