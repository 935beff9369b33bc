"""Values that tests start from, and the hand on the clock of leases."""

import uuid
from typing import Any

from redis.asyncio import Redis

from orchestrator.domain import Job, Plan, StageResult
from orchestrator.store import JobStore
from orchestrator.store_memory import MemoryStore
from orchestrator.store_redis import LEASES, RedisStore
from scratch3d.contracts.artifacts import ArtifactRef
from scratch3d.contracts.jobs import State
from scratch3d.contracts.problems import Problem

PROBLEM = Problem(title="Broken", status=500, code="broken", detail="it broke")


def new_job(**more: Any) -> Job:
    """A queued job of `me`."""
    plan = Plan(seed=1, resolution=64, target_faces=100, reconstruction_engine="r", postprocess_engine="p")
    given = {"id": str(uuid.uuid4()), "owner": "me", "kind": "generate", "request": {"prompt": "a cube"}}
    return Job.model_validate({**given, "plan": plan, "created_at": 1.0, **more})


def result_of(job: Job) -> StageResult:
    """What the present stage leaves; its files carry the attempt that made them."""
    key = f"outputs/{job.id}/{job.attempt}/{job.state}.glb"
    ref = ArtifactRef(key=key, media_type="model/gltf-binary", size_bytes=3, sha256="0" * 64)
    outputs = [{"name": "model.glb", "role": "asset", "format": "glb", "ref": ref.model_dump(), "primary": True}]
    return StageResult.model_validate(
        {
            "engine": "e",
            "engine_version": "1",
            "inputs_sha256": "s",
            "artifacts": (ref,),
            "started_at": 1.0,
            "duration_s": 0.5,
            "value": {"outputs": outputs} if job.state is State.POST_PROCESSING else {},
        }
    )


async def age(store: JobStore, *job_ids: str) -> None:
    """Their leases end now, that of the first one first; no test waits for a clock."""
    if not job_ids:
        return
    if isinstance(store, RedisStore):
        await plain(store).zadd(LEASES, {job_id: n for n, job_id in enumerate(job_ids, 1)}, xx=True)
    elif isinstance(store, MemoryStore):
        store._leases.update({job_id: -1e9 + n for n, job_id in enumerate(job_ids) if job_id in store._leases})
    else:
        raise TypeError(f"no hand on the leases of {type(store).__name__}")


def plain(store: RedisStore) -> Redis:
    """What the store keeps, seen past the store."""
    return Redis(connection_pool=store.wire.pool)
