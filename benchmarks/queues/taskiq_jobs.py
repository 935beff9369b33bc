"""taskiq with the stream broker, as its documentation shows it."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import producer
from journal import DONE, STARTED, note
from taskiq_redis import RedisStreamBroker

broker = RedisStreamBroker(url=os.environ["QUEUE_REDIS"])


@broker.task(task_name="body")
async def body(index: int, seconds: float) -> None:
    note(index, STARTED)
    await asyncio.sleep(seconds)
    note(index, DONE)


@asynccontextmanager
async def opened() -> AsyncIterator[producer.Submit]:
    """The submitting side."""
    await broker.startup()
    yield body.kiq
    await broker.shutdown()


if __name__ == "__main__":
    producer.main(opened)
