"""How long work tells what it does, without knowing who listens."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Listener:
    """Sentences, and progress as (label, bytes done, bytes in all) per file."""

    say: Callable[[str], None]
    progress: Callable[[str, int, int], None]


#: Nobody listens.
NOBODY = Listener(say=lambda _: None, progress=lambda *_: None)
