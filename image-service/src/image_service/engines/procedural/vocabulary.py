"""Every word the scene grammar knows, as data. The words for things are with the things themselves."""

from dataclasses import dataclass
from functools import cache

from PIL import ImageColor

from .styles import STYLES
from .things import THINGS


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
    "silver": Finish(metallic=1.0, roughness=0.25, colour="#c9ccd1"),
    "copper": Finish(metallic=1.0, roughness=0.35, colour="#b87346"),
    "stone": Finish(metallic=0.0, roughness=0.95, colour="#8d8a84"),
    "brick": Finish(metallic=0.0, roughness=0.95, colour="#a3543f"),
    "glass": Finish(metallic=0.0, roughness=0.05, colour="#bfe3e6"),
    "rubber": Finish(metallic=0.0, roughness=0.9, colour="#3a3a3d"),
    "ceramic": Finish(metallic=0.0, roughness=0.2, colour="#f2efe8"),
    "cloth": Finish(metallic=0.0, roughness=0.95, colour="#b9a58c"),
    "leather": Finish(metallic=0.0, roughness=0.6, colour="#7b4a2b"),
    "ice": Finish(metallic=0.0, roughness=0.1, colour="#d6eef7"),
}
MATERIAL_WORDS: dict[str, str] = {
    **{name: name for name in MATERIALS},
    "wooden": "wood", "oak": "wood", "metallic": "metal", "steel": "metal", "iron": "metal", "chrome": "metal",
    "golden": "gold", "brass": "gold", "silvery": "silver", "bronze": "copper", "marble": "stone",
    "granite": "stone", "concrete": "stone", "rocky": "stone", "porcelain": "ceramic", "clay": "ceramic",
    "fabric": "cloth", "wool": "cloth", "woollen": "cloth", "cotton": "cloth", "icy": "ice", "bricks": "brick",
}  # fmt: skip
DEFAULT_MATERIAL = "plastic"

#: CSS colour names; two- and three-word spellings ("dark olive green") are joined before the lookup. `gold` and `silver`
#: mean the materials, which have those colours.
COLOURS: dict[str, str] = {
    **{name: str(value) for name, value in ImageColor.colormap.items() if name not in {"gold", "silver"}},
    "lightred": "#ff7f7f", "darkyellow": "#b8a000", "lightbrown": "#b5896a", "darkbrown": "#5b3a1e",
    "lightpurple": "#b48ed6", "darkpurple": "#4b1a6b", "darkpink": "#d6407a", "lightorange": "#ffc078",
    "cream": "#fff4d6", "blonde": "#e8cf8c",
}  # fmt: skip

#: Word → factors for width, height, depth.
SIZES: dict[str, tuple[float, float, float]] = {
    "tiny": (0.35, 0.35, 0.35), "small": (0.6, 0.6, 0.6), "little": (0.6, 0.6, 0.6), "mini": (0.5, 0.5, 0.5),
    "medium": (1.0, 1.0, 1.0), "big": (1.5, 1.5, 1.5), "large": (1.5, 1.5, 1.5), "huge": (2.2, 2.2, 2.2),
    "giant": (2.2, 2.2, 2.2), "tall": (1.0, 1.7, 1.0), "high": (1.0, 1.5, 1.0), "short": (1.0, 0.6, 1.0),
    "low": (1.0, 0.6, 1.0), "flat": (1.0, 0.35, 1.0), "wide": (1.7, 1.0, 1.0), "broad": (1.7, 1.0, 1.0),
    "narrow": (0.6, 1.0, 1.0), "long": (1.0, 1.0, 1.7), "thin": (0.5, 1.0, 0.5), "slim": (0.7, 1.0, 0.7),
    "thick": (1.4, 1.0, 1.4), "fat": (1.4, 1.0, 1.4), "chubby": (1.3, 1.0, 1.3),
}  # fmt: skip

NUMBERS: dict[str, int] = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11,
    "twelve": 12, "dozen": 12, "pair": 2, "couple": 2, "few": 3, "several": 4, "many": 6, "trio": 3, "both": 2,
}  # fmt: skip
MAX_COUNT = 12
#: A plural without a number.
SOME = 3
STACKS = frozenset({"stack", "pile", "tower"})

#: Spelling → relation; longer spellings are tried first.
RELATIONS: dict[str, str] = {
    **dict.fromkeys(
        ("on top of", "on", "onto", "atop", "upon", "over", "above", "standing on", "sitting on", "resting on",
         "lying on", "placed on", "parked on", "perched on"), "on"),
    **dict.fromkeys(("under", "below", "beneath", "underneath", "sitting under", "standing under", "hiding under"),
                    "under"),
    **dict.fromkeys(("beside", "next to", "near", "by", "alongside", "along with", "standing next to",
                     "sitting next to", "standing beside"), "beside"),
    **dict.fromkeys(("left of", "to the left of", "on the left of"), "left"),
    **dict.fromkeys(("right of", "to the right of", "on the right of"), "right"),
    **dict.fromkeys(("in front of", "before"), "front"),
    **dict.fromkeys(("behind", "in back of", "hiding behind"), "behind"),
    **dict.fromkeys(("inside", "inside of", "in", "into", "within", "sitting in", "standing in"), "inside"),
    **dict.fromkeys(("around", "surrounding", "encircling", "all around"), "around"),
    **dict.fromkeys(("surrounded by",), "surrounded"),
    **dict.fromkeys(("full of", "filled with", "containing", "holding"), "holding"),
}  # fmt: skip
ORDERED_RELATIONS = sorted(RELATIONS, key=lambda words: -len(words.split()))
JOINS = frozenset({"and", "plus", "&", ",", ";"})
WITH, WITHOUT = frozenset({"with", "has", "having", "wearing"}), frozenset({"without", "no"})

ARTICLES = frozenset({"a", "an", "one", "single", "another"})
#: Words that carry nothing to draw.
FILLERS = frozenset(
    [
        "the",
        "of",
        "in",
        "made",
        "out",
        "is",
        "are",
        "it",
        "its",
        "that",
        "which",
        "there",
        "very",
        "really",
        "please",
        "nice",
        "simple",
        "object",
        "objects",
        "3d",
        "model",
        "models",
        "shape",
        "solid",
        "coloured",
        "colored",
        "painted",
        "color",
        "colour",
        "some",
        "set",
        "group",
        "render",
        "rendering",
        "picture",
        "image",
        "create",
        "make",
        "generate",
        "me",
        "i",
        "want",
        "draw",
        "show",
        "standing",
        "sitting",
        "lying",
        "each",
        "other",
        "my",
        "our",
        "this",
        "these",
        "his",
        "her",
        "their",
        "to",
    ]
)


def plurals_of(name: str) -> tuple[str, ...]:
    """The regular plural of a word, and of compound words of their last part."""
    if name.endswith(("s", "x", "ch", "sh", "z")):
        return (name + "es",)
    if name.endswith("y") and name[-2] not in "aeiou":
        return (name[:-1] + "ies",)
    if name.endswith("fe"):
        return (name[:-2] + "ves", name + "s")
    if name.endswith(("lf", "af")):
        return (name[:-1] + "ves", name + "s")
    if name.endswith("o"):
        return (name + "s", name + "es")
    return (name + "s",)


#: Word → name of the thing, and the same for plurals.
WORDS: dict[str, str] = {word: name for name, thing in THINGS.items() for word in (name, *thing.words)}
PLURALS: dict[str, str] = {
    plural: name
    for name, thing in THINGS.items()
    for plural in (*thing.plurals, *(p for word in (name, *thing.words) for p in plurals_of(word)))
}
LONGEST = max(len(word.split()) for word in (*WORDS, *PLURALS, *RELATIONS))


@cache
def parts_of(name: str) -> tuple[str, ...]:
    """The parts of a thing that can be named, in their order."""
    return tuple(dict.fromkeys(piece.part for piece in THINGS[name].pieces(12)))


def listed() -> dict[str, tuple[str, ...]]:
    """The vocabulary by kind, for `GET /engines` and for refusals."""
    return {
        "things": tuple(sorted(WORDS)),
        "plurals": tuple(sorted(PLURALS)),
        "materials": tuple(sorted(MATERIAL_WORDS)),
        "colours": tuple(sorted(COLOURS)),
        "sizes": tuple(SIZES),
        "relations": tuple(RELATIONS),
        "numbers": tuple(NUMBERS),
        "styles": tuple(STYLES),
    }
