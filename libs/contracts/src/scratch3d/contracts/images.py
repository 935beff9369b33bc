"""image-service: prompts or pictures in, views out."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from .artifacts import ArtifactKey, ArtifactRef
from .engines import Seed
from .values import Request, Value
from .views import View, ViewName


class WantedView(Request):
    """One view to make: its name and its camera (distance is the maker's to choose)."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9\-]{0,31}$")]
    azimuth_deg: Annotated[float, Field(ge=-360, le=360)]
    elevation_deg: Annotated[float, Field(ge=-90, le=90)] = 0.0


class ImagineRequest(Request):
    """`POST /imagine/generate`. `prompts` is the seed's spelling: one prompt, or one per view."""

    prompts: Annotated[tuple[str, ...], Field(min_length=1, max_length=16)]
    views: Annotated[tuple[WantedView, ...], Field(max_length=16)] = ()
    view_set: str | None = None
    size_px: Annotated[int, Field(ge=64, le=1024)] = 512
    seed: Seed = 0
    engine: str = "auto"
    #: One of the styles the engine's card names.
    style: str | None = None
    #: Where results go: `inputs/{job}/{attempt}`.
    output_prefix: ArtifactKey | None = None


class SourceImage(Request):
    """One given picture, and where its camera stood, if known."""

    #: A stored file …
    key: ArtifactKey | None = None
    #: … or an address on the web; exactly one of the two.
    url: Annotated[str, Field(max_length=2048)] | None = None
    #: How the caller named this picture; problems say so.
    field: Annotated[str, Field(max_length=64)] = "images"
    view: ViewName | None = None
    azimuth_deg: Annotated[float, Field(ge=-360, le=360)] | None = None
    elevation_deg: Annotated[float, Field(ge=-90, le=90)] | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.key is None) == (self.url is None):
            raise ValueError("give exactly one of key and url")
        return self


Sources = Annotated[tuple[SourceImage, ...], Field(min_length=1, max_length=16)]


class PrepareRequest(Request):
    """`POST /imagine/prepare`: given pictures become views that share one scale."""

    images: Sources
    size_px: Annotated[int, Field(ge=64, le=1024)] = 512
    matting_engine: str = "auto"
    output_prefix: ArtifactKey | None = None


class FromUrlsRequest(Request):
    """`POST /imagine/from-urls`: the seed's spelling of `prepare`; the first picture is the front."""

    urls: Annotated[tuple[Annotated[str, Field(max_length=2048)], ...], Field(min_length=1, max_length=16)]
    size_px: Annotated[int, Field(ge=64, le=1024)] = 512
    matting_engine: str = "auto"
    output_prefix: ArtifactKey | None = None


class InspectRequest(Request):
    """`POST /imagine/inspect`: look at headers and addresses only, without taking a slot."""

    images: Sources


class InspectedImage(Value):
    """What a stored file's header says; nothing is known of an address before it is fetched."""

    key: str | None = None
    url: str | None = None
    format: str | None = None
    width_px: int | None = None
    height_px: int | None = None
    has_alpha: bool | None = None


class InspectResult(Value):
    """One entry per key, in order."""

    images: tuple[InspectedImage, ...]


class ImagineResult(Value):
    """Views, and what else was kept beside them."""

    engine: str
    engine_version: str
    seed: int
    views: tuple[View, ...]
    #: The true scene mesh of the procedural engine: the oracle.
    scene: ArtifactRef | None = None
    #: What was fetched from the web, as it came.
    fetched: tuple[ArtifactRef, ...] = ()
    warnings: tuple[str, ...] = ()
    duration_s: float = 0.0
    #: The seed's spelling: `/` + key of each view.
    image_paths: tuple[str, ...] = ()
