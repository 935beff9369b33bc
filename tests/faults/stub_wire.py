"""How stub engines speak: the rules that say how a call goes, one call with its reply, and every bad reply there is."""

import asyncio
import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pydantic import Field, TypeAdapter

from scratch3d.contracts.problems import PROBLEM_MEDIA_TYPE, Problem
from scratch3d.contracts.progress import NDJSON_MEDIA_TYPE
from scratch3d.contracts.values import Request, Value

PROGRESS_EVERY_S = 0.2
STAGE_PATHS = frozenset({"/imagine/generate", "/imagine/prepare", "/reconstruct/mesh", "/postprocess/clean"})
STANDARD_DURATION_S = float(os.environ.get("STUB_SECONDS", "0.05"))


class Match(Request):
    """Which calls a rule is for; what is left out matches all stage calls."""

    job_id: str | None = None
    path: str | None = None


class Rule(Request):
    """How a call goes. `times` is how many calls it is good for; without it, all."""

    match: Match = Match()
    times: int | None = None
    duration_s: float = Field(default_factory=lambda: STANDARD_DURATION_S)
    fault: str | None = None
    #: How much the endless replies send.
    megabytes: int = 200
    #: How much larger than it must be the asset is.
    padding: int = 0
    #: Where `other_jobs_key` points.
    key: str = "outputs/somebody-else/1/model.glb"

    def fits(self, call: "Call") -> bool:
        """The rule has not been used up, and the call is one it is meant for."""
        if self.times == 0 or (self.match.job_id and self.match.job_id != call.job_id):
            return False
        if self.fault == "unready":
            return call.path == "/ready"
        return call.path == self.match.path if self.match.path else call.path in STAGE_PATHS


RULES = TypeAdapter(list[Rule])


@dataclass
class Call:
    """One request and the way its reply takes."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    writer: asyncio.StreamWriter

    @property
    def job_id(self) -> str:
        return self.headers.get("x-job-id", "")

    @property
    def key(self) -> str:
        return self.headers.get("idempotency-key", "")

    async def reply(self, status: int, content: bytes, media_type: str = "application/json", **more: str) -> None:
        """A whole reply; underscores in header names stand for hyphens."""
        self.head(status, media_type, Content_Length=str(len(content)), **more)
        self.writer.write(content)
        await self.writer.drain()

    async def value(self, value: Value, status: int = 200, **more: str) -> None:
        media_type = PROBLEM_MEDIA_TYPE if isinstance(value, Problem) else "application/json"
        await self.reply(status, value.model_dump_json(exclude_none=True).encode(), media_type, **more)

    def head(self, status: int, media_type: str, **more: str) -> None:
        lines = [f"HTTP/1.1 {status} Stub", f"Content-Type: {media_type}", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())

    async def chunk(self, content: bytes) -> None:
        """One piece of a streamed reply; an empty one ends it."""
        self.writer.write(b"%x\r\n%s\r\n" % (len(content), content))
        await self.writer.drain()

    async def line(self, **entries: Any) -> None:
        await self.chunk(json.dumps(entries).encode() + b"\n")

    async def progress(self, fraction: float) -> None:
        await self.line(type="progress", fraction=round(fraction, 3), phase="stubbing")

    def reset(self) -> None:
        """Close with RST."""
        line: socket.socket = self.writer.get_extra_info("socket")
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


async def refuse(call: Call, status: int, code: str, *, retry_after_s: float | None = None) -> None:
    problem = Problem(
        title=code, status=status, code=code, detail="the stub says so", retryable=True, retry_after_s=retry_after_s
    )
    await call.value(problem, status, **({"Retry_After": "1"} if retry_after_s else {}))


async def _status_500(call: Call, rule: Rule) -> None:
    await refuse(call, 500, "engine_crashed")


async def _status_503(call: Call, rule: Rule) -> None:
    await refuse(call, 503, "unavailable", retry_after_s=0.2)


async def _status_429(call: Call, rule: Rule) -> None:
    await refuse(call, 429, "busy", retry_after_s=0.2)


async def _bare(status: int, call: Call) -> None:
    """What a proxy in front of a service that is away answers."""
    await call.reply(status, b"<html><h1>Bad Gateway</h1></html>", "text/html", Retry_After="1")


async def _bare_502(call: Call, rule: Rule) -> None:
    await _bare(502, call)


async def _bare_503(call: Call, rule: Rule) -> None:
    await _bare(503, call)


async def _hang(call: Call, rule: Rule) -> None:
    await asyncio.sleep(3600)


async def _slow_body(call: Call, rule: Rule) -> None:
    """A reply whose every byte takes its time, and that never gets to its end."""
    call.head(200, NDJSON_MEDIA_TYPE, Transfer_Encoding="chunked")
    while True:
        await call.chunk(b" ")
        await asyncio.sleep(0.5)


async def _rst_mid_body(call: Call, rule: Rule) -> None:
    call.head(200, NDJSON_MEDIA_TYPE, Transfer_Encoding="chunked")
    await call.progress(0.5)
    call.reset()


async def _half_line(call: Call, rule: Rule) -> None:
    """The reply ends, politely, in the middle of its result."""
    call.head(200, NDJSON_MEDIA_TYPE, Transfer_Encoding="chunked")
    await call.chunk(b'{"type":"result","result":{"engine":"st')
    await call.chunk(b"")


async def _html_200(call: Call, rule: Rule) -> None:
    await call.reply(200, b"<html>\n<h1>Welcome to the wrong server</h1>\n</html>\n", "text/html")


async def _empty_200(call: Call, rule: Rule) -> None:
    await call.reply(200, b"", NDJSON_MEDIA_TYPE)


async def _wrong_type(call: Call, rule: Rule) -> None:
    """A line of the right form whose values are of the wrong types."""
    call.head(200, NDJSON_MEDIA_TYPE, Transfer_Encoding="chunked")
    await call.line(
        type="result", result={"engine": 7, "engine_version": None, "views": "none", "mesh": [], "outputs": {}}
    )
    await call.chunk(b"")


async def _bad_json_line(call: Call, rule: Rule) -> None:
    call.head(200, NDJSON_MEDIA_TYPE, Transfer_Encoding="chunked")
    await call.chunk(b'{"type":"progress","fraction":NaN,\n')
    await asyncio.sleep(3600)


async def _never_ending_progress(call: Call, rule: Rule) -> None:
    call.head(200, NDJSON_MEDIA_TYPE, Transfer_Encoding="chunked")
    while True:
        await call.progress(0.5)
        await asyncio.sleep(PROGRESS_EVERY_S)


async def _flood(call: Call, rule: Rule, piece: bytes, status: int = 200) -> None:
    """As fast as it is read; the journal says whether all of it was."""
    call.head(status, NDJSON_MEDIA_TYPE, Transfer_Encoding="chunked")
    for _ in range(rule.megabytes * 16):
        await call.chunk(piece * (65536 // len(piece)))
    await call.chunk(b"")


async def _endless_body(call: Call, rule: Rule) -> None:
    await _flood(call, rule, b"x")


async def _endless_lines(call: Call, rule: Rule) -> None:
    await _flood(call, rule, b'{"type":"progress","fraction":0.5,"phase":"%s"}\n' % (b"x" * 4000))


async def _endless_error(call: Call, rule: Rule) -> None:
    await _flood(call, rule, b"x", status=500)


BAD_REPLIES: dict[str | None, Callable[[Call, Rule], Awaitable[None]]] = {
    made.__name__.removeprefix("_"): made
    for made in (
        _status_500,
        _status_503,
        _status_429,
        _bare_502,
        _bare_503,
        _hang,
        _slow_body,
        _rst_mid_body,
        _half_line,
        _html_200,
        _empty_200,
        _wrong_type,
        _bad_json_line,
        _never_ending_progress,
        _endless_body,
        _endless_lines,
        _endless_error,
    )
}
