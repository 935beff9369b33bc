"""celery with late acknowledgement, without which a job of a killed worker is lost at once."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import journal
import producer
from celery import Celery

app = Celery("jobs", broker=os.environ["QUEUE_REDIS"])
app.conf.update(task_ignore_result=True, task_acks_late=True, task_reject_on_worker_lost=True)


@app.task(name="body")
def body(index: int, seconds: float) -> None:
    journal.body(index, seconds)


@asynccontextmanager
async def opened() -> AsyncIterator[producer.Submit]:
    """The submitting side: celery has no asynchronous one, so nothing is ever in flight."""

    async def submit(index: int, seconds: float) -> None:
        body.delay(index, seconds)

    yield submit


if __name__ == "__main__":
    producer.main(opened)
