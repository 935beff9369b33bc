"""Every call as a value, shared by both clients, and the errors they raise."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import zip_longest
from json import dumps
from pathlib import Path
from typing import Any, Generic, TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError

from scratch3d.contracts.engines import PublicEngines
from scratch3d.contracts.jobs import BatchAccepted, JobAccepted, JobEvent, JobPage, JobStatus, OutputStatus, Readiness
from scratch3d.contracts.problems import Problem

DEFAULT_URL = "http://127.0.0.1:8000"
#: An event stream sends something every 10 s; three times that is silence.
EVENTS_TIMEOUT = httpx.Timeout(10.0, read=30.0)

T = TypeVar("T")


class ApiError(Exception):
    """The server refused; `problem` says which field and why."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(f"{problem.code}: {problem.detail}")


class JobFailed(Exception):
    """The job ended as `failed`; `status.problem` says which stage and why."""

    def __init__(self, status: JobStatus) -> None:
        self.status = status
        detail = status.problem.detail if status.problem else status.message
        super().__init__(detail)


class Unreachable(Exception):
    """Nothing answers at this URL."""


@dataclass(frozen=True, kw_only=True)
class Call(Generic[T]):
    """One request and the type of its answer."""

    method: str
    path: str
    answer: TypeAdapter[T]
    json: Any = None
    params: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    #: form fields and files, for uploads
    form: list[tuple[str, str]] | None = None
    files: Sequence[tuple[str, Path]] = ()

    def arguments(self, open_files: ExitStack) -> dict[str, Any]:
        """Keyword arguments of httpx' request."""
        more: dict[str, Any] = {"params": self.params, "headers": self.headers}
        if self.json is not None:
            more["json"] = self.json
        if self.form is not None:
            data: dict[str, list[str]] = {}
            for name, value in self.form:
                data.setdefault(name, []).append(value)
            more["data"] = data
            opened = [(name, path.name, open_files.enter_context(path.open("rb"))) for name, path in self.files]
            more["files"] = [(name, (file_name, file)) for name, file_name, file in opened]
        return more

    def read(self, reply: httpx.Response) -> T:
        """The answer; ApiError when the server refused."""
        raise_for_problem(reply)
        return self.answer.validate_json(reply.content or b"null")


def raise_for_problem(reply: httpx.Response) -> None:
    """ApiError with the server's problem, or one made of the bare status."""
    if reply.is_success:
        return
    try:
        problem = Problem.model_validate_json(reply.content)
    except ValidationError:
        problem = Problem(
            title="Unexpected answer",
            status=reply.status_code,
            code="unexpected_answer",
            detail=f"status {reply.status_code} from {reply.url}: is this a scratch-3d server?",
        )
    raise ApiError(problem)


def headers_of(api_key: str | None) -> dict[str, str]:
    """Authorisation, where there is a key."""
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}


def _key(key: str | None) -> dict[str, str]:
    return {"Idempotency-Key": key} if key else {}


_ACCEPTED = TypeAdapter(JobAccepted)
_STATUS = TypeAdapter(JobStatus)


def generate(prompt: str, options: dict[str, Any], key: str | None) -> Call[JobAccepted]:
    """`POST /3d/generate`."""
    return Call(
        method="POST",
        path="/3d/generate",
        answer=_ACCEPTED,
        json={"prompt": prompt, **options},
        headers=_key(key),
    )


def from_image(
    pictures: Sequence[Path | str], views: Sequence[str], options: dict[str, Any], key: str | None
) -> Call[JobAccepted]:
    """`POST /3d/from-image`: URLs (texts) as JSON, files (paths) as a form."""
    urls, paths = [p for p in pictures if isinstance(p, str)], [p for p in pictures if isinstance(p, Path)]
    if urls and paths:
        raise ValueError("give either URLs or files, not both")
    if urls:
        named = [{"url": url} | ({"view": view} if view else {}) for url, view in zip_longest(urls, views)]
        return Call(
            method="POST",
            path="/3d/from-image",
            answer=_ACCEPTED,
            json={"image_urls": named, **options},
            headers=_key(key),
        )
    form = [("views", view) for view in views]
    form += [(name, value if isinstance(value, str) else dumps(value)) for name, value in options.items()]
    return Call(
        method="POST",
        path="/3d/from-image",
        answer=_ACCEPTED,
        form=form,
        files=[("images", path) for path in paths],
        headers=_key(key),
    )


def status(job_id: str) -> Call[JobStatus]:
    """`GET /3d/status/{job_id}`."""
    return Call(method="GET", path=f"/3d/status/{job_id}", answer=_STATUS)


def jobs(state: str | None, limit: int, cursor: str | None) -> Call[JobPage]:
    """`GET /3d/jobs`."""
    params = {"state": state, "limit": limit, "cursor": cursor}
    given = {name: value for name, value in params.items() if value is not None}
    return Call(method="GET", path="/3d/jobs", answer=TypeAdapter(JobPage), params=given)


def cancel(job_id: str) -> Call[JobStatus]:
    """`POST /3d/jobs/{job_id}/cancel`."""
    return Call(method="POST", path=f"/3d/jobs/{job_id}/cancel", answer=_STATUS)


def retry(job_id: str, key: str | None) -> Call[JobAccepted]:
    """`POST /3d/jobs/{job_id}/retry`."""
    return Call(method="POST", path=f"/3d/jobs/{job_id}/retry", answer=_ACCEPTED, headers=_key(key))


def replay(job_id: str, from_stage: str, changes: dict[str, Any], key: str | None) -> Call[JobAccepted]:
    """`POST /3d/jobs/{job_id}/replay`."""
    return Call(
        method="POST",
        path=f"/3d/jobs/{job_id}/replay",
        answer=_ACCEPTED,
        json={"from": from_stage, **changes},
        headers=_key(key),
    )


def batch(requests: Sequence[dict[str, Any]], key: str | None) -> Call[BatchAccepted]:
    """`POST /3d/batch`."""
    return Call(
        method="POST",
        path="/3d/batch",
        answer=TypeAdapter(BatchAccepted),
        json={"requests": list(requests)},
        headers=_key(key),
    )


def delete(job_id: str) -> Call[None]:
    """`DELETE /3d/jobs/{job_id}`."""
    return Call(method="DELETE", path=f"/3d/jobs/{job_id}", answer=TypeAdapter(None))


def artifacts(job_id: str) -> Call[list[OutputStatus]]:
    """`GET /3d/jobs/{job_id}/artifacts`."""
    return Call(method="GET", path=f"/3d/jobs/{job_id}/artifacts", answer=TypeAdapter(list[OutputStatus]))


def engines() -> Call[PublicEngines]:
    """`GET /3d/engines`."""
    return Call(method="GET", path="/3d/engines", answer=TypeAdapter(PublicEngines))


class Ready(Call[Readiness]):
    """`GET /ready`, whose 503 is an answer too."""

    def read(self, reply: httpx.Response) -> Readiness:
        """Readiness in both cases."""
        if reply.status_code == 503:
            return Readiness.model_validate_json(reply.content)
        return super().read(reply)


def ready() -> Call[Readiness]:
    """`GET /ready`."""
    return Ready(method="GET", path="/ready", answer=TypeAdapter(Readiness))


def event_of(line: str) -> JobEvent | None:
    """The event of one line of a stream, if it holds one."""
    if not line.startswith("data:"):
        return None
    return JobEvent.model_validate_json(line.removeprefix("data:").strip())
