"""Routes about jobs: submit, look, list, watch, cancel, delete."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from scratch3d.contracts.engines import PublicEngines
from scratch3d.contracts.jobs import (
    BatchAccepted,
    BatchRequest,
    FromImageRequest,
    GenerateRequest,
    JobAccepted,
    JobPage,
    JobStatus,
    ReplayRequest,
    State,
)
from scratch3d.contracts.problems import Problem
from scratch3d.contracts.views import NAMED_VIEWS
from scratch3d.servicekit.errors import ServiceError

from ...errors import StoreUnavailable
from .access import CallerDep
from .protocol import accepted, status
from .stream import EventStream
from .uploads import MAX_FILES, read_submission

_SCHEMA = FromImageRequest.model_json_schema(ref_template="#/components/schemas/{model}")
#: Schemas that the body of `/3d/from-image` refers to; the application adds them to its OpenAPI components.
COMPONENTS: dict[str, Any] = _SCHEMA.pop("$defs")
FORM_OPTIONS = {name: one for name, one in _SCHEMA["properties"].items() if name not in {"image_paths", "image_urls"}}
router = APIRouter(prefix="/3d", tags=["jobs"])

Key = Annotated[
    str | None, Header(alias="Idempotency-Key", description="the same key and body mean the same job for 24 hours")
]
#: One server-sent event, whose `data` is a JobEvent as JSON.
_EVENT: dict[str, Any] = {
    "type": "object",
    "required": ["data"],
    "properties": {
        "id": {"type": "string"},
        "event": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}
LastEvent = Annotated[str | None, Header(pattern=r"^\d{1,19}(-\d{1,19})?$", description="the last event that was seen")]


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
async def generate(request: GenerateRequest, response: Response, caller: CallerDep, key: Key = None) -> JobAccepted:
    """Accepted jobs are kept: watch them by `status_url` or `/3d/events/{job_id}`."""
    job = await caller.door.jobs.generate(request, owner=caller.owner, key=key)
    response.headers["Location"] = caller.door.links.status(job.id)
    return accepted(job, caller.door.links)


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
async def from_image(request: Request, response: Response, caller: CallerDep, key: Key = None) -> JobAccepted:
    """JSON with `image_paths`, or a form with `images` (repeated) and `views` (one per picture)."""
    submission = await read_submission(request, caller.door.jobs.artifacts)
    try:
        job = await caller.door.jobs.from_image(
            submission.request, owner=caller.owner, key=key, job_id=submission.job_id, digests=submission.digests
        )
    except StoreUnavailable:
        raise  # whether the job was kept is not known: its files must stay
    except ServiceError:
        submission.discard()
        raise
    if job.id != submission.job_id:
        submission.discard()
    response.headers["Location"] = caller.door.links.status(job.id)
    return accepted(job, caller.door.links)


@router.post(
    "/batch",
    status_code=202,
    response_model=BatchAccepted,
    responses=problems(400, 401, 413, 422, 429, 503),
    summary="Many requests at once",
)
async def batch(request: BatchRequest, caller: CallerDep, key: Key = None) -> BatchAccepted:
    """All requests are accepted, or none; each is a body of `/3d/generate` or of `/3d/from-image` (paths and URLs)."""
    jobs = await caller.door.jobs.batch(request, owner=caller.owner, key=key)
    return BatchAccepted(jobs=tuple(accepted(job, caller.door.links) for job in jobs))


@router.get("/status/{job_id}", response_model=JobStatus, responses=problems(401, 404), summary="How a job stands")
async def job_status(job_id: str, caller: CallerDep) -> JobStatus:
    """State, progress, warnings, engines, timings, and the asset when it is done."""
    job = await caller.door.jobs.get(job_id, owner=caller.owner)
    return status(job, caller.door.links, await caller.door.jobs.outlook(job))


@router.get(
    "/events/{job_id}",
    response_class=EventStream,
    responses={200: {"content": {"text/event-stream": {"schema": _EVENT}}}, **problems(401, 404, 422)},
    summary="A job's events as they happen",
)
async def events(
    job_id: str,
    caller: CallerDep,
    last_event_id: LastEvent = None,
) -> EventStream:
    """Server-sent events; reconnect with `Last-Event-ID` and nothing is missed. Ends with the job."""
    await caller.door.jobs.get(job_id, owner=caller.owner)
    stream = caller.door.jobs.watch(job_id, owner=caller.owner, after=last_event_id or "0")
    return EventStream(stream)


@router.get(
    "/events",
    response_class=EventStream,
    responses={200: {"content": {"text/event-stream": {"schema": _EVENT}}}, **problems(401, 410, 422)},
    summary="Events of all my jobs as they happen",
)
async def all_events(caller: CallerDep, last_event_id: LastEvent = None) -> EventStream:
    """Server-sent events, without an end; reconnect with `Last-Event-ID` and nothing is missed.

    410 when that was too long ago: read `/3d/jobs`, and come back without it.
    """
    if last_event_id:
        await caller.door.jobs.store.owner_events(caller.owner, after=last_event_id)
    stream = caller.door.jobs.watch_all(owner=caller.owner, after=last_event_id)
    return EventStream(stream)


@router.get("/jobs", response_model=JobPage, responses=problems(401, 422), summary="My jobs, newest first")
async def list_jobs(
    caller: CallerDep,
    state: State | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=64)] = None,
) -> JobPage:
    """`next_cursor` continues where this page ends."""
    page = await caller.door.jobs.page(owner=caller.owner, state=state, limit=limit, cursor=cursor)
    return JobPage(jobs=tuple(status(job, caller.door.links) for job in page.jobs), next_cursor=page.next_cursor)


@router.post(
    "/jobs/{job_id}/cancel", response_model=JobStatus, responses=problems(401, 404, 409, 422), summary="Stop a job"
)
async def cancel(job_id: str, caller: CallerDep, key: Key = None) -> JobStatus:
    """The job ends as `failed` with code `cancelled`, whatever it was doing."""
    return status(await caller.door.jobs.cancel(job_id, owner=caller.owner, key=key), caller.door.links)


@router.post(
    "/jobs/{job_id}/retry",
    status_code=202,
    response_model=JobAccepted,
    responses=problems(401, 404, 409, 422, 429, 503),
    summary="Try a failed job again",
)
async def retry(job_id: str, caller: CallerDep, key: Key = None) -> JobAccepted:
    """A new job with the same steps; what the failed one had finished is kept and not run again."""
    return accepted(await caller.door.jobs.retry(job_id, owner=caller.owner, key=key), caller.door.links)


@router.post(
    "/jobs/{job_id}/replay",
    status_code=202,
    response_model=JobAccepted,
    responses=problems(400, 401, 404, 409, 413, 422, 429, 503),
    summary="Go on from a stage, with changes",
)
async def replay(job_id: str, again: ReplayRequest, caller: CallerDep, key: Key = None) -> JobAccepted:
    """A new job that keeps what came before the stage: other files of the same mesh, another mesh of the same views."""
    return accepted(await caller.door.jobs.replay(job_id, again, owner=caller.owner, key=key), caller.door.links)


@router.delete("/jobs/{job_id}", status_code=204, responses=problems(401, 404, 409), summary="Forget a job")
async def delete(job_id: str, caller: CallerDep) -> Response:
    """Removes an ended job and every file of it."""
    await caller.door.jobs.delete(job_id, owner=caller.owner)
    return Response(status_code=204)


@router.get("/engines", response_model=PublicEngines, summary="What is installed here")
async def engines(caller: CallerDep) -> PublicEngines:
    """Engines by stage, in order of preference; why one is not available; licences, needs, vocabulary."""
    return await caller.door.jobs.engines()
