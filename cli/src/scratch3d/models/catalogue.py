"""The catalogue: which models can be fetched, from where, under which licence, and what each file must contain."""

import importlib.resources
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, ValidationError, model_validator

from scratch3d.contracts.values import Value

from .errors import BadCatalogue, UnknownModel

_SEGMENT = r"[A-Za-z0-9_][A-Za-z0-9_.+=@\-]{0,127}"

ModelId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.\-]{0,63}$")]
#: No segment starts with a dot, so neither `..` nor a hidden file can be spelled.
RelativePath = Annotated[str, StringConstraints(pattern=rf"^{_SEGMENT}(/{_SEGMENT}){{0,11}}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Entry(Value):
    """People write catalogues: an unknown field is a typing error, never ignored."""

    model_config = ConfigDict(extra="forbid")


class Licence(_Entry):
    """What may be done with a model's weights."""

    #: SPDX identifier, or `LicenseRef-…`.
    code: str
    sentence: str
    commercial: Literal["yes", "conditional", "no"]
    url: str


class ModelFile(_Entry):
    """One file: `name` in the repository, `path` below the model's folder."""

    name: RelativePath
    path: RelativePath
    size: Annotated[int, Field(ge=1)]
    sha256: Sha256
    convert: Literal["safetensors"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _path_is_name(cls, given: object) -> object:
        return {"path": given["name"], **given} if isinstance(given, dict) and "name" in given else given

    @property
    def converted(self) -> str | None:
        """Path below the model's folder of what this file is converted to."""
        return str(Path(self.path).with_suffix(f".{self.convert}")) if self.convert else None


class Model(_Entry):
    """One model: a commit of a repository on the hub, and the files taken from it."""

    id: ModelId
    summary: str
    repository: Annotated[str, StringConstraints(pattern=rf"^{_SEGMENT}/{_SEGMENT}$")]
    #: A commit; a branch moves on, and the hashes would no longer fit.
    revision: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
    licence: Licence
    files: Annotated[tuple[ModelFile, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _every_path_once(self) -> Self:
        paths = [path for file in self.files for path in (file.path, file.converted) if path]
        if twice := sorted({path for path in paths if paths.count(path) > 1}):
            raise ValueError(f"{', '.join(twice)} would be written twice")
        return self

    @property
    def size(self) -> int:
        """Bytes to download for all files."""
        return sum(file.size for file in self.files)


class Catalogue(_Entry):
    """Models by id."""

    models: tuple[Model, ...]

    @model_validator(mode="after")
    def _every_id_once(self) -> Self:
        ids = [model.id for model in self.models]
        if twice := sorted({name for name in ids if ids.count(name) > 1}):
            raise ValueError(f"{', '.join(twice)} is there twice")
        return self

    def named(self, ids: list[str]) -> list[Model]:
        """These models, each once; UnknownModel names those that exist."""
        by_id = {model.id: model for model in self.models}
        for name in ids:
            if name not in by_id:
                raise UnknownModel(f"there is no model {name}; there are: {', '.join(by_id) or 'none'}")
        return [by_id[name] for name in dict.fromkeys(ids)]


def load(own: Path | None = None) -> Catalogue:
    """The catalogue of this package; a file of your own adds models, or replaces those whose id it has.

    Raises BadCatalogue with the file and the field.
    """
    shipped = _parsed(
        importlib.resources.files(__package__).joinpath("catalogue.toml").read_text("utf-8"), "catalogue.toml"
    )
    if own is None:
        return shipped
    try:
        more = _parsed(own.read_text("utf-8"), str(own))
    except (OSError, UnicodeDecodeError) as error:
        raise BadCatalogue(f"{own} cannot be read: {error}") from error
    return Catalogue(models=tuple({model.id: model for model in (*shipped.models, *more.models)}.values()))


def _parsed(text: str, name: str) -> Catalogue:
    try:
        return Catalogue.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise BadCatalogue(f"{name} is not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise BadCatalogue(f"{name}: {where}: {first['msg']}") from error
