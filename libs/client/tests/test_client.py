"""Both clients against a small server of ours: refusals, a broken event stream, downloads."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from scratch3d.client import ApiError, AsyncClient, Client, JobFailed, Unreachable

EVENTS = [
    {"id": f"{n}-0", "type": t, "job_id": "j", "state": s, "progress": n, "message": "", "at": 0.0}
    for n, (t, s) in enumerate(
        [("submitted", "queued"), ("claimed", "generating_images"), ("completed", "completed")], 1
    )
]
STATUS = {"job_id": "j", "kind": "generate", "state": "completed", "message": "", "progress": 100, "created_at": 1.0}
PROBLEM = {
    "title": "T",
    "status": 422,
    "code": "unknown_prompt",
    "detail": "d",
    "errors": [{"field": "prompt", "message": "m"}],
}


class Handler(http.server.BaseHTTPRequestHandler):
    seen: ClassVar[list[tuple[str, dict[str, str]]]] = []

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        Handler.seen.append((self.path, dict(self.headers)))
        if self.path.startswith("/3d/events/"):
            after = self.headers.get("Last-Event-ID")
            # The first stream breaks off after two events; the second goes on behind the last one seen.
            some = EVENTS[:2] if after is None else [e for e in EVENTS if str(e["id"]) > after]
            body = "".join(f": ping\n\nid: {e['id']}\nevent: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in some)
            self.answer(200, body.encode(), "text/event-stream")
        elif self.path == "/3d/status/failed":
            self.answer(200, json.dumps({**STATUS, "state": "failed", "problem": PROBLEM}).encode())
        elif self.path.startswith("/3d/status/"):
            self.answer(200, json.dumps(STATUS).encode())
        elif self.path.startswith("/3d/download/"):
            self.answer(200, b"glTF", "model/gltf-binary")
        elif self.path == "/ready":
            self.answer(503, json.dumps({"ready": False, "dependencies": {"redis": "away"}}).encode())
        else:
            self.answer(404, b"<html>", "text/html")

    def do_POST(self) -> None:
        Handler.seen.append((self.path, dict(self.headers)))
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if b"dragon" in body:
            self.answer(422, json.dumps(PROBLEM).encode(), "application/problem+json")
        else:
            self.answer(202, json.dumps({"job_id": "j", "status_url": "/3d/status/j"}).encode())


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_sync(url: str, tmp_path: Path) -> None:
    with Client(url, api_key="alpha") as client:
        assert client.generate("a cube", seed=1, idempotency_key="k").job_id == "j"
        path, headers = Handler.seen[-1]
        assert (
            path == "/3d/generate" and headers["Authorization"] == "Bearer alpha" and headers["Idempotency-Key"] == "k"
        )
        assert [e.id for e in client.events("j")] == ["1-0", "2-0", "3-0"], "taken up where the stream broke"
        assert client.wait("j").state == "completed"
        assert client.download("j", tmp_path / "m.glb").read_bytes() == b"glTF"
        assert not client.ready().ready
        picture = tmp_path / "a.png"
        picture.write_bytes(b"png")
        assert client.from_image([picture], views=["front"], texture=False).job_id == "j"
        with pytest.raises(ApiError) as caught:
            client.generate("a dragon")
        assert caught.value.problem.errors[0].field == "prompt"
        with pytest.raises(ApiError, match="is this a scratch-3d server"):
            client.engines()
        with pytest.raises(JobFailed):
            client.wait("failed")


async def test_async(url: str, tmp_path: Path) -> None:
    async with AsyncClient(url) as client:
        assert (await client.generate("a cube")).job_id == "j"
        assert [e.id async for e in client.events("j")] == ["1-0", "2-0", "3-0"]
        assert (await client.wait("j")).state == "completed"
        assert (await client.download("j", tmp_path / "m.glb")).read_bytes() == b"glTF"
        with pytest.raises(ApiError):
            await client.generate("a dragon")


def test_nobody_there() -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(Unreachable, match="nothing answers"):
        client.engines()
