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
JOBS_REFUSED = Counter("scratch3d_jobs_refused_total", "Requests refused because too much waits", ["code"])
JOBS_TAKEN_BACK = Counter("scratch3d_jobs_taken_back_total", "Jobs of workers that fell silent")
QUEUE_LENGTH = Gauge("scratch3d_queue_length", "Jobs ready for a worker")
JOBS_RUNNING = Gauge("scratch3d_jobs_running", "Jobs that a worker holds")
STAGE_RUNNING = Gauge("scratch3d_stage_running", "Jobs of this worker by stage", ["stage"])
STAGE_RETRIES = Counter(
    "scratch3d_stage_retries_total", "Stage calls tried again, by the failure's code", ["stage", "code"]
)
WORKERS = Gauge("scratch3d_workers", "Workers that signed in lately")
SLOTS = Gauge("scratch3d_slots", "Replicas by pool and state", ["pool", "state"])
#: From a round trip on one host to a Redis that is nearly lost.
STORE_BUCKETS = (0.0002, 0.0005, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3)
STORE_SECONDS = Histogram(
    "scratch3d_redis_seconds", "Round trips to Redis by script", ["script"], buckets=STORE_BUCKETS
)
STORE_FAILURES = Counter("scratch3d_redis_failures_total", "Round trips to Redis that failed", ["error"])
STORE_MEMORY = Gauge("scratch3d_redis_memory_bytes", "Memory that Redis uses")

router = APIRouter(tags=["operations"])


@router.get("/metrics", response_class=Response, summary="Prometheus metrics")
def metrics() -> Response:
    """Everything this process counts."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
