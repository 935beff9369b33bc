"""The one shape of every failure: RFC 9457 problem details with a stable code."""

from pydantic import Field

from .values import Value

PROBLEM_MEDIA_TYPE = "application/problem+json"


class FieldError(Value):
    """One rejected field and how to mend it."""

    field: str
    message: str


class Problem(Value):
    """`application/problem+json`: what failed, in which stage, and whether trying again helps."""

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    retryable: bool = False
    retry_after_s: float | None = None
    stage: str | None = None
    job_id: str | None = None
    errors: tuple[FieldError, ...] = Field(default=())
