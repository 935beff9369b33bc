"""Words to a scene description.

    prompt    = statement (("and" | ",") statement)*
    statement = group (relation group)*
    group     = phrase (("and" | ",") phrase)*
    phrase    = [count] (size | colour | material | style)* thing [("with" | "without") part …] [colour | material]

In "a cup and a plate on a table" both are on the table; in "a cat on a table and a dog under a chair" each stands where
its own words put it. Words that are not known become warnings.
"""

import re
from dataclasses import dataclass, field, replace

from scratch3d.servicekit.errors import Unprocessable

from .styles import STYLE_WORDS
from .things import THINGS
from .vocabulary import (
    ARTICLES,
    COLOURS,
    FILLERS,
    JOINS,
    LONGEST,
    MATERIAL_WORDS,
    MAX_COUNT,
    NUMBERS,
    PLURALS,
    RELATIONS,
    SIZES,
    SOME,
    STACKS,
    WITH,
    WITHOUT,
    WORDS,
    parts_of,
)

#: Things that are drawn in all, counts included.
MAX_THINGS = 24
Scale = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Paint:
    """What is said about a part."""

    colour: str | None = None
    material: str | None = None


@dataclass(frozen=True, kw_only=True)
class Item:
    """One phrase: a thing, how often, how it looks, and how it stands to another item."""

    thing: str
    count: int = 1
    stacked: bool = False
    colours: tuple[str, ...] = ()
    material: str | None = None
    scale: Scale = (1.0, 1.0, 1.0)
    parts: tuple[tuple[str, Paint], ...] = ()
    without: tuple[str, ...] = ()
    relation: str | None = None
    #: index of the item the relation points to
    target: int | None = None


@dataclass(frozen=True, kw_only=True)
class Description:
    """A whole prompt."""

    items: tuple[Item, ...]
    styles: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass
class _Words:
    """What was said before the noun that takes it."""

    count: int | None = None
    stacked: bool = False
    colours: list[str] = field(default_factory=list)
    material: str | None = None
    scale: Scale = (1.0, 1.0, 1.0)

    @property
    def said(self) -> bool:
        return bool(self.colours or self.material or self.count or self.scale != (1.0, 1.0, 1.0))

    def resize(self, factors: Scale) -> None:
        x, y, z = self.scale
        self.scale = (x * factors[0], y * factors[1], z * factors[2])


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """Parts of an item are being named."""

    host: int
    #: "without": they are left off
    left_off: bool
    #: at least one was
    named: bool = False
    #: an "and" came after a part: what is no part now is a thing of its own
    closed: bool = False


@dataclass
class _Parser:
    words: list[str]
    items: list[Item] = field(default_factory=list)
    #: indices of the items of the present group
    group: list[int] = field(default_factory=list)
    #: the group behind the relation that waits for its target, and that relation
    waiting: tuple[list[int], str] | None = None
    #: the present group is already the target of a relation
    is_target: bool = False
    parts: "_Parts | None" = None
    now: _Words = field(default_factory=_Words)
    #: "a red and …": said before a noun that comes later
    unspoken: _Words | None = None
    #: the words since the last thing began with an article or a number: they lead, they do not trail
    opened: bool = True
    styles: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def parse(self) -> None:
        at = 0
        while at < len(self.words):
            at += self._phrase(at) or self._word(at)
        self._settle()

    def _phrase(self, at: int) -> int:
        """Everything that may have several words, the longest spelling first; how many words it took."""
        for length in range(min(LONGEST, len(self.words) - at), 0, -1):
            text = " ".join(self.words[at : at + length])
            colour = text.replace(" ", "")
            if text in RELATIONS and not (text == "in" and self._ends_phrase(at + 1)):
                self._relation(RELATIONS[text])
            elif self.parts and self._part(text):
                pass
            elif text in STYLE_WORDS:
                self.styles.append(STYLE_WORDS[text])
            elif length <= 3 and colour in COLOURS and not self._is_last_noun(text, at + length):
                self.now.colours.append(colour)
            elif text in MATERIAL_WORDS and not self._is_last_noun(text, at + length):
                self.now.material = MATERIAL_WORDS[text]
            elif text in WORDS or text in PLURALS:
                if length == 1 and text in STACKS and self.words[at + 1 : at + 2] == ["of"]:
                    return 0
                self._thing(WORDS.get(text) or PLURALS[text], plural=text not in WORDS)
            else:
                continue
            return length
        return 0

    def _ends_phrase(self, at: int) -> bool:
        """From here to the end of the phrase no thing is named: "a cube in red"."""
        for word in self.words[at : at + 4]:
            if word in JOINS or word in RELATIONS:
                return True
            if word in WORDS or word in PLURALS:
                return False
        rest = " ".join(self.words[at : at + 4])
        return not any(word in rest for word in (*WORDS, *PLURALS) if " " in word)

    def _is_last_noun(self, text: str, at: int) -> bool:
        """A word that is a thing as well as a colour or material ("orange", "brick") is the thing when none follows."""
        if text not in WORDS:
            return False
        if self.parts and at < len(self.words) and _matching(self.words[at], self._named_parts()):
            return False  # "with an orange shell"
        return self._ends_phrase(at) or (at < len(self.words) and self.words[at] in (*JOINS, *WITH))

    def _word(self, at: int) -> int:
        word = self.words[at]
        if word in JOINS:
            self._join(" ".join(self.words[at + 1 : at + 2]))
        elif word in WITH or word in WITHOUT:
            self._settle()
            if self.group:
                self.parts = _Parts(host=self.group[-1], left_off=word in WITHOUT)
        elif word in STACKS:
            self.now.stacked = True
        elif word in SIZES:
            self.now.resize(SIZES[word])
        elif word in NUMBERS or word.isdecimal():
            self._count(NUMBERS[word] if word in NUMBERS else int(word[:6]))
        elif word in ARTICLES:
            self.opened = True
        elif word not in FILLERS:
            self.unknown.append(word)
        return 1

    def _count(self, number: int) -> None:
        if number > MAX_COUNT:
            self.warnings.append(f"{MAX_COUNT} are drawn at most, {number} were asked")
        self.now.count = min(max(number, 1), MAX_COUNT)
        self.opened = True

    def _join(self, following: str) -> None:
        """Take "and": another colour of the same thing, the same thing once more, or simply the next thing."""
        if self.parts and self.parts.named:
            self.parts = replace(self.parts, closed=True)
        if not self.now.said:
            return
        if self.items and not self.opened:
            self._settle()  # "a cube, blue, and a ball"
        elif following in ARTICLES:
            self.unspoken, self.now = self.now, _Words()  # "a red and a blue cube"

    def _relation(self, relation: str) -> None:
        self._settle()
        self.parts = None
        if not self.group:
            return
        if self.is_target and len(self.group) > 1:
            # "a cat on a table and a dog under a chair": the dog begins a statement of its own.
            self.group = self.group[-1:]
        self.waiting = (list(self.group), relation)
        self.group, self.is_target = [], True

    def _part(self, text: str) -> bool:
        """Paint or leave off a part of the thing whose parts are being named."""
        assert self.parts is not None
        item = self.items[self.parts.host]
        name = _matching(text, self._named_parts())
        if name is None:
            return False
        if self.parts.left_off:
            item = replace(item, without=(*item.without, name))
        else:
            paint = Paint(colour=self.now.colours[0] if self.now.colours else None, material=self.now.material)
            item = replace(item, parts=(*item.parts, (name, paint)))
        self.items[self.parts.host] = item
        self.parts = replace(self.parts, named=True, closed=False)
        self.now = _Words()
        return True

    def _named_parts(self) -> tuple[str, ...]:
        assert self.parts is not None
        return parts_of(self.items[self.parts.host].thing)

    def _thing(self, name: str, *, plural: bool) -> None:
        count = self.now.count or (SOME if plural else 1)
        if plural and self.now.count is None and name != "fish":
            self.warnings.append(f"no number is given for {name}: {SOME} are drawn")
        if self.unspoken is not None:
            self._add(name, self.unspoken, self.unspoken.count or 1)
            self.unspoken = None
        index = self._add(name, self.now, count)
        if self.parts and not self.parts.closed and not self.parts.left_off:
            # "a table with a lamp": what is no part of the table stands where the table takes it.
            self._accompany(index, self.parts.host)
        self.now, self.opened = _Words(), False

    def _add(self, name: str, words: _Words, count: int) -> int:
        self.items.append(
            Item(
                thing=name,
                count=count,
                stacked=words.stacked,
                colours=tuple(words.colours[:2]),
                material=words.material,
                scale=words.scale,
            )
        )
        if len(words.colours) > 2:
            self.warnings.append(f"only two colours of {name} are used")
        index = len(self.items) - 1
        if not self.group and self.waiting:
            group, relation = self.waiting
            self.waiting, self.group = None, [index]
            self._tie(group, relation, index)
        else:
            self.group.append(index)
        return index

    def _tie(self, group: list[int], relation: str, target: int) -> None:
        if relation == "surrounded":
            self.items[target] = replace(self.items[target], relation="around", target=group[-1])
            return
        if relation == "holding":
            self._accompany(target, group[-1])
            return
        for index in group:
            self.items[index] = replace(self.items[index], relation=relation, target=target)

    def _accompany(self, index: int, host: int) -> None:
        thing = THINGS[self.items[host].thing]
        relation = "inside" if thing.hollow else "on" if thing.seat else "beside"
        if relation != "beside":
            self.items[index] = replace(self.items[index], relation=relation, target=host)
            self.group = [i for i in self.group if i != index]

    def _settle(self) -> None:
        """Give what trails a thing ("a cube made of wood", "a cube in red") to it."""
        if self.items and self.now.said and self.group:
            last = self.items[-1]
            self.items[-1] = replace(
                last,
                colours=tuple(self.now.colours[:2]) or last.colours,
                material=self.now.material or last.material,
                scale=(
                    last.scale[0] * self.now.scale[0],
                    last.scale[1] * self.now.scale[1],
                    last.scale[2] * self.now.scale[2],
                ),
            )
        self.now = _Words()


def _matching(text: str, parts: tuple[str, ...]) -> str | None:
    """The part a word means: itself, its plural, or the last word of its name."""
    for part in parts:
        if text in {part, part + "s", part + "es", part[:-1] + "ves", part.split()[-1]}:
            return part
    return None


def parse(prompt: str) -> Description:
    """What a prompt says; Unprocessable when there is not one known thing."""
    parser = _Parser(re.findall(r"[^\W_]+|[,;&]", prompt.lower().replace("’s", "").replace("'s", "")))
    parser.parse()
    if not parser.items:
        raise Unprocessable(refusal(), code="unknown_prompt", field="prompt")
    warnings = list(parser.warnings)
    if parser.unknown:
        words = ", ".join(f"“{w}”" for w in dict.fromkeys(parser.unknown))
        warnings.insert(0, f"not in the vocabulary of the procedural engine, ignored: {words}"[:500])
    items, cut = _within_limit(parser.items)
    if cut:
        warnings.append(f"only the first {MAX_THINGS} things are drawn")
    return Description(items=items, styles=tuple(dict.fromkeys(parser.styles)), warnings=tuple(dict.fromkeys(warnings)))


def _within_limit(items: list[Item]) -> tuple[tuple[Item, ...], bool]:
    kept: list[Item] = []
    left = MAX_THINGS
    for item in items:
        if left <= 0:
            break
        kept.append(replace(item, count=min(item.count, left)))
        left -= kept[-1].count
    whole = len(kept) == len(items) and all(a.count == b.count for a, b in zip(kept, items, strict=True))
    known = range(len(kept))
    kept = [i if i.target is None or i.target in known else replace(i, relation=None, target=None) for i in kept]
    return tuple(kept), not whole


def refusal() -> str:
    """What to say when nothing in a prompt can be drawn."""
    things = ", ".join(sorted(WORDS))
    return (
        f"names nothing that the procedural engine can draw. It knows: {things}; in any CSS colour, "
        f"of {', '.join(sorted(set(MATERIAL_WORDS.values())))}; on, under, beside, in front of, behind, inside or around "
        "each other. For free prompts configure an image model: see docs/engines.md, section Image models."
    )
