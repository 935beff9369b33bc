"""Routes about jobs: submit, look, list, watch, cancel, delete."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from scratch3d.contracts.engines import PublicEngines
from scratch3d.contracts.jobs import (
    FromImageRequest,
    GenerateRequest,
    JobAccepted,
    JobEvent,
    JobPage,
    JobStatus,
    State,
)
from scratch3d.contracts.problems import Problem
from scratch3d.contracts.views import NAMED_VIEWS
from scratch3d.servicekit.errors import ServiceError

from ...errors import StoreUnavailable
from .access import DoorDep, Owner
from .protocol import accepted, status
from .uploads import MAX_FILES, read_submission

_SCHEMA = FromImageRequest.model_json_schema(ref_template="#/components/schemas/{model}")
#: Schemas that the body of `/3d/from-image` refers to; the application adds them to its OpenAPI components.
COMPONENTS: dict[str, Any] = _SCHEMA.pop("$defs")
FORM_OPTIONS = {name: one for name, one in _SCHEMA["properties"].items() if name not in {"image_paths", "image_urls"}}
router = APIRouter(prefix="/3d", tags=["jobs"])

Key = Annotated[
    str | None, Header(alias="Idempotency-Key", description="the same key and body mean the same job for 24 hours")
]


def problems(*codes: int) -> dict[int | str, dict[str, object]]:
    """OpenAPI entries for problem documents."""
    return {code: {"model": Problem, "content": {"application/problem+json": {}}} for code in codes}


@router.post(
    "/generate",
    status_code=202,
    response_model=JobAccepted,
    responses=problems(400, 401, 413, 422, 429, 503),
    summary="A prompt to a model",
)
async def generate(
    request: GenerateRequest, response: Response, door: DoorDep, owner: Owner, key: Key = None
) -> JobAccepted:
    """Accepted jobs are kept: watch them by `status_url` or `/3d/events/{job_id}`."""
    job = await door.jobs.generate(request, owner=owner, key=key)
    response.headers["Location"] = door.links.status(job.id)
    return accepted(job, door.links)


@router.post(
    "/from-image",
    status_code=202,
    response_model=JobAccepted,
    responses=problems(400, 401, 413, 422, 429, 503),
    summary="Pictures to a model",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _SCHEMA},
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["images"],
                        "additionalProperties": False,
                        "properties": {
                            "images": {
                                "type": "array",
                                "minItems": 1,
                                "maxItems": MAX_FILES,
                                "items": {"type": "string", "format": "binary"},
                            },
                            "views": {"type": "array", "maxItems": MAX_FILES, "items": {"enum": list(NAMED_VIEWS)}},
                            **FORM_OPTIONS,
                        },
                    }
                },
            },
        }
    },
)
async def from_image(request: Request, response: Response, door: DoorDep, owner: Owner, key: Key = None) -> JobAccepted:
    """JSON with `image_paths`, or a form with `images` (repeated) and `views` (one per picture)."""
    submission = await read_submission(request, door.jobs.artifacts)
    try:
        job = await door.jobs.from_image(
            submission.request, owner=owner, key=key, job_id=submission.job_id, digests=submission.digests
        )
    except StoreUnavailable:
        raise  # whether the job was kept is not known: its files must stay
    except ServiceError:
        submission.discard()
        raise
    if job.id != submission.job_id:
        submission.discard()
    response.headers["Location"] = door.links.status(job.id)
    return accepted(job, door.links)


@router.get("/status/{job_id}", response_model=JobStatus, responses=problems(401, 404), summary="How a job stands")
async def job_status(job_id: str, door: DoorDep, owner: Owner) -> JobStatus:
    """State, progress, warnings, engines, timings, and the asset when it is done."""
    job = await door.jobs.get(job_id, owner=owner)
    return status(job, door.links, await door.jobs.position(job))


@router.get(
    "/events/{job_id}",
    response_class=EventSourceResponse,
    responses={200: {"content": {"text/event-stream": {}}}, **problems(401, 404, 422)},
    summary="A job's events as they happen",
)
async def events(
    job_id: str,
    door: DoorDep,
    owner: Owner,
    last_event_id: Annotated[str | None, Header(pattern=r"^\d{1,19}(-\d{1,19})?$")] = None,
) -> EventSourceResponse:
    """Server-sent events; reconnect with `Last-Event-ID` and nothing is missed. Ends with the job."""
    await door.jobs.get(job_id, owner=owner)
    stream = door.jobs.watch(job_id, owner=owner, after=last_event_id or "0")
    return EventSourceResponse(_as_sse(stream), ping=10, headers={"X-Accel-Buffering": "no"})


@router.get("/jobs", response_model=JobPage, responses=problems(401, 422), summary="My jobs, newest first")
async def list_jobs(
    door: DoorDep,
    owner: Owner,
    state: State | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=64)] = None,
) -> JobPage:
    """`next_cursor` continues where this page ends."""
    page = await door.jobs.page(owner=owner, state=state, limit=limit, cursor=cursor)
    return JobPage(jobs=tuple(status(job, door.links) for job in page.jobs), next_cursor=page.next_cursor)


@router.post("/jobs/{job_id}/cancel", response_model=JobStatus, responses=problems(401, 404, 409), summary="Stop a job")
async def cancel(job_id: str, door: DoorDep, owner: Owner) -> JobStatus:
    """The job ends as `failed` with code `cancelled`, whatever it was doing."""
    return status(await door.jobs.cancel(job_id, owner=owner), door.links)


@router.delete("/jobs/{job_id}", status_code=204, responses=problems(401, 404, 409), summary="Forget a job")
async def delete(job_id: str, door: DoorDep, owner: Owner) -> Response:
    """Removes an ended job and every file of it."""
    await door.jobs.delete(job_id, owner=owner)
    return Response(status_code=204)


@router.get("/engines", response_model=PublicEngines, summary="What is installed here")
async def engines(door: DoorDep, owner: Owner) -> PublicEngines:
    """Engines by stage, in order of preference; why one is not available; licences, needs, vocabulary."""
    return await door.jobs.engines()


async def _as_sse(stream: AsyncIterator[JobEvent]) -> AsyncIterator[ServerSentEvent]:
    async for event in stream:
        yield ServerSentEvent(data=event.model_dump_json(exclude_none=True), event=event.type, id=event.id)
