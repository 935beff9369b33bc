"""A hub of the tests: files with validators and ranges on a loopback port, and rules that make it misbehave."""

import hashlib
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

REVISION = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "somebody/tiny"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def url_path(name: str) -> str:
    return f"/{REPOSITORY}/resolve/{REVISION}/{name}"


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    path: str
    headers: dict[str, str]

    @property
    def range(self) -> str | None:
        return self.headers.get("range")


class HubSite:
    """Serves `files` by path. A rule answers one request in place of the files; rules are used up in order."""

    def __init__(self, files: dict[str, bytes] | None = None, *, certificate: Path | None = None) -> None:
        self.files = {url_path(name): content for name, content in (files or {}).items()}
        self.rules: list[Callable[[Handler], None]] = []
        self.asked: list[Asked] = []
        self._server = _Server(("127.0.0.1", 0), type("Bound", (Handler,), {"site": self}))
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = int(self._server.server_address[1])
        self.url = f"http{'s' if certificate else ''}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self) -> "HubSite":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def ranges(self) -> list[str | None]:
        """What each request asked to begin at."""
        return [asked.range for asked in self.asked]


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    site: HubSite

    def do_GET(self) -> None:
        self.site.asked.append(Asked(self.path, {name.lower(): value for name, value in self.headers.items()}))
        rule = self.site.rules.pop(0) if self.site.rules else Handler.serve
        rule(self)

    def serve(self, *, ranges: bool = True, etag: str = "", if_range: bool = True, most: int | None = None) -> None:
        """The file, or its rest; `most` bytes of it when the connection is to break."""
        content = self.site.files.get(self.path)
        if content is None:
            self.status(404)
            return
        etag = etag or f'"{sha256(content)[:16]}"'
        asked = self.headers.get("Range") if ranges else None
        if asked and if_range and self.headers.get("If-Range", etag) != etag:
            asked = None
        first = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if first >= len(content):
            self.status(416)
            return
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        if etag != "none":
            self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        self.wfile.write(content[first:] if most is None else content[first : first + most])

    def status(self, code: int, **headers: str) -> None:
        """An empty answer."""
        self.send_response(code)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is meant."""
