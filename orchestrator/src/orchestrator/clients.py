"""One typed client for all stage services: stream progress, end with a value or with a named problem."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
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


MAX_PROBLEM_BYTES = 256 * 1024
#: A line a second for a whole day is less.
MAX_ANSWER_BYTES = 16 * 1024 * 1024
#: What a proxy says while the service behind it is away or busy.
_NOT_NOW = frozenset({429, 502, 503, 504})


class ServiceClient:
    """Calls one service's routes at a given base URL."""

    def __init__(self, service: str, http: httpx.AsyncClient) -> None:
        self.service = service
        self._http = http

    async def engines(self, url: str) -> EngineList:
        """`GET /engines`; StageFailed when the service does not answer."""
        try:
            async with asyncio.timeout(5.0), self._http.stream("GET", f"{url}/engines", timeout=3.0) as reply:
                reply.raise_for_status()
                return EngineList.model_validate_json(await _beginning(reply, MAX_LINE_BYTES))
        except (httpx.HTTPError, ValidationError, TimeoutError) as error:
            raise StageFailed(self._unreachable(error)) from error

    async def inspect(self, url: str, wish: InspectRequest) -> InspectResult:
        """`POST /imagine/inspect`; StageFailed with the service's problem."""
        body = wish.model_dump(mode="json")
        try:
            async with asyncio.timeout(8.0), self._http.stream("POST", f"{url}/imagine/inspect", json=body) as reply:
                content = await _beginning(reply, MAX_LINE_BYTES)
        except (httpx.HTTPError, TimeoutError) as error:
            raise StageFailed(self._unreachable(error)) from error
        if reply.is_error:
            raise StageFailed(self._problem(reply, content))
        return InspectResult.model_validate_json(content)

    async def ready(self, url: str) -> str:
        """`ok`, or why the service is not ready."""
        try:
            async with asyncio.timeout(3.0), self._http.stream("GET", f"{url}/ready", timeout=3.0) as reply:
                return "ok" if reply.is_success else "not ready"
        except (httpx.HTTPError, TimeoutError) as error:
            return f"does not answer: {type(error).__name__}"

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
                    raise StageFailed(self._problem(reply, await _beginning(reply, MAX_PROBLEM_BYTES)))
                return answer.model_validate((await self._last_line(reply, progress)).result)
        except ValidationError as error:
            where = ", ".join(str(e["loc"]) for e in error.errors()[:3])
            raise StageFailed(self._bad_reply(f"fields {where}")) from error
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise StageFailed(self._unreachable(error)) from error
        except httpx.HTTPError as error:
            # The work had begun: how often that may happen is counted, for it may be the work that breaks the service.
            raise StageFailed(self._gone(type(error).__name__)) from error

    async def _last_line(self, reply: httpx.Response, progress: Progress) -> ResultLine:
        pending, total = b"", 0
        chunks = reply.aiter_bytes()
        async for chunk in chunks:
            pending += chunk
            total += len(chunk)
            if len(pending) > MAX_LINE_BYTES or total > MAX_ANSWER_BYTES:
                raise StageFailed(self._bad_reply("an answer without end"))
            *lines, pending = pending.split(b"\n")
            for raw in lines:
                line = LINE.validate_json(raw)
                if isinstance(line, ProgressLine):
                    progress(line.fraction, line.phase)
                elif isinstance(line, ProblemLine):
                    raise StageFailed(line.problem)
                else:
                    await _ended(chunks)
                    return line
        raise StageFailed(self._gone("it closed the connection before it answered"))

    def _gone(self, how: str) -> Problem:
        detail = f"{self.service} broke off in the middle of the work ({how})"
        return Problem(title="Service gone", status=502, code="service_gone", detail=detail, retryable=True)

    def _problem(self, reply: httpx.Response, body: bytes) -> Problem:
        if reply.headers.get("content-type", "").startswith(PROBLEM_MEDIA_TYPE):
            try:
                return Problem.model_validate_json(body)
            except ValidationError:
                pass
        if reply.status_code in _NOT_NOW:
            wait = reply.headers.get("retry-after", "")
            return Problem(
                title="Service unavailable",
                status=503,
                code="unavailable",
                detail=f"{self.service} answered {reply.status_code}",
                retryable=True,
                retry_after_s=float(wait) if wait.isdigit() and len(wait) < 4 else None,
            )
        return self._bad_reply(f"status {reply.status_code} without a problem document")

    def _bad_reply(self, what: str) -> Problem:
        detail = f"{self.service} answered in a form that is not understood: {what}"
        return Problem(title="Bad reply", status=502, code="bad_reply", detail=detail, retryable=True)

    def _unreachable(self, error: Exception) -> Problem:
        detail = f"{self.service} does not answer ({type(error).__name__})"
        return Problem(
            title="Service unreachable", status=503, code="service_unreachable", detail=detail, retryable=True
        )


async def _beginning(reply: httpx.Response, limit: int) -> bytes:
    """The body, or as much of it as is sensible."""
    found = b""
    async for chunk in reply.aiter_bytes():
        found += chunk
        if len(found) > limit:
            break
    return found


async def _ended(chunks: AsyncIterator[bytes]) -> None:
    """Read the end of an answer that we have, so that its connection can serve the next call."""
    with contextlib.suppress(httpx.HTTPError, TimeoutError):
        async with asyncio.timeout(0.2):
            async for _ in chunks:
                pass
