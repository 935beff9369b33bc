"""Large files: hashes with progress, and names that only ever stand for whole files."""

import hashlib
import os
from pathlib import Path

from .listener import Listener

CHUNK = 1 << 20


def sha256_of(path: Path, label: str, listener: Listener) -> str:
    """Hash of a file's content, 64 hexadecimal digits."""
    digest, done = hashlib.sha256(), 0
    with path.open("rb", buffering=0) as file:
        total = os.fstat(file.fileno()).st_size
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            done += len(chunk)
            listener.progress(f"checking {label}", done, total)
    return digest.hexdigest()


def size_of(path: Path) -> int | None:
    """Bytes of a regular file; None when there is none."""
    return path.stat().st_size if path.is_file() else None


def put_in_place(finished: Path, target: Path) -> None:
    """Rename within a directory, once the content is on the disk: a power cut leaves a whole file, or none."""
    _sync(finished)
    finished.replace(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
