"""References to files. Bytes and host paths never travel; a key relative to a root does."""

from typing import Annotated, Literal, get_args

from pydantic import Field, StringConstraints

from .values import Value

Root = Literal["inputs", "outputs", "cache"]
ROOTS: tuple[Root, ...] = get_args(Root)

#: `inputs/…`, `outputs/…` or `cache/…`; every segment starts with a letter, digit or underscore, so `..` and
#: hidden files cannot be spelled.
KEY_PATTERN = r"^(inputs|outputs|cache)(/[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}){1,12}$"

ArtifactKey = Annotated[str, StringConstraints(pattern=KEY_PATTERN, max_length=512)]


class ArtifactRef(Value):
    """One stored file: where it lies and what it must contain."""

    key: ArtifactKey
    media_type: str
    size_bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

    @property
    def name(self) -> str:
        """Last segment of the key."""
        return self.key.rsplit("/", 1)[-1]

    @property
    def public_path(self) -> str:
        """The seed's spelling of a file: `/` + key."""
        return "/" + self.key
