"""What a thing is made of, and what else can be done with it."""

from collections.abc import Callable
from dataclasses import dataclass

from scratch3d.geometry.mesh import Mesh

MAIN, SECOND, FIXED = 1, 2, 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """One closed part with its own colour and material."""

    #: the word people call it by, as in "with a white handle"
    part: str
    mesh: Mesh
    colour: str | None
    finish: str
    #: MAIN takes the thing's first colour, SECOND its second one, FIXED neither
    paint: int


def main(part: str, mesh: Mesh, colour: str | None = None, finish: str = "plastic") -> Piece:
    """A piece in the thing's own colour."""
    return Piece(part=part, mesh=mesh, colour=colour, finish=finish, paint=MAIN)


def second(part: str, mesh: Mesh, colour: str, finish: str = "plastic") -> Piece:
    """A piece in the thing's second colour: "a red and white rocket"."""
    return Piece(part=part, mesh=mesh, colour=colour, finish=finish, paint=SECOND)


def fixed(part: str, mesh: Mesh, colour: str, finish: str = "plastic") -> Piece:
    """A piece that keeps its colour unless it is named."""
    return Piece(part=part, mesh=mesh, colour=colour, finish=finish, paint=FIXED)


@dataclass(frozen=True, kw_only=True)
class Seat:
    """A level place that carries things: height, half width, half depth, and how far in front of the centre it lies."""

    y: float
    x: float
    z: float
    forward: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Hollow:
    """An opening that takes things in: its floor, its rim, and how wide it is."""

    floor: float
    rim: float
    radius: float


@dataclass(frozen=True, kw_only=True)
class Thing:
    """One word of the vocabulary: how it is built, standing on the ground, its front towards +Z, in any unit."""

    pieces: Callable[[int], list[Piece]]
    #: longest side in a scene, where a plain cube is 1
    size: float = 1.0
    words: tuple[str, ...] = ()
    #: plurals that are not the word and an s
    plurals: tuple[str, ...] = ()
    seat: Seat | None = None
    hollow: Hollow | None = None
    #: free height under it, where something may stand
    room: float | None = None
    #: reach of what stands in the middle of that room: things stand before it
    trunk: float | None = None
    #: a point would touch: such things sink a little into what carries them
    round_below: bool = False
    round_above: bool = False
    #: a ring that can be put around something: radius of its hole
    hole: float | None = None
