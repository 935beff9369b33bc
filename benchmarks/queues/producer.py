"""Drives one contender's side that submits: a burst, then single jobs with gaps, timed against the worker's journal.

python <contender>.py produce BURST IDLE      prints {"jobs_per_s", "submit_per_s", "cpu_us", "idle_ms": […]}
python <contender>.py one SECONDS             submits a single job that takes so long
"""

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import usage
from journal import DONE, Journal, Record

#: Submissions in flight during a burst.
IN_FLIGHT = 50
#: Pauses between idle samples, and how long the sampling may last.
GAP_S, IDLE_LIMIT_S = (0.02, 0.06), 12.0
#: A worker that did not answer for so long is broken.
PATIENCE_S = 60.0

Submit = Callable[[int, float], Awaitable[object]]
Opened = Callable[[], AbstractAsyncContextManager[Submit]]


def main(opened: Opened) -> None:
    """Do what the command line says."""
    command, *numbers = sys.argv[1:]
    if command == "one":
        asyncio.run(_one(opened, float(numbers[0])))
    else:
        print(json.dumps(asyncio.run(_produce(opened, *map(int, numbers)))))


async def _one(opened: Opened, seconds: float) -> None:
    async with opened() as submit:
        await submit(1, seconds)


async def _produce(opened: Opened, burst: int, idle: int) -> dict[str, object]:
    journal = Journal(Path(os.environ["QUEUE_JOURNAL"]))
    groups = {int(group) for group in os.environ["QUEUE_GROUPS"].split(",")}
    async with opened() as submit:
        await submit(0, 0.0)
        await _done(journal, 1)
        used, own = usage.seconds(groups), time.process_time()
        began = time.monotonic_ns()
        await _burst(submit, burst)
        submitted = time.monotonic_ns()
        ended = await _done(journal, burst)
        used = usage.seconds(groups) - used + time.process_time() - own
        return {
            "cpu_us": used / burst * 1e6,
            "submit_per_s": burst / (submitted - began) * 1e9,
            "jobs_per_s": burst / (ended - began) * 1e9,
            "idle_ms": await _idle(submit, journal, idle),
        }


async def _burst(submit: Submit, count: int) -> None:
    indices = iter(range(count))

    async def lane() -> None:
        for index in indices:
            await submit(index, 0.0)

    await asyncio.gather(*(lane() for _ in range(IN_FLIGHT)))


async def _idle(submit: Submit, journal: Journal, count: int) -> list[float]:
    """Milliseconds from submission to the first line of the body, on an idle queue."""
    found, limit = [], time.monotonic() + IDLE_LIMIT_S
    for index in range(count):
        if time.monotonic() > limit:
            break
        await asyncio.sleep(random.uniform(*GAP_S))
        began = time.monotonic_ns()
        await submit(index, 0.0)
        records = await _records(journal, 1)
        found.append((min(record.at_ns for record in records) - began) / 1e6)
    return found


async def _done(journal: Journal, count: int) -> int:
    return (await _records(journal, count))[-1].at_ns


async def _records(journal: Journal, count: int) -> list[Record]:
    """All records until `count` bodies have ended."""
    found, done, limit = list[Record](), 0, time.monotonic() + PATIENCE_S
    while done < count:
        if time.monotonic() > limit:
            raise TimeoutError(f"{done} of {count} jobs in {PATIENCE_S:g} s")
        await asyncio.sleep(0.002)
        news = list(journal.news())
        done += sum(record.mark == DONE for record in news)
        found += news
    return found
