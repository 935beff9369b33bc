"""Problems that the control plane itself records."""

from scratch3d.contracts.problems import Problem

CANCELLED = Problem(title="Cancelled", status=499, code="cancelled", detail="The job was cancelled", retryable=False)


def attempts_exhausted(attempts: int) -> Problem:
    """A job whose workers die again and again must not kill them forever."""
    return Problem(
        title="Attempts exhausted",
        status=500,
        code="attempts_exhausted",
        detail=f"{attempts} workers fell silent while they carried this job; the input probably crashes an engine",
    )


def internal_error(detail: str) -> Problem:
    """A failure of the worker itself."""
    return Problem(title="Internal error", status=500, code="internal_error", detail=detail, retryable=True)


def job_too_late(limit_s: float) -> Problem:
    """A job that works longer than anything should."""
    return Problem(
        title="Deadline exceeded",
        status=504,
        code="job_deadline_exceeded",
        detail=f"the job did not end within {limit_s:g} s of its first attempt",
        retryable=True,
    )
