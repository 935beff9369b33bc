"""scratch-3d's own store and worker with steps that do nothing, in three forms.

`store`: one consumer like the floor's, submit → claim → finish; two stages' results are kept, so one advance is the
end. `stage`: the real worker with the same jobs. `road`: the real worker and the whole road, three stages.
"""

import asyncio
import os
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import producer
import uvloop
from journal import DONE, STARTED, note

from orchestrator.domain import STAGES, Job, Plan, StageResult
from orchestrator.doors.rest.access import ANYBODY
from orchestrator.settings import Settings
from orchestrator.store_redis import RedisStore
from orchestrator.worker import Worker
from scratch3d.contracts.jobs import State
from scratch3d.servicekit.logging import configure
from scratch3d.slots import RedisSlots

PLAN = Plan(seed=7, resolution=128, target_faces=20000, reconstruction_engine="none", postprocess_engine="none")
RESULT = StageResult(engine="none", engine_version="1", inputs_sha256="0" * 64, started_at=1.0, duration_s=0.0)


def new_job(index: int, seconds: float, *, kept: bool) -> Job:
    """A job whose prompt tells its body what to do; `kept`: only the last stage is left."""
    return Job(
        id=str(uuid.uuid4()),
        owner=ANYBODY,
        kind="generate",
        request={"prompt": f"{index} {seconds}"},
        plan=PLAN,
        state=State.POST_PROCESSING if kept else State.QUEUED,
        results=dict.fromkeys(STAGES[:-1], RESULT) if kept else {},
        created_at=time.time(),
    )


class Step:
    """Notes the start of the first stage it sees and the end of the last."""

    async def call(self, job: Job, *_: Any) -> StageResult:
        """See orchestrator.pipeline.Step."""
        index, seconds = str(job.request["prompt"]).split()
        if job.state is STAGES[0]:
            note(int(index), STARTED)
            await asyncio.sleep(float(seconds))
        elif job.state is STAGES[-1]:
            note(int(index), DONE)
        return RESULT


async def serial() -> None:
    """One job after the other, without a worker around it."""
    store, step = RedisStore(os.environ["QUEUE_REDIS"]), Step()
    job: Job | None = None
    while True:
        ending = store.advance(job, await step.call(job)) if job else asyncio.sleep(0)
        # As the worker does: the next job is asked for while this one ends, in the same packet.
        _, job = await asyncio.gather(ending, store.claim(uuid.uuid4().hex, lease_s=9.0, wait_s=5.0))


async def carry() -> None:
    """The worker as it ships."""
    settings = Settings()
    configure("worker", level=settings.log_level, human=settings.log_human)
    store = RedisStore(os.environ["QUEUE_REDIS"])
    slots = RedisSlots(store.wire, lease_s=settings.lease_s)
    await Worker(store, slots, dict.fromkeys(STAGES, Step()), settings).work()


@asynccontextmanager
async def opened() -> AsyncIterator[producer.Submit]:
    """The submitting side."""
    store, kept = RedisStore(os.environ["QUEUE_REDIS"]), os.environ["QUEUE_VARIANT"] != "road"
    yield lambda index, seconds: store.submit(new_job(index, seconds, kept=kept), max_queued=10**6)
    await store.close()


if __name__ == "__main__":
    if sys.argv[1:] == ["work"]:
        if os.environ["QUEUE_VARIANT"] == "store":
            asyncio.run(serial())
        else:
            uvloop.run(carry())
    else:
        producer.main(opened)
