"""arq with its defaults (asks every 0.5 s, ten jobs at a time) or tuned (every 10 ms, fifty jobs)."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import producer
from arq import create_pool
from arq.connections import RedisSettings
from journal import DONE, STARTED, note

_REDIS = RedisSettings.from_dsn(os.environ["QUEUE_REDIS"])


async def body(_: Any, index: int, seconds: float) -> None:
    note(index, STARTED)
    await asyncio.sleep(seconds)
    note(index, DONE)


class WorkerSettings:
    """What `arq` reads."""

    functions = (body,)
    redis_settings = _REDIS
    if os.environ.get("QUEUE_VARIANT") == "tuned":
        poll_delay = 0.01
        max_jobs = 50


@asynccontextmanager
async def opened() -> AsyncIterator[producer.Submit]:
    """The submitting side."""
    pool = await create_pool(_REDIS)
    yield lambda index, seconds: pool.enqueue_job("body", index, seconds)
    await pool.aclose()


if __name__ == "__main__":
    producer.main(opened)
