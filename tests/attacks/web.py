"""A small web server that answers as a test wants it to."""

import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType

#: Status, headers, body.
Answer = tuple[int, dict[str, str], bytes]


class Web:
    """Listens on a loopback port; pages are functions by path, and every request is noted."""

    def __init__(self, certificate: Path | None = None) -> None:
        self.pages: dict[str, Callable[[str], Answer]] = {}
        self.asked: list[str] = []
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = int(self._server.server_address[1])
        self.url = f"http{'s' if certificate else ''}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)

    def __enter__(self) -> "Web":
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def serve(self, pages: dict[str, Callable[[str], Answer]]) -> None:
        """These pages and no others; nothing was asked yet."""
        self.pages = pages
        self.asked.clear()

    def answer(self, path: str) -> Answer:
        """The page under a path: the longest registered beginning decides."""
        self.asked.append(path)
        begins = [known for known in self.pages if path.startswith(known)]
        if not begins:
            return 404, {}, b""
        return self.pages[max(begins, key=len)](path)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up early is what many tests are about."""


def _handler(web: Web) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            status, headers, body = web.answer(self.path)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Silence."""

    return Handler
