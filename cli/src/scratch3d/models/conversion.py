"""Checkpoints converted to safetensors, each beside a record of its hash and of the checkpoint it was made from.

The record has the form of `sha256sum`, so `sha256sum -c model.safetensors.sha256` checks it without us:

    # made from model.ckpt, sha256 429e…
    0d1c…  model.safetensors
"""

import importlib
import importlib.util
import re
import stat
from pathlib import Path

from scratch3d.contracts.values import Value

from .catalogue import Sha256
from .errors import FetchFailed
from .files import put_in_place, sha256_of
from .listener import Listener

_RECORD = re.compile(r"# made from \S+, sha256 (?P<source_sha256>[0-9a-f]{64})\n(?P<sha256>[0-9a-f]{64})  \S+\n")


class Record(Value):
    """Hash of a converted file, and of the one it was made from."""

    sha256: Sha256
    source_sha256: Sha256


def record_path(target: Path) -> Path:
    """Where the record of a converted file lies."""
    return target.with_name(f"{target.name}.sha256")


def record_of(target: Path) -> Record | None:
    """The record of a converted file; None when there is none that can be read."""
    path = record_path(target)
    found = _RECORD.fullmatch(path.read_text("utf-8", "replace")) if path.is_file() else None
    return Record.model_validate(found.groupdict()) if found else None


def can_convert() -> bool:
    """Whether the converter seems to be installed; nothing heavy is imported."""
    return importlib.util.find_spec("tsr") is not None


def convert(source: Path, target: Path, source_sha256: str, listener: Listener) -> bool:
    """Make `target` of `source`; False when the converter is not installed, which is said.

    The record is written last: a target that it does not fit was not finished. Raises FetchFailed for a checkpoint that
    the converter refuses.
    """
    try:
        weights = importlib.import_module("tsr.weights")
    except ImportError as error:
        listener.say(
            f"{source.name} works as it is. {target.name} would load faster and cannot hold code; making it needs the "
            f"package scratch3d-tsr with torch ({error}). Once that is installed, run the same command again."
        )
        return False
    listener.say(f"converting {source.name} to {target.name}")
    unfinished = target.with_name(f"{target.stem}.part{target.suffix}")
    try:
        weights.convert(source, unfinished)
        # safetensors makes files for their owner alone; an engine in a container is another user.
        unfinished.chmod(stat.S_IMODE(source.stat().st_mode))
        digest = sha256_of(unfinished, target.name, listener)
        put_in_place(unfinished, target)
    except weights.BadWeights as error:
        raise FetchFailed(
            f"{source} has the right content, but scratch3d-tsr cannot convert it: {error}. Are scratch3d and "
            "scratch3d-tsr of the same release? The checkpoint itself was kept."
        ) from error
    finally:
        unfinished.unlink(missing_ok=True)
    note = record_path(target).with_name(f"{target.name}.sha256.part")
    note.write_text(f"# made from {source.name}, sha256 {source_sha256}\n{digest}  {target.name}\n", "utf-8")
    put_in_place(note, record_path(target))
    return True
