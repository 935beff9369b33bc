"""Asks one HTTP server as fast as it answers, over connections that stay open.

    python load.py URL CONNECTIONS SECONDS COUNT [BODY]   paths, one per line, on standard input

Ends after SECONDS or COUNT requests (0: no limit); with BODY the requests are POSTs. Prints
{"per_s", "p50_ms", "p99_ms", "failed", "count", "last"}.
"""

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Iterator
from statistics import median, quantiles
from urllib.parse import urlsplit


class Lane(asyncio.Protocol):
    """One connection: the next request leaves when the reply to the last one is whole."""

    def __init__(self, requests: Iterator[bytes], until: float) -> None:
        self.seconds: list[float] = []
        self.failed, self.last = 0, b""
        self.closed = asyncio.get_running_loop().create_future()
        self._requests, self._until, self._reply = requests, until, b""

    def connection_made(self, transport: asyncio.WriteTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        request = next(self._requests, None)
        if request is None or time.perf_counter() > self._until:
            self._transport.close()
            return
        self._reply, self._asked = b"", time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._reply += data
        head, mark, body = self._reply.partition(b"\r\n\r\n")
        if not mark:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        if len(body) < length:
            return
        self.seconds.append(time.perf_counter() - self._asked)
        self.failed += head.split(b" ", 2)[1][:1] != b"2"
        self.last = body
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self.closed.set_result(None)


async def _ask(
    url: str, connections: int, seconds: float, count: int, body: str, paths: list[str]
) -> dict[str, object]:
    host, port = urlsplit(url).hostname, urlsplit(url).port
    texts = [_request(path, f"{host}:{port}", body) for path in paths]
    requests = itertools.islice(itertools.cycle(texts), count or None)
    began = time.perf_counter()
    loop, until = asyncio.get_running_loop(), began + (seconds or 1e9)
    lanes = [(await loop.create_connection(lambda: Lane(requests, until), host, port))[1] for _ in range(connections)]
    await asyncio.gather(*(lane.closed for lane in lanes))
    took = time.perf_counter() - began
    found = [value * 1000 for lane in lanes for value in lane.seconds]
    return {
        "per_s": len(found) / took,
        "p50_ms": median(found),
        "p99_ms": quantiles(found, n=100, method="inclusive")[98],
        "failed": sum(lane.failed for lane in lanes),
        "count": len(found),
        "last": lanes[0].last.decode(),
    }


def _request(path: str, host: str, body: str) -> bytes:
    lines = [f"{'POST' if body else 'GET'} {path} HTTP/1.1", f"Host: {host}", "Accept: */*"]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body.encode())}"]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


if __name__ == "__main__":
    url, connections, seconds, count, *body = sys.argv[1:]
    paths = sys.stdin.read().split()
    print(json.dumps(asyncio.run(_ask(url, int(connections), float(seconds), int(count), "".join(body), paths))))
