"""What of the catalogue lies on this disk: looked at quickly by size, or hashed."""

import shutil
from pathlib import Path
from typing import Literal

from scratch3d.contracts.values import Value

from . import conversion
from .catalogue import Licence, Model, ModelFile
from .files import sha256_of, size_of
from .listener import Listener


class ModelRow(Value):
    """One model and how much of it seems to be here, judged by sizes alone."""

    id: str
    summary: str
    repository: str
    revision: str
    licence: Licence
    size_bytes: int
    state: Literal["installed", "partly", "not installed"]
    files: int
    files_here: int
    path: str


class Listing(Value):
    """Every model of the catalogue."""

    models_dir: str
    models: tuple[ModelRow, ...]


class FileCheck(Value):
    """One file, hashed. A file that was converted here has no expected size; its hash is the recorded one."""

    path: str
    state: Literal["ok", "missing", "wrong"]
    size_bytes: int | None = None
    size_found: int | None = None
    sha256: str | None = None
    sha256_found: str | None = None


class ModelCheck(Value):
    """One model; `ok` when nothing that it needs is missing, and nothing that is there is wrong."""

    id: str
    path: str
    ok: bool
    files: tuple[FileCheck, ...]


class Verification(Value):
    """Every model that was asked for."""

    ok: bool
    models: tuple[ModelCheck, ...]


class ModelStore:
    """The models directory; nothing in it is written here."""

    def __init__(self, models_dir: Path) -> None:
        self.models_dir = models_dir

    def folder(self, model: Model) -> Path:
        """Where a model's files lie."""
        return self.models_dir / model.id

    def free_bytes(self) -> int:
        """Free space on the disk that holds the models directory, or will hold it."""
        there = next(
            path for path in (self.models_dir.absolute(), *self.models_dir.absolute().parents) if path.exists()
        )
        return shutil.disk_usage(there).free

    def row(self, model: Model) -> ModelRow:
        """How much of a model is here; no file is read."""
        here = sum(self._seems_here(model, file) for file in model.files)
        return ModelRow(
            id=model.id,
            summary=model.summary,
            repository=model.repository,
            revision=model.revision,
            licence=model.licence,
            size_bytes=model.size,
            state="installed" if here == len(model.files) else "partly" if here else "not installed",
            files=len(model.files),
            files_here=here,
            path=str(self.folder(model)),
        )

    def _seems_here(self, model: Model, file: ModelFile) -> bool:
        folder = self.folder(model)
        if size_of(folder / file.path) == file.size:
            return True
        record = conversion.record_of(folder / file.converted) if file.converted else None
        made = record is not None and record.source_sha256 == file.sha256
        return made and size_of(folder / str(file.converted)) is not None

    def verify(self, model: Model, listener: Listener) -> ModelCheck:
        """Hash all that is here. A checkpoint that was given up for its converted form is not missing."""
        checks: list[FileCheck] = []
        for file in model.files:
            original, converted = self.original(model, file, listener), self.converted(model, file, listener)
            given_up = original.state == "missing" and converted is not None and converted.state == "ok"
            checks += [] if given_up else [original]
            checks += [converted] if converted else []
        ok = all(check.state == "ok" for check in checks)
        return ModelCheck(id=model.id, path=str(self.folder(model)), ok=ok, files=tuple(checks))

    def original(self, model: Model, file: ModelFile, listener: Listener) -> FileCheck:
        """Compare a file with the catalogue; it is hashed only when its size is right."""
        path = self.folder(model) / file.path
        expected = FileCheck(path=file.path, state="missing", size_bytes=file.size, sha256=file.sha256)
        if (size := size_of(path)) is None:
            return expected
        digest = sha256_of(path, file.path, listener) if size == file.size else None
        state = "ok" if digest == file.sha256 else "wrong"
        return expected.model_copy(update={"state": state, "size_found": size, "sha256_found": digest})

    def converted(self, model: Model, file: ModelFile, listener: Listener) -> FileCheck | None:
        """Compare a converted file with its record; None when nothing was converted.

        Wrong is also what has no record, and what was made from another checkpoint than the catalogue's.
        """
        if not file.converted:
            return None
        target = self.folder(model) / file.converted
        record, size = conversion.record_of(target), size_of(target)
        if size is None:
            missing = FileCheck(path=file.converted, state="missing", sha256=record.sha256 if record else None)
            return missing if record else None
        digest = sha256_of(target, file.converted, listener)
        fits = record is not None and record.source_sha256 == file.sha256 and record.sha256 == digest
        return FileCheck(
            path=file.converted,
            state="ok" if fits else "wrong",
            size_found=size,
            sha256=record.sha256 if record else None,
            sha256_found=digest,
        )
