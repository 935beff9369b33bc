"""Files that somebody got by hand, for machines without a network."""

from pathlib import Path

from .catalogue import Model, ModelFile
from .download import discard
from .errors import FetchFailed
from .files import CHUNK, size_of
from .listener import Listener


class Folder:
    """A directory with files as a browser leaves them (all in one place), or as the hub or we lay them out."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def bring(self, model: Model, file: ModelFile, part: Path, listener: Listener) -> None:
        """Copy a file to `part`; FetchFailed when it is not there, or of another size."""
        candidates = (f"{model.id}/{file.path}", file.path, file.name, Path(file.name).name)
        found = {path: size for path in candidates if (size := size_of(self.directory / path)) is not None}
        fitting = next((path for path, size in found.items() if size == file.size), None)
        if fitting is None:
            sizes = ", ".join(f"{path} has {size}" for path, size in found.items())
            raise FetchFailed(
                f"{self.directory} has no {file.name} of {file.size} bytes"
                + (f" ({sizes}: is that download complete?)" if sizes else f"; looked for {_listed(candidates)}")
                + f". It comes from {model.repository} on the hub, revision {model.revision}"
            )
        discard(part)
        with (self.directory / fitting).open("rb") as source, part.open("wb") as out:
            done = 0
            while chunk := source.read(CHUNK):
                done += out.write(chunk)
                listener.progress(file.name, done, file.size)

    def remedy(self, model: Model, file: ModelFile) -> str:
        """What to do about a file with the wrong content."""
        return (
            f"The file in {self.directory} was left alone; it is damaged, or of another revision than {model.revision}: "
            f"download {file.name} again and compare it with `sha256sum`"
        )


def _listed(paths: tuple[str, ...]) -> str:
    return ", ".join(dict.fromkeys(paths))
