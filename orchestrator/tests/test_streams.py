"""Event streams at the ASGI side: what is sent, who is let go, and what is held meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from orchestrator.doors.rest import stream
from orchestrator.doors.rest.stream import EventStream, StreamsOutside
from scratch3d.contracts.jobs import JobEvent, State


def event(number: int) -> JobEvent:
    return JobEvent(
        id=f"{number}-0",
        type="progress",
        job_id="j",
        state=State.GENERATING_IMAGES,
        progress=number,
        message="m",
        at=0.0,
    )


async def told(*batches: Sequence[JobEvent], forever: bool = False) -> AsyncIterator[Sequence[JobEvent]]:
    for batch in batches:
        yield batch
    if forever:
        await asyncio.Event().wait()


class Client:
    """Takes what is sent, unless it is slow; leaves when it is told to."""

    def __init__(self, *, slow_after: int = 1000) -> None:
        self.bodies: list[bytes] = []
        self.slow_after, self.left = slow_after, asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.body":
            self.bodies.append(message["body"])
            if len(self.bodies) > self.slow_after:
                await asyncio.Event().wait()


async def test_what_waits_goes_out_at_once_and_silence_is_a_heartbeat() -> None:
    client = Client()
    await EventStream(told([event(1), event(2)], [], [event(3)])).stream(client.receive, client.send)
    first, both, silence, third, end = client.bodies
    assert first == silence and first.startswith(b":")
    assert both == event(1).as_sse + event(2).as_sse and third == event(3).as_sse and end == b""


async def test_who_leaves_and_who_does_not_take_what_is_sent_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "SLOW_S", 0.3)
    gone, slow, patient = Client(), Client(slow_after=1), Client()
    gone.left.set()
    async with asyncio.timeout(3):
        await EventStream(told([event(1)], forever=True)).stream(gone.receive, gone.send)
        await EventStream(told([event(1)], forever=True)).stream(slow.receive, slow.send)
    waiting = asyncio.create_task(EventStream(told(forever=True)).stream(patient.receive, patient.send))
    await asyncio.sleep(1)
    assert not waiting.done(), "who has nothing to take is not slow"
    patient.left.set()
    await asyncio.wait_for(waiting, 3)


async def test_a_stream_is_sent_when_the_layers_inside_have_returned() -> None:
    client, returned = Client(), asyncio.Event()

    async def inside(scope: Any, receive: Any, send: Any) -> None:
        await EventStream(told([event(1)], forever=True))(scope, receive, send)
        returned.set()

    sending = asyncio.create_task(StreamsOutside(inside)({"type": "http"}, client.receive, client.send))
    await asyncio.wait_for(returned.wait(), 3)
    while len(client.bodies) < 2:
        await asyncio.sleep(0.01)
    client.left.set()
    await asyncio.wait_for(sending, 3)


async def test_a_stream_without_the_middleware_is_sent_all_the_same() -> None:
    client = Client()
    await EventStream(told([event(1)]))({"type": "http"}, client.receive, client.send)
    assert client.bodies[1] == event(1).as_sse
