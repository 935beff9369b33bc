"""Routes of image-service."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from scratch3d.contracts.images import (
    ImagineRequest,
    ImagineResult,
    InspectedImage,
    InspectRequest,
    InspectResult,
    PrepareRequest,
)
from scratch3d.servicekit.app import STAGE_PROBLEMS, answer_stage_call
from scratch3d.servicekit.artifacts import ArtifactStore
from scratch3d.servicekit.errors import NotAvailable, NotFound, Unprocessable
from scratch3d.servicekit.registry import RunnersDep
from scratch3d.servicekit.runner import Payload

from .pictures import Limits, has_alpha, open_header
from .settings import Settings
from .work import wanted_views

router = APIRouter()


class Task(BaseModel):
    """What the engine's process is asked."""

    generate: ImagineRequest | None = None
    prepare: PrepareRequest | None = None


class State:
    """Resources of this process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.artifacts = ArtifactStore(settings.data_dir)

    @property
    def limits(self) -> Limits:
        """What is read of a picture at most."""
        return Limits(max_pixels=self.settings.max_picture_mpx * 1e6, max_bytes=self.settings.max_picture_mb * 1e6)


def state_of(request: Request) -> State:
    """The state made by the application's lifespan."""
    state: State = request.state.service
    return state


Service = Annotated[State, Depends(state_of)]


@router.post("/imagine/generate", response_model=ImagineResult, responses=STAGE_PROBLEMS, summary="A prompt to views")
async def generate(request: Request, wish: ImagineRequest, runners: RunnersDep) -> Response:
    """Streams NDJSON when the caller accepts it."""
    wanted_views(wish)
    return await answer_stage_call(request, runners.choose(wish.engine), Task(generate=wish))


@router.post("/imagine/prepare", response_model=ImagineResult, responses=STAGE_PROBLEMS, summary="Pictures to views")
async def prepare(request: Request, given: PrepareRequest, runners: RunnersDep) -> Response:
    """Streams NDJSON when the caller accepts it."""
    return await answer_stage_call(request, runners.choose("auto"), Task(prepare=given))


@router.post("/imagine/inspect", response_model=InspectResult, responses=STAGE_PROBLEMS, summary="Look at headers")
def inspect(wish: InspectRequest, state: Service) -> InspectResult:
    """Without taking the engine: format, size and alpha of stored pictures; 422 naming the first bad one."""
    return InspectResult(images=tuple(_inspect(state, key, number) for number, key in enumerate(wish.keys)))


@router.post("/imagine/from-urls", responses=STAGE_PROBLEMS, summary="Pictures from the web to views")
def from_urls(body: Payload) -> Response:
    """Not there yet: pictures come as files under inputs/."""
    raise NotAvailable("fetching pictures from the web is not available here: upload them", field="urls")


def _inspect(state: State, key: str, number: int) -> InspectedImage:
    field = f"image_paths[{number}]"
    try:
        path = state.artifacts.local(key)
    except NotFound as error:
        raise Unprocessable(error.detail, code="not_found", field=field) from None
    size = path.stat().st_size
    content = path.read_bytes() if size <= state.limits.max_bytes else b"\0" * (int(state.limits.max_bytes) + 1)
    image = open_header(content, state.limits, field=field)
    return InspectedImage(
        key=key,
        format=str(image.format),
        width_px=image.width,
        height_px=image.height,
        has_alpha=has_alpha(image),
    )
