"""Errors of the orchestrator.

ServiceError
├── JobNotFound       404 job_not_found
├── NotFinished       409 not_finished
├── AlreadyFinal      409 already_final
├── KeyReused         422 idempotency_key_reused
├── EventsGone        410 events_gone
├── NotKept           409 not_kept
├── QueueFull         429 queue_full
├── TooManyJobs       429 too_many_jobs
├── StoreUnavailable  503 store_unavailable
└── StageFailed       as reported by the stage
LeaseLost                       internal: somebody else holds the job, or it ended
"""

from scratch3d.contracts.problems import Problem
from scratch3d.servicekit.errors import Busy, Conflict, NotFound, ServiceError, Unavailable, Unprocessable


class JobNotFound(NotFound):
    """There is no job with this id."""

    code = "job_not_found"


class NotFinished(Conflict):
    """The job is not completed, so it has no asset yet."""

    code = "not_finished"


class AlreadyFinal(Conflict):
    """The job has ended already."""

    code = "already_final"


class KeyReused(Unprocessable):
    """The Idempotency-Key was used before with another request."""

    code = "idempotency_key_reused"


class QueueFull(Busy):
    """The queue is full; nothing was accepted."""

    code = "queue_full"


class TooManyJobs(Busy):
    """The API key has too many unfinished jobs; nothing was accepted."""

    code = "too_many_jobs"


class EventsGone(ServiceError):
    """What happened since then is not kept any more: read /3d/jobs, and watch again without Last-Event-ID."""

    code, http_status = "events_gone", 410


class NotKept(Conflict):
    """The job has no result of that stage to go on from."""

    code = "not_kept"


class StoreUnavailable(Unavailable):
    """Redis, which keeps the jobs, cannot be used at the moment; try again."""

    code = "store_unavailable"


class LeaseLost(Exception):
    """The job ended or is held by another worker: stop at once, write nothing."""


class StageFailed(Exception):
    """A stage ended with a problem; the worker records it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem
