"""Server-sent events, thousands of streams in one process.

Each event is put into bytes once, however many listen, and goes out with one call per listener; a library that guards every
single write with timers and tasks of its own costs three times as much (benchmarks/control_plane.py).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fastapi import Response
from starlette.types import Receive, Scope, Send

from scratch3d.contracts.jobs import JobEvent

#: A listener that does not take what is sent for this long is let go; it comes back with `Last-Event-ID`.
SLOW_S = 30.0
_STILL_HERE = b": nothing new\r\n\r\n"


class EventStream(Response):
    """Sends events until there are no more, or nobody listens. None stands for silence, and becomes a heartbeat."""

    media_type = "text/event-stream"

    # FastAPI reads the default of `status_code` for its description.
    def __init__(self, events: AsyncIterator[JobEvent | None], status_code: int = 200) -> None:
        super().__init__(status_code=status_code, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI side."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        sending = asyncio.ensure_future(self._send_all(send))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError, TimeoutError):
                await sending

    async def _send_all(self, send: Send) -> None:
        # What is there at once tells the client that it is connected.
        await send({"type": "http.response.body", "body": _STILL_HERE, "more_body": True})
        async for event in self._events:
            body = event.as_sse if event else _STILL_HERE
            async with asyncio.timeout(SLOW_S):
                await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
