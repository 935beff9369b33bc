"""One typed client for all stage services: stream progress, end with a value or with a named problem."""

from collections.abc import Callable
from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from scratch3d.contracts.engines import EngineList
from scratch3d.contracts.images import InspectRequest, InspectResult
from scratch3d.contracts.problems import PROBLEM_MEDIA_TYPE, Problem
from scratch3d.contracts.progress import LINE, NDJSON_MEDIA_TYPE, ProblemLine, ProgressLine, ResultLine

from .errors import StageFailed

R = TypeVar("R", bound=BaseModel)
Progress = Callable[[float, str], None]

#: Silence for longer than this means the service is gone: it sends a line every second.
READ_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 3.0
#: A stage's answer is references and figures; anything larger is not an answer.
MAX_LINE_BYTES = 4 * 1024 * 1024


class ServiceClient:
    """Calls one service's routes at a given base URL."""

    def __init__(self, service: str, http: httpx.AsyncClient) -> None:
        self.service = service
        self._http = http

    async def engines(self, url: str) -> EngineList:
        """`GET /engines`; StageFailed when the service does not answer."""
        try:
            reply = await self._http.get(f"{url}/engines", timeout=3.0)
            reply.raise_for_status()
            return EngineList.model_validate_json(reply.content)
        except (httpx.HTTPError, ValidationError) as error:
            raise StageFailed(self._unreachable(error)) from error

    async def inspect(self, url: str, wish: InspectRequest) -> InspectResult:
        """`POST /imagine/inspect`; StageFailed with the service's problem."""
        try:
            reply = await self._http.post(f"{url}/imagine/inspect", json=wish.model_dump(mode="json"), timeout=5.0)
        except httpx.HTTPError as error:
            raise StageFailed(self._unreachable(error)) from error
        if reply.is_error:
            raise StageFailed(self._problem(reply))
        return InspectResult.model_validate_json(reply.content)

    async def ready(self, url: str) -> str:
        """`ok`, or why the service is not ready."""
        try:
            reply = await self._http.get(f"{url}/ready", timeout=3.0)
        except httpx.HTTPError as error:
            return f"does not answer: {type(error).__name__}"
        return "ok" if reply.is_success else "not ready"

    async def call(self, url: str, wish: BaseModel, answer: type[R], *, key: str, job_id: str, progress: Progress) -> R:
        """Run one stage. Closing this coroutine closes the connection, which cancels the work over there.

        Raises StageFailed: the service's own problem, or one of ours (`service_unreachable`, `bad_reply`).
        """
        headers = {"Accept": NDJSON_MEDIA_TYPE, "Idempotency-Key": key, "X-Job-Id": job_id}
        timeout = httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        body = wish.model_dump(mode="json")
        try:
            async with self._http.stream("POST", url, json=body, headers=headers, timeout=timeout) as reply:
                if reply.is_error:
                    await reply.aread()
                    raise StageFailed(self._problem(reply))
                return answer.model_validate((await self._last_line(reply, progress)).result)
        except ValidationError as error:
            where = ", ".join(str(e["loc"]) for e in error.errors()[:3])
            raise StageFailed(self._bad_reply(f"fields {where}")) from error
        except httpx.HTTPError as error:
            raise StageFailed(self._unreachable(error)) from error

    async def _last_line(self, reply: httpx.Response, progress: Progress) -> ResultLine:
        pending = b""
        async for chunk in reply.aiter_bytes():
            pending += chunk
            if len(pending) > MAX_LINE_BYTES:
                raise StageFailed(self._bad_reply("a line without end"))
            *lines, pending = pending.split(b"\n")
            for raw in lines:
                line = LINE.validate_json(raw)
                if isinstance(line, ProgressLine):
                    progress(line.fraction, line.phase)
                elif isinstance(line, ProblemLine):
                    raise StageFailed(line.problem)
                else:
                    return line
        raise StageFailed(
            Problem(
                title="Service gone",
                status=502,
                code="service_gone",
                detail=f"{self.service} closed the connection before it answered",
                retryable=True,
            )
        )

    def _problem(self, reply: httpx.Response) -> Problem:
        if reply.headers.get("content-type", "").startswith(PROBLEM_MEDIA_TYPE):
            try:
                return Problem.model_validate_json(reply.content)
            except ValidationError:
                pass
        return self._bad_reply(f"status {reply.status_code} without a problem document")

    def _bad_reply(self, what: str) -> Problem:
        detail = f"{self.service} answered in a form that is not understood: {what}"
        return Problem(title="Bad reply", status=502, code="bad_reply", detail=detail, retryable=False)

    def _unreachable(self, error: Exception) -> Problem:
        detail = f"{self.service} does not answer ({type(error).__name__})"
        return Problem(
            title="Service unreachable", status=503, code="service_unreachable", detail=detail, retryable=True
        )
