"""Every thing the engine can build, by its name."""

from . import creatures, house, nature, outdoors, solids, tools
from .piece import Thing

#: Kind → the things of that kind.
KINDS: dict[str, dict[str, Thing]] = {
    "solids": solids.THINGS,
    "house": house.THINGS,
    "outdoors": outdoors.THINGS,
    "nature": nature.THINGS,
    "tools": tools.THINGS,
    "creatures": creatures.THINGS,
}
THINGS: dict[str, Thing] = {name: thing for things in KINDS.values() for name, thing in things.items()}
