"""The two clients: the same calls, one waits, the other awaits."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from scratch3d.contracts.engines import PublicEngines
from scratch3d.contracts.jobs import (
    BatchAccepted,
    JobAccepted,
    JobEvent,
    JobPage,
    JobStatus,
    OutputStatus,
    Readiness,
    State,
)

from . import calls
from .calls import DEFAULT_URL, Call, JobFailed, Unreachable

T = TypeVar("T")
#: Pause before an event stream that broke is opened again.
RECONNECT_S = 1.0
#: A stream is opened again this often without a single event before we give up.
RECONNECTS = 30


class Client:
    """Waits for each answer."""

    def __init__(self, url: str = DEFAULT_URL, *, api_key: str | None = None, timeout_s: float = 30.0) -> None:
        self._http = httpx.Client(base_url=url, headers=calls.headers_of(api_key), timeout=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close connections."""
        self._http.close()

    def generate(self, prompt: str, *, idempotency_key: str | None = None, **options: Any) -> JobAccepted:
        """Submit a prompt; `options` are the fields of `POST /3d/generate`."""
        return self._send(calls.generate(prompt, options, idempotency_key))

    def from_image(
        self,
        pictures: Sequence[Path | str],
        *,
        views: Sequence[str] = (),
        idempotency_key: str | None = None,
        **options: Any,
    ) -> JobAccepted:
        """Upload pictures (paths), or name them (URLs), with the name of each one's view."""
        return self._send(calls.from_image(pictures, views, options, idempotency_key))

    def status(self, job_id: str) -> JobStatus:
        """How the job stands."""
        return self._send(calls.status(job_id))

    def jobs(self, *, state: str | None = None, limit: int = 20, cursor: str | None = None) -> JobPage:
        """My jobs, newest first."""
        return self._send(calls.jobs(state, limit, cursor))

    def cancel(self, job_id: str) -> JobStatus:
        """Stop a job."""
        return self._send(calls.cancel(job_id))

    def retry(self, job_id: str, *, idempotency_key: str | None = None) -> JobAccepted:
        """A new job that tries again what failed; what was finished is kept."""
        return self._send(calls.retry(job_id, idempotency_key))

    def replay(
        self, job_id: str, from_stage: str, *, idempotency_key: str | None = None, **changes: Any
    ) -> JobAccepted:
        """A new job that goes on from a kept stage, with changes."""
        return self._send(calls.replay(job_id, from_stage, changes, idempotency_key))

    def batch(self, requests: Sequence[dict[str, Any]], *, idempotency_key: str | None = None) -> BatchAccepted:
        """Many requests at once, all of them or none."""
        return self._send(calls.batch(requests, idempotency_key))

    def delete(self, job_id: str) -> None:
        """Forget an ended job and its files."""
        return self._send(calls.delete(job_id))

    def artifacts(self, job_id: str) -> list[OutputStatus]:
        """Every file of a job."""
        return self._send(calls.artifacts(job_id))

    def engines(self) -> PublicEngines:
        """What is installed there."""
        return self._send(calls.engines())

    def ready(self) -> Readiness:
        """Whether it can work."""
        return self._send(calls.ready())

    def events(self, job_id: str) -> Iterator[JobEvent]:
        """The job's events until it ends; a broken stream is taken up where it broke."""
        last, broken = "0", 0
        while True:
            try:
                headers = {"Last-Event-ID": last} if last != "0" else {}
                path = f"/3d/events/{job_id}"
                with self._http.stream("GET", path, headers=headers, timeout=calls.EVENTS_TIMEOUT) as reply:
                    if reply.is_error:
                        reply.read()
                        calls.raise_for_problem(reply)
                    for line in reply.iter_lines():
                        if event := calls.event_of(line):
                            last, broken = event.id, 0
                            yield event
                            if event.type in {"completed", "failed"}:
                                return
            except httpx.HTTPError as error:
                broken = _once_more(broken, error)
            time.sleep(RECONNECT_S)

    def wait(self, job_id: str) -> JobStatus:
        """The completed job; JobFailed when it fails."""
        for _ in self.events(job_id):
            pass
        return _completed(self.status(job_id))

    def download(self, job_id: str, target: Path | str, *, artifact: str | None = None, bundle: bool = True) -> Path:
        """Write the asset, or one artifact by name, to `target`."""
        path = f"/3d/jobs/{job_id}/artifacts/{artifact}" if artifact else f"/3d/download/{job_id}"
        target = Path(target)
        with self._http.stream("GET", path, params={} if artifact else {"bundle": bundle}) as reply:
            if reply.is_error:
                reply.read()
                calls.raise_for_problem(reply)
            with open(target, "wb") as file:
                for chunk in reply.iter_bytes():
                    file.write(chunk)
        return target

    def _send(self, call: Call[T]) -> T:
        with ExitStack() as open_files:
            try:
                reply = self._http.request(call.method, call.path, **call.arguments(open_files))
            except httpx.TransportError as error:
                raise Unreachable(f"nothing answers at {self._http.base_url} ({error})") from error
        return call.read(reply)


class AsyncClient:
    """Awaits each answer."""

    def __init__(self, url: str = DEFAULT_URL, *, api_key: str | None = None, timeout_s: float = 30.0) -> None:
        self._http = httpx.AsyncClient(base_url=url, headers=calls.headers_of(api_key), timeout=timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close connections."""
        await self._http.aclose()

    async def generate(self, prompt: str, *, idempotency_key: str | None = None, **options: Any) -> JobAccepted:
        """Submit a prompt; `options` are the fields of `POST /3d/generate`."""
        return await self._send(calls.generate(prompt, options, idempotency_key))

    async def from_image(
        self,
        pictures: Sequence[Path | str],
        *,
        views: Sequence[str] = (),
        idempotency_key: str | None = None,
        **options: Any,
    ) -> JobAccepted:
        """Upload pictures (paths), or name them (URLs), with the name of each one's view."""
        return await self._send(calls.from_image(pictures, views, options, idempotency_key))

    async def status(self, job_id: str) -> JobStatus:
        """How the job stands."""
        return await self._send(calls.status(job_id))

    async def jobs(self, *, state: str | None = None, limit: int = 20, cursor: str | None = None) -> JobPage:
        """My jobs, newest first."""
        return await self._send(calls.jobs(state, limit, cursor))

    async def cancel(self, job_id: str) -> JobStatus:
        """Stop a job."""
        return await self._send(calls.cancel(job_id))

    async def retry(self, job_id: str, *, idempotency_key: str | None = None) -> JobAccepted:
        """A new job that tries again what failed; what was finished is kept."""
        return await self._send(calls.retry(job_id, idempotency_key))

    async def replay(
        self, job_id: str, from_stage: str, *, idempotency_key: str | None = None, **changes: Any
    ) -> JobAccepted:
        """A new job that goes on from a kept stage, with changes."""
        return await self._send(calls.replay(job_id, from_stage, changes, idempotency_key))

    async def batch(self, requests: Sequence[dict[str, Any]], *, idempotency_key: str | None = None) -> BatchAccepted:
        """Many requests at once, all of them or none."""
        return await self._send(calls.batch(requests, idempotency_key))

    async def delete(self, job_id: str) -> None:
        """Forget an ended job and its files."""
        return await self._send(calls.delete(job_id))

    async def artifacts(self, job_id: str) -> list[OutputStatus]:
        """Every file of a job."""
        return await self._send(calls.artifacts(job_id))

    async def engines(self) -> PublicEngines:
        """What is installed there."""
        return await self._send(calls.engines())

    async def ready(self) -> Readiness:
        """Whether it can work."""
        return await self._send(calls.ready())

    async def events(self, job_id: str) -> AsyncIterator[JobEvent]:
        """The job's events until it ends; a broken stream is taken up where it broke."""
        last, broken = "0", 0
        while True:
            try:
                headers = {"Last-Event-ID": last} if last != "0" else {}
                path = f"/3d/events/{job_id}"
                async with self._http.stream("GET", path, headers=headers, timeout=calls.EVENTS_TIMEOUT) as reply:
                    if reply.is_error:
                        await reply.aread()
                        calls.raise_for_problem(reply)
                    async for line in reply.aiter_lines():
                        if event := calls.event_of(line):
                            last, broken = event.id, 0
                            yield event
                            if event.type in {"completed", "failed"}:
                                return
            except httpx.HTTPError as error:
                broken = _once_more(broken, error)
            await asyncio.sleep(RECONNECT_S)

    async def wait(self, job_id: str) -> JobStatus:
        """The completed job; JobFailed when it fails."""
        async for _ in self.events(job_id):
            pass
        return _completed(await self.status(job_id))

    async def download(
        self, job_id: str, target: Path | str, *, artifact: str | None = None, bundle: bool = True
    ) -> Path:
        """Write the asset, or one artifact by name, to `target`."""
        path = f"/3d/jobs/{job_id}/artifacts/{artifact}" if artifact else f"/3d/download/{job_id}"
        target = Path(target)
        async with self._http.stream("GET", path, params={} if artifact else {"bundle": bundle}) as reply:
            if reply.is_error:
                await reply.aread()
                calls.raise_for_problem(reply)
            with open(target, "wb") as file:  # noqa: ASYNC230  a local write of a chunk is shorter than a switch
                async for chunk in reply.aiter_bytes():
                    file.write(chunk)
        return target

    async def _send(self, call: Call[T]) -> T:
        with ExitStack() as open_files:
            try:
                reply = await self._http.request(call.method, call.path, **call.arguments(open_files))
            except httpx.TransportError as error:
                raise Unreachable(f"nothing answers at {self._http.base_url} ({error})") from error
        return call.read(reply)


def _once_more(broken: int, error: httpx.HTTPError) -> int:
    if broken >= RECONNECTS:
        raise Unreachable(f"the event stream cannot be opened ({error})") from error
    return broken + 1


def _completed(status: JobStatus) -> JobStatus:
    if status.state is State.FAILED:
        raise JobFailed(status)
    return status
