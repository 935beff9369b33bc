"""The least that a queue on Redis can do, with one consumer that takes one job at a time.

Floor A: MULTI(HSET, LPUSH) → BLMOVE → HSET → MULTI(HSET, LREM). Floor B: the same with state-guarded scripts that
also PUBLISH. Neither has a lease, an event or a history: a job whose worker dies is lost in its list.
"""

import asyncio
import os
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import producer
from journal import DONE, note
from redis.asyncio import Redis

WAITING, RUNNING, CHANNEL = "floor:waiting", "floor:running", "floor:live"
_SUBMIT = """
redis.call('HSET', KEYS[1], 'state', 'queued', 'index', ARGV[2], 'prompt', 'a red cube')
redis.call('LPUSH', KEYS[2], ARGV[1])
redis.call('PUBLISH', KEYS[3], ARGV[1])
return 1"""
_CHANGE = """
if redis.call('HGET', KEYS[1], 'state') ~= ARGV[2] then return false end
redis.call('HSET', KEYS[1], 'state', ARGV[3])
if ARGV[3] == 'done' then redis.call('LREM', KEYS[2], 1, ARGV[1]) end
redis.call('PUBLISH', KEYS[3], ARGV[1])
return redis.call('HGET', KEYS[1], 'index')"""


class FloorA:
    """Plain commands."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis

    async def submit(self, index: int) -> None:
        """Keep a job and queue it."""
        job_id = uuid.uuid4().hex
        async with self.redis.pipeline(transaction=True) as pipe:
            pipe.hset(f"floor:{job_id}", mapping={"state": "queued", "index": index, "prompt": "a red cube"})
            pipe.lpush(WAITING, job_id)
            await pipe.execute()

    async def carry(self, job_id: str) -> None:
        """Take a job up, run its body, end it."""
        await self.redis.hset(f"floor:{job_id}", "state", "running")
        note(0, DONE)
        async with self.redis.pipeline(transaction=True) as pipe:
            pipe.hset(f"floor:{job_id}", "state", "done")
            pipe.lrem(RUNNING, 1, job_id)
            await pipe.execute()


class FloorB:
    """Scripts that guard every transition."""

    def __init__(self, redis: Redis) -> None:
        self._submit, self._change = redis.register_script(_SUBMIT), redis.register_script(_CHANGE)

    async def submit(self, index: int) -> None:
        """Keep a job and queue it."""
        job_id = uuid.uuid4().hex
        await self._submit(keys=[f"floor:{job_id}", WAITING, CHANNEL], args=[job_id, index])

    async def carry(self, job_id: str) -> None:
        """Take a job up, run its body, end it."""
        keys = [f"floor:{job_id}", RUNNING, CHANNEL]
        await self._change(keys=keys, args=[job_id, "queued", "running"])
        note(0, DONE)
        await self._change(keys=keys, args=[job_id, "running", "done"])


def _floor(redis: Redis) -> FloorA | FloorB:
    return {"A": FloorA, "B": FloorB}[os.environ["QUEUE_VARIANT"]](redis)


async def work() -> None:
    """One job after the other, until killed."""
    redis = Redis.from_url(os.environ["QUEUE_REDIS"], decode_responses=True)
    consumer = Redis.from_url(os.environ["QUEUE_REDIS"], decode_responses=True, socket_timeout=None)
    floor = _floor(redis)
    while True:
        if job_id := await consumer.blmove(WAITING, RUNNING, 5, "RIGHT", "LEFT"):
            await floor.carry(job_id)


@asynccontextmanager
async def opened() -> AsyncIterator[producer.Submit]:
    """The submitting side."""
    async with Redis.from_url(os.environ["QUEUE_REDIS"], decode_responses=True) as redis:
        floor = _floor(redis)
        yield lambda index, _: floor.submit(index)


if __name__ == "__main__":
    if sys.argv[1:] == ["work"]:
        asyncio.run(work())
    else:
        producer.main(opened)
