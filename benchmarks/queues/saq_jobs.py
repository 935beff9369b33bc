"""saq as its documentation shows it; ten jobs at a time are its default."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import producer
from journal import DONE, STARTED, note
from saq import Queue

queue = Queue.from_url(os.environ["QUEUE_REDIS"])


async def body(_: Any, *, index: int, seconds: float) -> None:
    note(index, STARTED)
    await asyncio.sleep(seconds)
    note(index, DONE)


settings = {"queue": queue, "functions": [body]}


@asynccontextmanager
async def opened() -> AsyncIterator[producer.Submit]:
    """The submitting side."""
    await queue.connect()
    yield lambda index, seconds: queue.enqueue("body", index=index, seconds=seconds)
    await queue.disconnect()


if __name__ == "__main__":
    producer.main(opened)
