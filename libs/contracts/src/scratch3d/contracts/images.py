"""image-service: prompts or pictures in, views out."""

from typing import Annotated

from pydantic import Field

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
    #: Where results go: `inputs/{job}/{attempt}`.
    output_prefix: ArtifactKey | None = None


class SourceImage(Request):
    """One given picture and where its camera stood, if known."""

    key: ArtifactKey
    view: ViewName | None = None
    azimuth_deg: Annotated[float, Field(ge=-360, le=360)] | None = None
    elevation_deg: Annotated[float, Field(ge=-90, le=90)] | None = None


class PrepareRequest(Request):
    """`POST /imagine/prepare`: given pictures become views that share one scale."""

    images: Annotated[tuple[SourceImage, ...], Field(min_length=1, max_length=16)]
    size_px: Annotated[int, Field(ge=64, le=1024)] = 512
    output_prefix: ArtifactKey | None = None


class InspectRequest(Request):
    """`POST /imagine/inspect`: look at headers only, without taking a slot."""

    keys: Annotated[tuple[ArtifactKey, ...], Field(min_length=1, max_length=16)]


class InspectedImage(Value):
    """What a file's header says."""

    key: str
    format: str
    width_px: int
    height_px: int
    has_alpha: bool


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
    warnings: tuple[str, ...] = ()
    duration_s: float = 0.0
    #: The seed's spelling: `/` + key of each view.
    image_paths: tuple[str, ...] = ()
