"""Server-sent events, thousands of streams in one process.

Each event is put into bytes once, however many listen; whatever waits for a listener goes out with one call, and nothing is
set up for a single event: no timer, no task. A library that guards every write with both costs three times as much
(benchmarks/control_plane.py).
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence

from fastapi import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from scratch3d.contracts.jobs import JobEvent

#: A listener that does not take what is sent for this long is let go; it comes back with `Last-Event-ID`.
SLOW_S = 30.0
#: Bytes of a request's body that are passed over while its stream is sent.
MOST_SAID = 65_536
_STILL_HERE = b": nothing new\r\n\r\n"
_OUTSIDE = "orchestrator.streams"


class StreamsOutside:
    """Middleware that sends streams when all layers inside it have returned.

    What those hold for a request, some two hundred objects, would be held as long as somebody listens, and each full
    garbage collection would walk through it: 0.7 s with 4,000 streams.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the layers inside decide, then send what they left here."""
        left_here: list[EventStream] = []
        # A copy, so that what they note in the scope ends with them.
        await self.app({**scope, _OUTSIDE: left_here}, receive, send)
        if left_here:
            await left_here.pop().stream(receive, send)


class EventStream(Response):
    """Sends events until there are no more, or nobody listens. No events stand for silence, and become a heartbeat."""

    media_type = "text/event-stream"

    # FastAPI reads the default of `status_code` for its description.
    def __init__(self, events: AsyncGenerator[Sequence[JobEvent], None], status_code: int = 200) -> None:
        super().__init__(status_code=status_code, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events = events
        #: when the send began that is not done yet
        self._sending_since: float | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI side; see StreamsOutside."""
        if _OUTSIDE in scope:
            scope[_OUTSIDE].append(self)
        else:
            await self.stream(receive, send)

    async def stream(self, receive: Receive, send: Send) -> None:
        """Send, until there is nothing more, or the listener has left, or does not take what it is sent."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        loop = asyncio.get_running_loop()
        sending = loop.create_task(self._send_all(send, loop))
        leaving = loop.create_task(_left(receive))
        patience_s = SLOW_S
        try:
            while patience_s > 0 and not (sending.done() or leaving.done()):
                await asyncio.wait({sending, leaving}, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
                patience_s = (self._sending_since or loop.time()) + SLOW_S - loop.time()
        finally:
            leaving.cancel()
            sending.cancel()
            try:
                with contextlib.suppress(asyncio.CancelledError, OSError):
                    await sending
            finally:
                await self._events.aclose()  # now: what listens behind it takes every event until it is closed

    async def _send_all(self, send: Send, loop: asyncio.AbstractEventLoop) -> None:
        # What is there at once tells the client that it is connected.
        await send({"type": "http.response.body", "body": _STILL_HERE, "more_body": True})
        async for events in self._events:
            body = b"".join([event.as_sse for event in events]) or _STILL_HERE
            self._sending_since = loop.time()
            await send({"type": "http.response.body", "body": body, "more_body": True})
            self._sending_since = None
            del events, body  # a long history would be held until the next event
        self._sending_since = loop.time()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _left(receive: Receive) -> None:
    """Until the listener goes away, or sends more than one who listens has to say."""
    said = 0
    while said <= MOST_SAID and (message := await receive())["type"] != "http.disconnect":
        said += len(message.get("body", b""))
