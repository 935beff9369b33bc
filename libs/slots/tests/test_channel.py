"""One channel, heard until the connection is lost."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError

from scratch3d.slots import RedisChannel, channel


@asynccontextmanager
async def following(url: str, heard: list[str]) -> AsyncIterator[asyncio.Task[None]]:
    """Joined already."""
    joined = asyncio.Event()
    task = asyncio.create_task(RedisChannel(url, "news", heard.append).follow(joined.set))
    await asyncio.wait_for(joined.wait(), 5)
    yield task
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, ConnectionError):
        await task


async def test_all_that_is_said_is_heard_in_order(redis_url: str) -> None:
    heard: list[str] = []
    async with Redis.from_url(redis_url) as redis, following(redis_url, heard):
        said = [f"{number} ä {'x' * number * 100}" for number in range(200)]
        async with redis.pipeline(transaction=False) as pipe:
            for text in said:
                pipe.publish("news", text)
                pipe.publish("other", text)
            await pipe.execute()
        async with asyncio.timeout(5):
            while len(heard) < len(said):
                await asyncio.sleep(0.01)
    assert heard == said


async def test_a_connection_that_is_cut_is_the_end(redis_url: str) -> None:
    async with Redis.from_url(redis_url) as redis, following(redis_url, []) as task:
        await redis.client_kill_filter(_type="pubsub")
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(task, 5)


async def test_a_quiet_channel_is_no_end(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "SILENCE_S", 0.05)
    async with following(redis_url, []) as task:
        await asyncio.wait({task}, timeout=0.5)
        assert not task.done(), "Redis answered when it was asked"


async def test_a_peer_that_falls_silent_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "SILENCE_S", 0.05)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            if b"SUBSCRIBE" in data:
                writer.write(b"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n")
            elif b"PING" not in data:
                writer.write(b"+OK\r\n" * data.count(b"*"))
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with following(f"redis://127.0.0.1:{port}", []) as task:
            with pytest.raises(ConnectionError, match="silent"):
                await asyncio.wait_for(task, 5)
