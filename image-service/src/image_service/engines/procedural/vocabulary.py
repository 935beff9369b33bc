"""Every word the scene grammar knows, as data."""

from dataclasses import dataclass

from PIL import ImageColor

#: Word → solid.
THINGS: dict[str, str] = {
    **{name: name for name in ("cube", "box", "sphere", "ellipsoid", "hemisphere", "cylinder", "capsule")},
    **{name: name for name in ("cone", "pyramid", "prism", "octahedron", "torus")},
    "block": "cube", "dice": "cube", "brick": "box", "cuboid": "box", "crate": "box",
    "ball": "sphere", "globe": "sphere", "orb": "sphere", "egg": "ellipsoid", "dome": "hemisphere",
    "drum": "cylinder", "barrel": "cylinder", "pillar": "cylinder", "column": "cylinder",
    "pill": "capsule", "wedge": "prism", "diamond": "octahedron",
    "ring": "torus", "donut": "torus", "doughnut": "torus",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Finish:
    """How a material answers light, and the colour it has when none is named."""

    metallic: float
    roughness: float
    colour: str


MATERIALS: dict[str, Finish] = {
    "plastic": Finish(metallic=0.0, roughness=0.45, colour="#d9d4c8"),
    "wood": Finish(metallic=0.0, roughness=0.75, colour="#a8703a"),
    "metal": Finish(metallic=1.0, roughness=0.35, colour="#a9adb3"),
    "gold": Finish(metallic=1.0, roughness=0.25, colour="#e3b341"),
    "stone": Finish(metallic=0.0, roughness=0.95, colour="#8d8a84"),
    "glass": Finish(metallic=0.0, roughness=0.05, colour="#bfe3e6"),
    "rubber": Finish(metallic=0.0, roughness=0.9, colour="#3a3a3d"),
    "ceramic": Finish(metallic=0.0, roughness=0.2, colour="#f2efe8"),
}
MATERIAL_WORDS: dict[str, str] = {
    **{name: name for name in MATERIALS},
    "wooden": "wood", "oak": "wood", "metallic": "metal", "steel": "metal", "iron": "metal", "golden": "gold",
    "marble": "stone", "granite": "stone", "porcelain": "ceramic", "clay": "ceramic",
}  # fmt: skip
DEFAULT_MATERIAL = "plastic"

#: CSS colour names; two- and three-word spellings ("dark olive green") are joined before the lookup. `gold` means the
#: material, which has that colour.
COLOURS: dict[str, str] = {name: value for name, value in ImageColor.colormap.items() if name != "gold"}  # type: ignore[misc]

#: Word → factors for width, height, depth.
SIZES: dict[str, tuple[float, float, float]] = {
    "tiny": (0.35, 0.35, 0.35), "small": (0.6, 0.6, 0.6), "little": (0.6, 0.6, 0.6),
    "medium": (1.0, 1.0, 1.0), "big": (1.5, 1.5, 1.5), "large": (1.5, 1.5, 1.5), "huge": (2.2, 2.2, 2.2),
    "tall": (1.0, 1.7, 1.0), "short": (1.0, 0.6, 1.0), "flat": (1.0, 0.35, 1.0),
    "wide": (1.7, 1.0, 1.0), "long": (1.0, 1.0, 1.7), "thin": (0.5, 1.0, 0.5), "thick": (1.4, 1.0, 1.4),
}  # fmt: skip

#: Spelling → relation; longer spellings are tried first.
RELATIONS: dict[tuple[str, ...], str] = {
    ("on", "top", "of"): "on", ("on",): "on", ("atop",): "on", ("upon",): "on", ("over",): "on", ("above",): "on",
    ("standing", "on"): "on", ("sitting", "on"): "on", ("resting", "on"): "on",
    ("beside",): "beside", ("next", "to"): "beside", ("near",): "beside", ("by",): "beside",
    ("and",): "beside", ("with",): "beside",
}  # fmt: skip

#: Words that carry nothing to draw.
FILLERS = frozenset(
    [
        "a",
        "an",
        "the",
        "of",
        "made",
        "in",
        "is",
        "it",
        "its",
        "some",
        "very",
        "please",
        "one",
        "single",
        "nice",
        "simple",
        "object",
        "3d",
        "model",
        "shape",
        "solid",
        "coloured",
        "colored",
    ]
)


def listed() -> dict[str, tuple[str, ...]]:
    """The vocabulary by kind, for `GET /engines` and for refusals."""
    return {
        "things": tuple(sorted(THINGS)),
        "materials": tuple(sorted(MATERIAL_WORDS)),
        "colours": tuple(sorted(COLOURS)),
        "sizes": tuple(SIZES),
        "relations": tuple(" ".join(words) for words in RELATIONS),
    }
