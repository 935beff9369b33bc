"""Routes of image-service."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from scratch3d.contracts.engines import EngineList
from scratch3d.contracts.images import (
    FromUrlsRequest,
    ImagineRequest,
    ImagineResult,
    InspectedImage,
    InspectRequest,
    InspectResult,
    PrepareRequest,
    SourceImage,
)
from scratch3d.servicekit import registry
from scratch3d.servicekit.app import STAGE_PROBLEMS, answer_stage_call
from scratch3d.servicekit.artifacts import ArtifactStore
from scratch3d.servicekit.errors import NotFound, Unprocessable
from scratch3d.servicekit.registry import RunnersDep
from scratch3d.servicekit.runner import Runner

from . import matting
from .intake.headers import has_alpha, opened
from .intake.urls import Allow, parse_url
from .settings import Settings
from .work import wanted_views

router = APIRouter()


class State:
    """Resources of this process."""

    def __init__(self, settings: Settings, intake: Runner) -> None:
        self.settings, self.intake = settings, intake
        self.artifacts = ArtifactStore(settings.data_dir)
        self.allow = Allow.parse(settings.fetch_allow)


def state_of(request: Request) -> State:
    """The state made by the application's lifespan."""
    state: State = request.state.service
    return state


Service = Annotated[State, Depends(state_of)]


@router.post("/imagine/generate", response_model=ImagineResult, responses=STAGE_PROBLEMS, summary="A prompt to views")
async def generate(request: Request, wish: ImagineRequest, runners: RunnersDep) -> Response:
    """Streams NDJSON when the caller accepts it."""
    wanted_views(wish)
    return await answer_stage_call(request, runners.choose(wish.engine), wish)


@router.post("/imagine/prepare", response_model=ImagineResult, responses=STAGE_PROBLEMS, summary="Pictures to views")
async def prepare(request: Request, given: PrepareRequest, state: Service) -> Response:
    """Streams NDJSON when the caller accepts it. Pictures do not wait for an image engine that is drawing."""
    return await answer_stage_call(request, state.intake, given)


@router.post(
    "/imagine/from-urls", response_model=ImagineResult, responses=STAGE_PROBLEMS, summary="Pictures from the web"
)
async def from_urls(request: Request, given: FromUrlsRequest, state: Service) -> Response:
    """As `/imagine/prepare`; the first picture is the front."""
    images = tuple(SourceImage(url=url, field=f"urls[{number}]") for number, url in enumerate(given.urls))
    for image in images:
        parse_url(str(image.url), field=image.field, allow=state.allow)
    wish = PrepareRequest(
        images=images,
        size_px=given.size_px,
        matting_engine=given.matting_engine,
        output_prefix=given.output_prefix,
    )
    return await answer_stage_call(request, state.intake, wish)


@router.post("/imagine/inspect", response_model=InspectResult, responses=STAGE_PROBLEMS, summary="Look at headers")
def inspect(wish: InspectRequest, state: Service) -> InspectResult:
    """Format, size and alpha of stored pictures; spelling and address of URLs; 422 naming the first bad one."""
    return InspectResult(images=tuple(_inspect(state, image) for image in wish.images))


@router.get("/engines", response_model=EngineList, summary="Engines, in order of preference")
def engines(runners: RunnersDep, state: Service) -> EngineList:
    """What each image engine and each background remover is, and why one is not available."""
    return EngineList(
        engines=runners.cards(),
        matting=registry.cards(matting.GROUP, state.settings.matting_engines, state.settings),
    )


def _inspect(state: State, image: SourceImage) -> InspectedImage:
    if image.url is not None:
        parse_url(image.url, field=image.field, allow=state.allow)
        return InspectedImage(url=image.url)
    try:
        with state.artifacts.open_given(str(image.key)) as file:
            size = file.seek(0, 2)
            file.seek(0)
            with opened(file, size, state.settings.limits, field=image.field) as header:
                return InspectedImage(
                    key=image.key,
                    format=str(header.format),
                    width_px=header.width,
                    height_px=header.height,
                    has_alpha=has_alpha(header),
                )
    except NotFound as error:
        raise Unprocessable(error.detail, code="not_found", field=image.field) from None
