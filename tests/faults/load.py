"""Clients that do not behave: more submissions than can be done, and requests whose sender goes away."""

import asyncio
import contextlib
import json
import random
import socket
import struct
import time
from collections import Counter

from processes import Mesh
from stub_files import png


class Load:
    """Submissions at a steady rate over connections that stay open."""

    def __init__(self, mesh: Mesh, *, per_s: int, for_s: float) -> None:
        self.port, self.per_s, self.count = mesh.api_port, per_s, int(per_s * for_s)
        self.answers: Counter[int] = Counter()
        self.without_retry_after = 0
        body = json.dumps({"prompt": "a red cube", "quality_tier": "fast"})
        head = f"POST /3d/generate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        self.request = f"{head}\r\n\r\n{body}".encode()

    def run(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        due: asyncio.Queue[None] = asyncio.Queue()
        senders = [asyncio.create_task(self._send(due)) for _ in range(50)]
        began = time.monotonic()
        for number in range(self.count):
            await asyncio.sleep(max(0.0, began + number / self.per_s - time.monotonic()))
            due.put_nowait(None)
        await due.join()
        for sender in senders:
            sender.cancel()
        await asyncio.gather(*senders, return_exceptions=True)

    async def _send(self, due: "asyncio.Queue[None]") -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            while True:
                await due.get()
                writer.write(self.request)
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
                status = int(head.split()[1])
                self.answers[status] += 1
                self.without_retry_after += status == 429 and "retry-after: " not in head
                due.task_done()
        finally:
            writer.close()


def leave(port: int, request: bytes, chance: random.Random) -> None:
    """Send a request, read the first bytes of the answer if there are any by then, and go: politely or with RST."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        line.sendall(request)
        line.settimeout(chance.uniform(0.001, 0.05))
        with contextlib.suppress(TimeoutError):
            line.recv(200)
        if chance.random() < 0.5:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def half_an_upload() -> bytes:
    head = b'--cut\r\nContent-Disposition: form-data; name="images"; filename="a.png"\r\n\r\n' + png()
    request = b"POST /3d/from-image HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=cut\r\n"
    return request + b"Content-Length: 2000000\r\n\r\n" + head + bytes(300_000)


def asking_for(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
