"""Who holds which replica of a service: first come, first served, by a lease that ends by itself.

The replica's own lock is the guarantee that it does one thing at a time; a slot is the fair way to its door.
"""

from .channel import RedisChannel
from .memory import MemorySlots
from .protocol import Grant, NoSlot, Replica, Ride, Slots, Turn
from .redis import RedisSlots
from .wire import RedisWire, Script, ScriptCall, Word

__all__ = [
    "Grant",
    "MemorySlots",
    "NoSlot",
    "RedisChannel",
    "RedisSlots",
    "RedisWire",
    "Replica",
    "Ride",
    "Script",
    "ScriptCall",
    "Slots",
    "Turn",
    "Word",
]
