"""A TCP proxy with faults, in a thread of its own: what a network between us and Redis may do."""

import asyncio
import contextlib
import re
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Mode = Literal["pass_through", "drop", "refuse"]
CHUNK = 65536


@dataclass
class _Trap:
    """What happens around the n-th request that contains some bytes."""

    needle: bytes
    moment: Literal["before", "after"]
    left: int
    strike: Callable[[], None]
    #: asked before a request counts; what a reply must contain to be the one
    ready: Callable[[], bool]
    wanted: re.Pattern[bytes]


@dataclass(eq=False)
class _Pair:
    """One connection through the proxy."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    #: bytes were swallowed: like a firewall that forgot the connection, it stays silent
    silent: bool = False
    #: the next reply is swallowed and the connection reset
    doomed: bool = False
    #: the trap's request went through here; its reply springs it
    set: bool = False
    tail: bytes = field(default=b"", repr=False)

    def reset(self) -> None:
        for writer in (self.client, self.server):
            with contextlib.suppress(OSError):
                linger_zero = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_zero)
            writer.transport.abort()


class Proxy:
    """Forwards loopback connections to `target_port`; its faults take effect on open connections too."""

    def __init__(self, target_port: int) -> None:
        self.target_port, self.delay_s = target_port, 0.0
        self.mode: Mode = "pass_through"
        #: replies lost so far
        self.lost = 0
        self._to_lose, self._after = 0, b""
        self._trap: _Trap | None = None
        self._pairs: set[_Pair] = set()
        self._loop = asyncio.new_event_loop()
        # Bound before the loop runs, so that the port is known at once.
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()

    def pass_through(self) -> None:
        """No fault; connections that went silent stay so, new ones work."""
        self.mode, self.delay_s, self._to_lose = "pass_through", 0.0, 0

    def drop(self) -> None:
        """Bytes vanish, new connections are accepted and hang."""
        self.mode = "drop"

    def refuse(self) -> None:
        """Every connection is reset, open ones and new ones."""
        self.mode = "refuse"
        self.reset()

    def reset(self) -> None:
        """Reset the open connections only."""
        self._call(self._reset_all)

    def lose_replies(self, n: int, *, after: bytes) -> None:
        """The next `n` requests that contain `after` are carried out; their replies are lost and the connection reset."""
        self._after, self._to_lose = after, n

    def trap(
        self,
        needle: bytes,
        moment: Literal["before", "after"],
        n: int,
        strike: Callable[[], None],
        *,
        ready: Callable[[], bool] = lambda: True,
        wanted: re.Pattern[bytes] = re.compile(b""),
    ) -> None:
        """Call `strike` before the n-th request with `needle` goes on, or after it was carried out: its reply is kept."""
        self._trap = _Trap(needle, moment, n, strike, ready, wanted)

    def close(self) -> None:
        """Reset everything and end the thread."""
        self._call(self._reset_all)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _call(self, action: object) -> None:
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (action(), done.set()))  # type: ignore[operator]
        done.wait(5)

    def _reset_all(self) -> None:
        for pair in tuple(self._pairs):
            pair.reset()

    def _live(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._accept, sock=self._listener))
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.05))
        self._loop.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            _Pair(writer, writer).reset()
            return
        pair = _Pair(writer, far_writer, silent=self.mode == "drop")
        if self.mode == "refuse":
            pair.reset()
            return
        self._pairs.add(pair)
        try:
            await asyncio.gather(self._requests(pair, reader), self._replies(pair, far_reader))
        except OSError:
            pair.reset()
        finally:
            self._pairs.discard(pair)
            writer.close()
            far_writer.close()

    async def _requests(self, pair: _Pair, reader: asyncio.StreamReader) -> None:
        while chunk := await reader.read(CHUNK):
            if self._swallows(pair):
                continue
            seen, pair.tail = pair.tail + chunk, chunk[-64:]
            if self._to_lose and self._after in seen:
                self._to_lose -= 1
                pair.doomed, pair.tail = True, b""
            if self._stepped_on(pair, seen):
                return
            await self._pass(chunk, pair.server)
        pair.server.close()

    async def _replies(self, pair: _Pair, reader: asyncio.StreamReader) -> None:
        while chunk := await reader.read(CHUNK):
            if pair.doomed:
                self.lost += 1
                pair.reset()
                return
            if pair.set and self._trap and self._trap.wanted.search(chunk):
                self._spring()
                return
            if not self._swallows(pair):
                await self._pass(chunk, pair.client)
        pair.client.close()

    def _stepped_on(self, pair: _Pair, seen: bytes) -> bool:
        """The trap has sprung: nothing of this goes on."""
        trap = self._trap
        if trap is None or trap.needle not in seen or not trap.ready():
            return False
        pair.tail = b""
        trap.left -= 1
        if trap.left > 0:
            return False
        pair.set = trap.moment == "after"
        trap.left = 1  # until a reply is the one that is wanted
        if trap.moment == "before":
            self._spring()
        return trap.moment == "before"

    def _spring(self) -> None:
        trap, self._trap = self._trap, None
        if trap:
            trap.strike()

    def _swallows(self, pair: _Pair) -> bool:
        pair.silent = pair.silent or self.mode == "drop"
        return pair.silent

    async def _pass(self, chunk: bytes, writer: asyncio.StreamWriter) -> None:
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        writer.write(chunk)
        await writer.drain()
