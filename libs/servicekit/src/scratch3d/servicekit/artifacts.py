"""Files by key. `inputs/…`, `outputs/…` and `cache/…` map to directories of this process; paths never leave it."""

import contextlib
import hashlib
import mimetypes
import os
import shutil
import stat
import time
import uuid
from pathlib import Path
from typing import BinaryIO

from pydantic import TypeAdapter, ValidationError

from scratch3d.contracts.artifacts import ROOTS, ArtifactKey, ArtifactRef

from .errors import Failed, NotFound, Unprocessable

_KEY = TypeAdapter(ArtifactKey)
_MEDIA_TYPES = {
    ".glb": "model/gltf-binary",
    ".obj": "model/obj",
    ".mtl": "model/mtl",
    ".stl": "model/stl",
    ".ply": "application/x-ply",
    ".webp": "image/webp",
}


class StorageFailed(Failed):
    """A file could not be written; the volume may be full or read-only."""

    code, retryable = "storage", True


def media_type_of(name: str) -> str:
    """The registered media type of a file name."""
    suffix = Path(name).suffix.lower()
    return _MEDIA_TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"


def key_from_path(path: str, *, field: str = "path") -> str:
    """`x.png`, `inputs/x.png` and `/inputs/x.png` all mean the key `inputs/x.png`; Unprocessable for anything else."""
    bare = path.removeprefix("/")
    key = bare if bare.split("/", 1)[0] in ROOTS else f"inputs/{bare}"
    return checked_key(key, field=field)


def checked_key(key: str, *, field: str = "key") -> str:
    """The key itself, or Unprocessable naming the field."""
    try:
        return _KEY.validate_python(key)
    except ValidationError:
        raise Unprocessable(
            "is not a file under inputs/: use letters, digits, '.', '_' and '-', as in inputs/chair/front.png",
            code="invalid_path",
            field=field,
        ) from None


#: A file is written within minutes; a temporary one that is older has lost its writer.
LEFTOVER_S = 3600.0


class ArtifactStore:
    """The volumes of this process."""

    def __init__(self, data_dir: Path) -> None:
        self.roots: dict[str, Path] = {root: (data_dir / root).absolute() for root in ROOTS}

    def prepare(self) -> None:
        """Create the directories that are missing."""
        for root in self.roots.values():
            root.mkdir(parents=True, exist_ok=True)

    def put(self, key: str, content: bytes) -> ArtifactRef:
        """Write a file whole or not at all: temporary file beside it, fsync, rename, fsync of the directory."""
        target = self._path(key)
        temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
            _sync_directory(target.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise StorageFailed(f"could not write {key}: {error.strerror}") from error
        return _ref(key, content)

    def get(self, ref: ArtifactRef) -> bytes:
        """The content; Failed when it is not what the reference says."""
        with self.open(ref.key) as file:
            content = file.read()
        if len(content) != ref.size_bytes or hashlib.sha256(content).hexdigest() != ref.sha256:
            raise Failed(f"{ref.key} does not have the recorded content", code="artifact_damaged")
        return content

    def local(self, key: str) -> Path:
        """A path for programs that need one; NotFound when there is no such regular file."""
        path = self._path(key)
        # No symbolic link may lead out of the root, and nothing but a regular file is ever opened.
        try:
            inside = path.resolve(strict=True).is_relative_to(self.roots[_root(key)].resolve())
            regular = stat.S_ISREG(path.lstat().st_mode)
        except OSError:
            raise NotFound(f"there is no file {key}") from None
        if not inside or not regular:
            raise NotFound(f"there is no file {key}")
        return path

    def open(self, key: str) -> BinaryIO:
        """The file for reading; NotFound when there is no such regular file. No symbolic link is ever followed."""
        descriptor = self._descend(key)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise NotFound(f"there is no file {key}")
        return os.fdopen(descriptor, "rb")

    def open_given(self, key: str) -> BinaryIO:
        """As `open`, for a key that a caller named: not a second name of a file that lies elsewhere either."""
        file = self.open(key)
        if os.fstat(file.fileno()).st_nlink > 1:
            file.close()
            raise NotFound(f"there is no file {key} of its own: it is a hard link")
        return file

    def _descend(self, key: str) -> int:
        """A descriptor of the key's file, opened directory by directory, so that none can be swapped on the way."""
        checked_key(key)
        root, *folders, name = key.split("/")
        try:
            here = os.open(self.roots[root], os.O_RDONLY | os.O_DIRECTORY)
            try:
                for folder in folders:
                    below = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
                    os.close(here)
                    here = below
                # Without waiting: a named pipe would hold the open until somebody writes to it.
                return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=here)
            finally:
                os.close(here)
        except OSError:
            raise NotFound(f"there is no file {key}") from None

    def reference(self, key: str) -> ArtifactRef:
        """A reference to a file that is already there."""
        with self.open(key) as file:
            return _ref(key, file.read())

    def exists(self, ref: ArtifactRef) -> bool:
        """There is a file of the recorded size under this key."""
        try:
            return self.local(ref.key).stat().st_size == ref.size_bytes
        except NotFound:
            return False

    def duplicate(self, key: str, target: str, *, link: bool) -> None:
        """The file under a second key; `link`: as a second name of the same content, where the disk can do that.

        StorageFailed when it cannot be written, NotFound when the source is not there.
        """
        source, path = self.local(key), self._path(target)
        temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                if not link:
                    raise OSError
                os.link(source, temporary)
            except OSError:
                shutil.copyfile(source, temporary)
            temporary.replace(path)
            _sync_directory(path.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise StorageFailed(f"could not write {target}: {error.strerror}") from error

    def delete_tree(self, prefix: str) -> None:
        """Remove `inputs/{job}` or `outputs/{job}` with everything in it; missing is fine."""
        if prefix.count("/") < 1:
            raise ValueError("a whole root is never deleted")
        shutil.rmtree(self._path(prefix), ignore_errors=True)

    def sweep(self) -> int:
        """Remove temporary files whose writer died before it could name them; how many there were."""
        swept, oldest = 0, time.time() - LEFTOVER_S
        for root in self.roots.values():
            for path in root.glob("**/.*.tmp"):
                with contextlib.suppress(OSError):
                    if path.lstat().st_mtime < oldest:
                        path.unlink()
                        swept += 1
        return swept

    def _path(self, key: str) -> Path:
        checked_key(key)
        root, rest = key.split("/", 1)
        return self.roots[root] / rest


def _root(key: str) -> str:
    return key.split("/", 1)[0]


def _ref(key: str, content: bytes) -> ArtifactRef:
    return ArtifactRef(
        key=key, media_type=media_type_of(key), size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest()
    )


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
