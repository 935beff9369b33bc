"""The FastAPI application every process starts from, and the HTTP side of a stage call."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from types import MappingProxyType
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scratch3d.contracts.problems import PROBLEM_MEDIA_TYPE, FieldError, Problem
from scratch3d.contracts.progress import NDJSON_MEDIA_TYPE, ProblemLine, ProgressLine, ResultLine

from .errors import Cancelled, Failed, ServiceError, TooLarge
from .logging import get_logger
from .runner import Payload, Runner

#: The caller counts a stage as dead after 10 s of silence; a line a second is five chances.
HEARTBEAT_S = 1.0
#: Stage calls and prompts are small; uploads have their own limit.
MAX_JSON_BYTES = 256 * 1024

#: OpenAPI entries for the refusals every stage call can give.
STAGE_PROBLEMS: dict[int | str, dict[str, Any]] = {
    422: {"model": Problem, "description": "A field cannot be used"},
    429: {"model": Problem, "description": "Busy; see Retry-After"},
    503: {"model": Problem, "description": "The engine is not loaded"},
}

log = get_logger("app")


def new_app(
    title: str,
    version: str,
    *,
    lifespan: Any,
    max_upload_bytes: int = MAX_JSON_BYTES,
    json_limits: Mapping[str, int] = MappingProxyType({}),
) -> FastAPI:
    """An application with our errors, body limits (`json_limits`: by path, in bytes) and log context."""
    app = FastAPI(title=title, version=version, lifespan=lifespan)
    app.add_exception_handler(ServiceError, _on_service_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(ClientDisconnect, _on_client_gone)
    app.add_exception_handler(Exception, _on_unexpected)
    app.add_middleware(BodyLimit, max_upload_bytes=max_upload_bytes, json_limits=json_limits)
    app.add_middleware(JobContext)
    return app


def problem_response(problem: Problem) -> JSONResponse:
    """`application/problem+json`, with `Retry-After` where waiting helps."""
    headers = {}
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, round(problem.retry_after_s)))
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = problem.model_dump(exclude_none=True)
    return JSONResponse(body, status_code=problem.status, media_type=PROBLEM_MEDIA_TYPE, headers=headers)


async def _on_service_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return problem_response(error.problem())


async def _on_validation_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return problem_response(validation_problem(error.errors()))


def validation_problem(errors: Any) -> Problem:
    """Pydantic's list of errors as one problem that names each field; what was sent is never echoed."""
    unreadable = any(e["type"] == "json_invalid" for e in errors)
    found = tuple(
        FieldError(
            field="body" if unreadable else _field_name(e["loc"]), message=str(e["msg"]).removeprefix("Value error, ")
        )
        for e in errors
    )
    unique = tuple(dict.fromkeys(found))
    return Problem(
        title="Bad request" if unreadable else "Invalid request",
        status=400 if unreadable else 422,
        code="bad_request" if unreadable else "invalid_request",
        detail="; ".join(f"{e.field}: {e.message}" for e in unique)[:2000],
        errors=unique,
    )


def _field_name(location: tuple[Any, ...]) -> str:
    """`('body', 'image_paths', 0, 'ImagePath', 'view')` → `image_paths[0].view`."""
    name = ""
    for part in location:
        if isinstance(part, int):
            name += f"[{part}]"
        # The location also names members of unions (class names, `str`), which mean nothing to a caller.
        elif part not in {"body", "query", "path", "header", "str", "constrained-str"} and not str(part)[:1].isupper():
            name += f".{part}" if name else str(part)
    return name or "body"


async def _on_http_exception(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    names = {
        404: ("not_found", "there is no such route"),
        405: ("method_not_allowed", "use another method"),
        413: ("too_large", str(error.detail)),
    }
    code, detail = names.get(error.status_code, ("bad_request", str(error.detail)))
    title = code.replace("_", " ").capitalize()
    response = problem_response(Problem(title=title, status=error.status_code, code=code, detail=detail))
    response.headers.update(error.headers or {})
    return response


async def _on_client_gone(_: Request, error: Exception) -> Response:
    log.debug("client_gone", exc_info=error)
    return Response(status_code=499)  # nobody is there to read it


async def _on_unexpected(_: Request, error: Exception) -> Response:
    # The last wall: what nobody foresaw is logged whole and answered without a trace of our insides.
    log.error("unexpected_error", exc_info=error)
    return problem_response(Failed().problem())


class BodyLimit:
    """Stops a request body that is too large, whether or not its length was announced; forms have their own limit."""

    def __init__(self, app: ASGIApp, max_upload_bytes: int, json_limits: Mapping[str, int]) -> None:
        self.app, self.max_upload_bytes, self.json_limits = app, max_upload_bytes, json_limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what is received."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        form = headers.get(b"content-type", b"").startswith(b"multipart/")
        limit = self.max_upload_bytes if form else self.json_limits.get(scope["path"], MAX_JSON_BYTES)
        announced = headers.get(b"content-length", b"0")
        problem = TooLarge(f"the request body is larger than {limit} bytes").problem()
        if announced.isdigit() and int(announced) > limit:
            await problem_response(problem)(scope, receive, send)
            return
        seen = 0

        async def limited() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise HTTPException(413, problem.detail)
            return message

        await self.app(scope, limited, send)


class JobContext:
    """Binds `X-Job-Id` for the log lines of this request."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Bind, then go on."""
        if scope["type"] == "http":
            job_id = dict(scope["headers"]).get(b"x-job-id", b"").decode("latin-1")[:64]
            if job_id:
                structlog.contextvars.bind_contextvars(job_id=job_id)
        await self.app(scope, receive, send)


async def answer_stage_call(
    request: Request, runner: Runner, payload: BaseModel, *, finish: Callable[[Payload], Payload] = lambda r: r
) -> Response:
    """Run one stage and answer plainly, or line by line when the caller accepts NDJSON.

    Closing the connection cancels the work in both forms. `finish` adds what is computed in the parent.
    """
    key = request.headers.get("idempotency-key")
    work = asyncio.create_task(runner.run(payload.model_dump(mode="json"), key=key))
    if NDJSON_MEDIA_TYPE in request.headers.get("accept", ""):
        # A refusal before the first line keeps its own status (429, 503).
        await asyncio.wait([work], timeout=0.05)
        if work.done() and (error := work.exception()):
            raise error
        return StreamingResponse(_lines(work, runner, finish), media_type=NDJSON_MEDIA_TYPE)
    while not (await asyncio.wait([work], timeout=0.25))[0]:
        if await request.is_disconnected():
            await _cancel(work)
            raise Cancelled()
    return JSONResponse(finish(work.result()))


async def _lines(
    work: "asyncio.Task[Payload]", runner: Runner, finish: Callable[[Payload], Payload]
) -> AsyncIterator[bytes]:
    said: tuple[float, str] | None = None
    silent_s = 0.0
    try:
        while not work.done() or said is None:
            if (runner.fraction, runner.phase) != said or silent_s >= HEARTBEAT_S:
                said, silent_s = (runner.fraction, runner.phase), 0.0
                yield _line(ProgressLine(fraction=said[0], phase=said[1]))
            await asyncio.wait([work], timeout=0.1)
            silent_s += 0.1
        try:
            yield _line(ResultLine(result=finish(work.result())))
        except ServiceError as error:
            yield _line(ProblemLine(problem=error.problem()))
    finally:
        # Reached early when the caller closed the connection; the engine is stopped before the task ends.
        await _cancel(work)


async def _cancel(work: "asyncio.Task[Payload]") -> None:
    if not work.done():
        work.cancel()
        await asyncio.wait([work])
    # What it ended with was meant for a caller who has left.
    if not work.cancelled():
        work.exception()


def _line(line: BaseModel) -> bytes:
    return line.model_dump_json(exclude_none=True).encode() + b"\n"
