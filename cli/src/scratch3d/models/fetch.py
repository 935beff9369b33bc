"""Make models whole: see what is missing, bring it, check it, put it in place, convert it."""

import fcntl
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from rich.filesize import decimal

from . import conversion
from .catalogue import Model, ModelFile
from .download import discard
from .errors import FetchFailed, WrongContent
from .files import put_in_place, sha256_of, size_of
from .listener import Listener
from .store import ModelStore


class Source(Protocol):
    """Where files come from."""

    def bring(self, model: Model, file: ModelFile, part: Path, listener: Listener) -> None:
        """Fill `part`, which may hold the beginning already; FetchFailed says why it cannot be done."""

    def remedy(self, model: Model, file: ModelFile) -> str:
        """What to do about a file with the wrong content."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be done for one model."""

    model: Model
    folder: Path
    bring: tuple[ModelFile, ...]
    convert: tuple[ModelFile, ...]

    @property
    def bytes_needed(self) -> int:
        """Disk that will be taken: what is still to come, and what will be made of it."""
        coming = sum(file.size - min(size_of(_part(self.folder / file.path)) or 0, file.size) for file in self.bring)
        return coming + (sum(file.size for file in self.convert) if conversion.can_convert() else 0)


def fetch(
    models: Sequence[Model], store: ModelStore, source: Source, listener: Listener, *, keep_original: bool = True
) -> None:
    """Make these models whole, and say what was done.

    Files that are here and right are left alone. Raises FetchFailed (another fetch is at work, too little disk, nothing
    to be had), WrongContent, or OSError of the disk. Whatever ends it, files in place are whole.
    """
    with ExitStack() as held:
        for model in models:
            held.enter_context(alone(store.folder(model)))
        plans = [_plan(model, store, listener, keep_original=keep_original) for model in models]
        _refuse_without_space(sum(plan.bytes_needed for plan in plans), store)
        for plan in plans:
            for file in plan.bring:
                _bring(plan, file, source, listener)
            given_up = [file for file in plan.model.files if _converted(plan, file, listener) and not keep_original]
            dropped = [file for file in given_up if _drop_original(plan, file, listener)]
            if not (plan.bring or plan.convert or dropped):
                listener.say(f"{plan.model.id}: everything is there and right; nothing to do")


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a model's folder; FetchFailed names the process that holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".fetch.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read() or "another process"
            raise FetchFailed(
                f"{folder} is being fetched by {holder}: wait until that is done and run the same command again, or stop "
                "that process"
            ) from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()} since {datetime.now():%Y-%m-%d %H:%M:%S}")
        lock.flush()
        yield


def _plan(model: Model, store: ModelStore, listener: Listener, *, keep_original: bool) -> Plan:
    """Look at what is here; a wrong file is replaced, unless it would only be thrown away."""
    bring, convert = [], []
    for file in model.files:
        original, converted = store.original(model, file, listener), store.converted(model, file, listener)
        done = converted is not None and converted.state == "ok"
        if original.state == "wrong":
            listener.say(f"{model.id}: {file.path} is not what it should be, or damaged")
        if original.state != "ok" and not (done and (original.state == "missing" or not keep_original)):
            bring.append(file)
        if file.converted and not done:
            convert.append(file)
    return Plan(model=model, folder=store.folder(model), bring=tuple(bring), convert=tuple(convert))


def _refuse_without_space(needed: int, store: ModelStore) -> None:
    free = store.free_bytes()
    if needed > free:
        raise FetchFailed(
            f"too little disk: {decimal(needed)} are needed below {store.models_dir}, {decimal(free)} are free. Free some "
            "space, or give a --data-dir on another disk; nothing was fetched"
        )


def _bring(plan: Plan, file: ModelFile, source: Source, listener: Listener) -> None:
    target = plan.folder / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _part(target)
    if kept := size_of(part):
        listener.say(f"{plan.model.id}: {file.path}, {decimal(file.size)}, of which {decimal(kept)} came earlier")
    else:
        listener.say(f"{plan.model.id}: {file.path}, {decimal(file.size)}")
    source.bring(plan.model, file, part, listener)
    size, digest = size_of(part), sha256_of(part, file.path, listener)
    if (size, digest) != (file.size, file.sha256):
        discard(part)
        raise WrongContent(
            f"{file.path} is not what the catalogue says, and was removed.\n"
            f"  expected {file.size} bytes, sha256 {file.sha256}\n"
            f"  found    {size} bytes, sha256 {digest}\n"
            f"  {source.remedy(plan.model, file)}"
        )
    put_in_place(part, target)
    discard(part)


def _converted(plan: Plan, file: ModelFile, listener: Listener) -> bool:
    """Convert a file where that is still to be done; whether a converted form now stands beside it."""
    if not file.converted:
        return False
    source, target = plan.folder / file.path, plan.folder / file.converted
    return file not in plan.convert or conversion.convert(source, target, file.sha256, listener)


def _drop_original(plan: Plan, file: ModelFile, listener: Listener) -> bool:
    """Remove a checkpoint that its converted form stands for; whether there was one."""
    original = plan.folder / file.path
    if not original.exists():
        return False
    original.unlink()
    listener.say(f"{plan.model.id}: removed {file.path}; {file.converted} stands for it")
    return True


def _part(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")
