"""The same few figures in every process, in Prometheus' text form."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest

#: From a warm status read to a slow GPU job.
BUCKETS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)

STAGE_SECONDS = Histogram(
    "scratch3d_stage_seconds", "Duration of finished stages", ["stage", "engine"], buckets=BUCKETS
)
STAGE_FAILURES = Counter("scratch3d_stage_failures_total", "Failed stages by code", ["stage", "code"])
ENGINE_BUSY = Gauge("scratch3d_engine_busy", "1 while the engine works", ["engine"])
ENGINE_RESTARTS = Counter("scratch3d_engine_restarts_total", "Engine processes started again", ["engine"])
JOBS_SUBMITTED = Counter("scratch3d_jobs_submitted_total", "Accepted jobs", ["kind"])
JOBS_FINISHED = Counter("scratch3d_jobs_finished_total", "Ended jobs by state and code", ["state", "code"])
QUEUE_LENGTH = Gauge("scratch3d_queue_length", "Jobs ready for a worker")

router = APIRouter(tags=["operations"])


@router.get("/metrics", response_class=Response, summary="Prometheus metrics")
def metrics() -> Response:
    """Everything this process counts."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
