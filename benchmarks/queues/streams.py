"""Many event streams at once, and the worker's side that makes the events.

    python streams.py publish JOBS SECONDS   keeps and claims so many jobs, prints their ids as JSON, waits for a line on
                                             standard input, then notes progress of each once a second; prints the rate
    python streams.py listen URL SECONDS     one stream per path on standard input; prints {"open", "received",
                                             "p50_ms", "p99_ms"}, from the writer's call to the listener's socket

The phase of each event is the time at which its write began.
"""

import asyncio
import json
import os
import re
import sys
import time
import uuid
from statistics import median, quantiles
from urllib.parse import urlsplit

#: How many clients connect at the same time.
CONNECTING = 50
_PHASE = re.compile(rb'"phase":"(\d+)"')


async def publish(count: int, seconds: float) -> None:
    """The writer: the worker's heartbeat, spread evenly over each second."""
    # Imported here, because listeners need none of it.
    from ours import new_job

    from orchestrator.store_redis import RedisStore

    store = RedisStore(os.environ["REDIS_URL"])
    for _ in range(count):
        await store.submit(new_job(0, 0.0, kept=False), max_queued=10**6)
    jobs = [await store.claim(uuid.uuid4().hex, lease_s=3600.0, wait_s=5.0) for _ in range(count)]
    print(json.dumps([job.id for job in jobs if job]), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    # Not before all of them are made: what is late at the beginning would come in one burst.
    began, written = time.monotonic() + 0.5, 0

    async def beat(number: int) -> None:
        nonlocal written
        job = jobs[number]
        for turn in range(int(seconds)):
            await asyncio.sleep(max(0.0, began + turn + number / count - time.monotonic()))
            await store.beat(job, lease_s=3600.0, progress=1, phase=str(time.monotonic_ns()))
            written += 1

    await asyncio.gather(*map(beat, range(count)))
    print(json.dumps({"per_s": written / (time.monotonic() - began)}), flush=True)


class Listener(asyncio.Protocol):
    """One stream."""

    def __init__(self, request: bytes, found: list[float]) -> None:
        self._request, self._found, self._tail = request, found, b""
        self.open = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.WriteTransport) -> None:
        """See asyncio.Protocol."""
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        now = time.monotonic_ns()
        if not self.open.done():
            self.open.set_result(data.startswith(b"HTTP/1.1 200"))
        *events, self._tail = (self._tail + data).split(b"\r\n\r\n")
        for event in events:
            if match := _PHASE.search(event):
                self._found.append((now - int(match[1])) / 1e6)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        if not self.open.done():
            self.open.set_result(False)


async def listen(url: str, seconds: float, paths: list[str]) -> dict[str, object]:
    """Open all streams, say so, and listen."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    loop, found, gate = asyncio.get_running_loop(), list[float](), asyncio.Semaphore(CONNECTING)

    async def connect(path: str) -> bool:
        request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: text/event-stream\r\n\r\n".encode()
        async with gate:
            _, listener = await loop.create_connection(lambda: Listener(request, found), host, port)
            return bool(await listener.open)

    opened = sum(await asyncio.gather(*map(connect, paths)))
    found.clear()
    print(json.dumps({"open": opened}), flush=True)
    await asyncio.sleep(seconds)
    if not found:
        return {"open": opened, "received": 0, "p50_ms": float("nan"), "p99_ms": float("nan")}
    p99 = quantiles(found, n=100, method="inclusive")[98]
    return {"open": opened, "received": len(found), "p50_ms": median(found), "p99_ms": p99}


if __name__ == "__main__":
    if sys.argv[1] == "publish":
        asyncio.run(publish(int(sys.argv[2]), float(sys.argv[3])))
    else:
        print(json.dumps(asyncio.run(listen(sys.argv[2], float(sys.argv[3]), sys.stdin.read().split()))))
