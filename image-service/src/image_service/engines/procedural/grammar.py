"""Words to a scene description.

    scene    = phrase (relation phrase)*
    phrase   = (size | colour | material)* thing (colour | material)*
    relation = "on" | "beside" and their spellings

A relation ties the phrase before it to the phrase after it: in "a ball on a box beside a cone" the ball is on the box,
and the box beside the cone. Words that are not known become warnings.
"""

import re
from dataclasses import dataclass, field

from scratch3d.servicekit.errors import Unprocessable

from .vocabulary import COLOURS, FILLERS, MATERIAL_WORDS, RELATIONS, SIZES, THINGS

MAX_THINGS = 8
_LONGEST_RELATION = max(len(words) for words in RELATIONS)


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing, and how it stands to the next one."""

    solid: str
    colour: str | None = None
    material: str | None = None
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    #: relation to the following item; None for the last
    relation: str | None = None


@dataclass
class _Phrase:
    """Words collected until a thing takes them."""

    solid: str | None = None
    colour: str | None = None
    material: str | None = None
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    relation: str | None = None

    def resize(self, factors: tuple[float, float, float]) -> None:
        x, y, z = self.scale
        self.scale = (x * factors[0], y * factors[1], z * factors[2])

    def item(self) -> Item:
        assert self.solid is not None
        return Item(
            solid=self.solid, colour=self.colour, material=self.material, scale=self.scale, relation=self.relation
        )


@dataclass
class _Parser:
    words: list[str]
    done: list[_Phrase] = field(default_factory=list)
    current: _Phrase = field(default_factory=_Phrase)
    unknown: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def parse(self) -> None:
        at = 0
        while at < len(self.words):
            at += self._relation(at) or self._colour(at) or self._word(self.words[at])
        self._settle()

    def _relation(self, at: int) -> int:
        for length in range(_LONGEST_RELATION, 0, -1):
            relation = RELATIONS.get(tuple(self.words[at : at + length]))
            if relation:
                self._settle()
                if self.done:
                    self.done[-1].relation = relation
                return length
        return 0

    def _colour(self, at: int) -> int:
        for length in (3, 2, 1):
            name = "".join(self.words[at : at + length])
            if len(self.words[at : at + length]) == length and name in COLOURS:
                self.current.colour = name
                return length
        return 0

    def _word(self, word: str) -> int:
        if word in SIZES:
            self.current.resize(SIZES[word])
        elif word in MATERIAL_WORDS:
            self.current.material = MATERIAL_WORDS[word]
        elif word in THINGS:
            self._thing(THINGS[word])
        elif word.endswith("s") and word[:-1] in THINGS:
            self.warnings.append(f"“{word}” is drawn once: counts are not understood")
            self._thing(THINGS[word[:-1]])
        elif word not in FILLERS:
            self.unknown.append(word)
        return 1

    def _thing(self, solid: str) -> None:
        self.current.solid = solid
        # Two things without a relation between them stand beside each other.
        self.done.append(self.current)
        self.current = _Phrase()

    def _settle(self) -> None:
        """Give colour and material that follow a thing ("a cube made of wood") to it."""
        if self.done:
            last = self.done[-1]
            last.colour = self.current.colour or last.colour
            last.material = self.current.material or last.material
            if self.current.scale != (1.0, 1.0, 1.0):
                last.resize(self.current.scale)
        self.current = _Phrase()


def parse(prompt: str) -> tuple[list[Item], list[str]]:
    """The things of a prompt in order, and warnings; Unprocessable when there is not one known thing."""
    parser = _Parser(re.findall(r"[^\W_]+", prompt.lower()))
    parser.parse()
    if not parser.done:
        raise Unprocessable(refusal(), code="unknown_prompt", field="prompt")
    warnings = list(parser.warnings)
    if parser.unknown:
        words = ", ".join(f"“{w}”" for w in dict.fromkeys(parser.unknown))
        warnings.insert(0, f"not in the vocabulary of the procedural engine, ignored: {words}"[:500])
    if len(parser.done) > MAX_THINGS:
        warnings.append(f"only the first {MAX_THINGS} things are drawn")
    return [phrase.item() for phrase in parser.done[:MAX_THINGS]], warnings


def refusal() -> str:
    """What to say when nothing in a prompt can be drawn."""
    things = ", ".join(sorted(THINGS))
    return (
        f"names nothing that the procedural engine can draw. It knows: {things}; in any CSS colour, "
        f"of {', '.join(sorted(set(MATERIAL_WORDS.values())))}, on or beside each other. "
        "For free prompts configure an image model: see docs/engines.md, section Image models."
    )
