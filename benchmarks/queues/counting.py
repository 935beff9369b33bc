"""A TCP proxy in front of Redis that counts round trips: requests that follow a reply on the same connection."""

import asyncio
import contextlib
import threading

from scratch3d.up.supervisor import free_port


class CountingProxy:
    """Runs in a thread of its own until the process ends. Pushed messages are replies to nobody and count nothing."""

    def __init__(self, target_port: int) -> None:
        self.round_trips, self.port, self._target_port = 0, free_port(), target_port
        ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True).start()
        ready.wait(10)

    async def _serve(self, ready: threading.Event) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, backlog=512)
        ready.set()
        await server.serve_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        redis_reader, redis_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        answered = [True]
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(
                self._copy(reader, redis_writer, answered, asks=True),
                self._copy(redis_reader, writer, answered, asks=False),
            )

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answered: list[bool], *, asks: bool
    ) -> None:
        while data := await reader.read(1 << 18):
            if asks and answered[0]:
                self.round_trips += 1
            answered[0] = not asks
            writer.write(data)
            await writer.drain()
        writer.close()
