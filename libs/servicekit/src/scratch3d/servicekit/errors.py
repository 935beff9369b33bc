"""Errors that become answers.

ServiceError
├── BadRequest            400 bad_request
├── Unauthorized          401 unauthorized
├── NotFound              404 not_found
├── Conflict              409 conflict
├── TooLarge              413 too_large
├── Unprocessable         422 unprocessable
│   └── NotAvailable      422 not_available
├── Busy                  429 busy
├── Failed                500 internal_error
│   ├── EngineFailed      500 engine_failed
│   ├── EngineCrashed     500 engine_crashed
│   ├── OutOfMemory       500 out_of_memory
│   ├── DeadlineExceeded  504 deadline_exceeded
│   └── InvalidResult     500 invalid_result
├── Cancelled             499 cancelled
└── Unavailable           503 unavailable
"""

import inspect
from typing import Any, ClassVar

from scratch3d.contracts.problems import FieldError, Problem


class ServiceError(Exception):
    """Something was refused or failed."""

    code: ClassVar[str] = "error"
    http_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        detail: str | None = None,
        *,
        code: str | None = None,
        field: str | None = None,
        retryable: bool | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        self.detail = detail or inspect.getdoc(type(self)) or ""
        self.problem_code = code or self.code
        self.field = field
        self.can_retry = self.retryable if retryable is None else retryable
        self.retry_after_s = retry_after_s
        super().__init__(self.detail)

    def problem(self, **more: Any) -> Problem:
        """The wire form; `more` adds stage or job id."""
        return Problem(
            title=self.problem_code.replace("_", " ").capitalize(),
            status=self.http_status,
            code=self.problem_code,
            detail=self.detail,
            retryable=self.can_retry,
            retry_after_s=self.retry_after_s,
            errors=(FieldError(field=self.field, message=self.detail),) if self.field else (),
            **more,
        )


class BadRequest(ServiceError):
    """The request could not be read."""

    code, http_status = "bad_request", 400


class Unauthorized(ServiceError):
    """An API key is needed: send `Authorization: Bearer <key>`."""

    code, http_status = "unauthorized", 401


class NotFound(ServiceError):
    """There is nothing under this name."""

    code, http_status = "not_found", 404


class Conflict(ServiceError):
    """The request does not fit the present state."""

    code, http_status = "conflict", 409


class TooLarge(ServiceError):
    """The request body is larger than allowed."""

    code, http_status = "too_large", 413


class Unprocessable(ServiceError):
    """A field has a value that cannot be used."""

    code, http_status = "unprocessable", 422


class NotAvailable(Unprocessable):
    """The feature behind this field or value is not installed here."""

    code = "not_available"


class Busy(ServiceError):
    """All places are taken at the moment."""

    code, http_status, retryable = "busy", 429, True


class Failed(ServiceError):
    """Something went wrong on our side."""

    code, http_status = "internal_error", 500


class EngineFailed(Failed):
    """The engine reported a failure."""

    code = "engine_failed"


class EngineCrashed(Failed):
    """The engine's process ended in the middle of the work."""

    code, retryable = "engine_crashed", True


class OutOfMemory(Failed):
    """The engine ran out of memory; a lower quality tier or a smaller picture needs less."""

    code = "out_of_memory"


class DeadlineExceeded(Failed):
    """The work took longer than allowed and was stopped."""

    code, http_status, retryable = "deadline_exceeded", 504, True


class InvalidResult(Failed):
    """The engine returned something that is not a usable result."""

    code = "invalid_result"


class Cancelled(ServiceError):
    """The caller went away or cancelled."""

    code, http_status = "cancelled", 499


class Unavailable(ServiceError):
    """A part that is needed does not answer at the moment."""

    code, http_status, retryable = "unavailable", 503, True


def from_problem(problem: Problem) -> ServiceError:
    """The error another process reported, to be raised here."""
    field = problem.errors[0].field if problem.errors else None
    error = ServiceError(
        problem.detail,
        code=problem.code,
        field=field,
        retryable=problem.retryable,
        retry_after_s=problem.retry_after_s,
    )
    error.http_status = problem.status  # type: ignore[misc]  # the reporter's status, not the class default
    return error
