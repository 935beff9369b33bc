"""The one place that opens connections to addresses a request names.

A host is resolved once, every answer must be public, and the connection goes to an address that was checked: between
check and use there is no second look-up that could answer otherwise. Name and `Host` header stay as they were, so
certificates are verified for the name. Proxies of the environment are not used. Each redirect is a new URL and is
checked like the first.
"""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from urllib.parse import urljoin

import httpcore

from ..errors import FetchFailed, InvalidUrl
from .urls import Allow, Target, check_address, literal, parse_url

#: A host name to its addresses, as text.
Resolve = Callable[[str], Sequence[str]]

RESOLVE_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 5.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = [(b"User-Agent", b"scratch-3d"), (b"Accept", b"image/*"), (b"Accept-Encoding", b"identity")]


def resolve_by_system(host: str) -> Sequence[str]:
    """Addresses of a host by the system's resolver; FetchFailed when there are none in time."""
    found: list[str] = []

    def look_up() -> None:
        try:
            found.extend(str(answer[4][0]) for answer in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
        except OSError:
            return

    # getaddrinfo knows no timeout; a resolver that hangs keeps its thread, not ours.
    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(RESOLVE_TIMEOUT_S)
    if not found:
        raise FetchFailed("has a host that cannot be found", retryable=True)
    return tuple(dict.fromkeys(found))


class Fetcher:
    """Fetches small files from public addresses; one instance serves one request."""

    def __init__(
        self,
        *,
        allow: Allow,
        resolve: Resolve = resolve_by_system,
        max_bytes: int,
        timeout_s: float,
        max_redirects: int = 3,
    ) -> None:
        self._allow, self._resolve = allow, resolve
        self._max_bytes, self._timeout_s, self._max_redirects = max_bytes, timeout_s, max_redirects

    def get(self, url: str, *, field: str) -> bytes:
        """The content; InvalidUrl, ForbiddenAddress or FetchFailed naming the field."""
        deadline = time.monotonic() + self._timeout_s
        secure = False
        for _ in range(self._max_redirects + 1):
            target = parse_url(url, field=field, allow=self._allow)
            if secure and target.scheme == "http":
                raise FetchFailed("redirects from https to http", field=field)
            secure = target.scheme == "https"
            found = self._once(target, deadline, field)
            if isinstance(found, bytes):
                return found
            url = _joined(url, found, field)
        raise FetchFailed(f"redirects more than {self._max_redirects} times", field=field)

    def addresses(self, target: Target, *, field: str) -> tuple[str, ...]:
        """Where the target lives, every address checked unless the operator vouches for the host."""
        if literal(target.host):
            return (target.host,)
        try:
            answers = tuple(self._resolve(target.host))
        except FetchFailed as error:
            raise FetchFailed(error.detail, field=field, retryable=error.can_retry) from None
        if not answers:
            raise FetchFailed("has a host that cannot be found", field=field, retryable=True)
        if not target.trusted:
            for answer in answers:
                check_address(answer, field=field)
        return answers

    def _once(self, target: Target, deadline: float, field: str) -> bytes | str:
        """The content, or where it has moved to."""
        backend = _Checked(self.addresses(target, field=field), deadline)
        context = ssl.create_default_context()
        try:
            with httpcore.ConnectionPool(ssl_context=context, network_backend=backend, retries=0) as pool:
                wire = httpcore.URL(
                    scheme=target.scheme.encode(), host=target.host.encode(), port=target.port, target=target.path
                )
                headers = [(b"Host", target.authority.encode()), *_HEADERS]
                with pool.stream("GET", wire, headers=headers) as reply:
                    return self._read(reply, deadline, field)
        except (httpcore.TimeoutException, TimeoutError):
            raise FetchFailed(f"did not arrive within {self._timeout_s:g} s", field=field, retryable=True) from None
        except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError, OSError) as error:
            raise FetchFailed(f"could not be fetched ({type(error).__name__})", field=field, retryable=True) from None

    def _read(self, reply: httpcore.Response, deadline: float, field: str) -> bytes | str:
        headers = {name.lower(): value.decode("latin-1") for name, value in reply.headers}
        if reply.status in _REDIRECTS and headers.get(b"location"):
            return headers[b"location"]
        if reply.status != 200:
            passing = reply.status >= 500 or reply.status == 429
            raise FetchFailed(f"was answered with status {reply.status}", field=field, retryable=passing)
        if headers.get(b"content-encoding", "identity") != "identity":
            raise FetchFailed("was answered in an encoding that was not asked for", field=field)
        limit = f"{self._max_bytes / 1e6:g} MB"
        if headers.get(b"content-length", "0").isdigit() and int(headers.get(b"content-length", "0")) > self._max_bytes:
            raise FetchFailed(f"is larger than {limit}", field=field)
        content = bytearray()
        for chunk in reply.iter_stream():
            content += chunk
            if len(content) > self._max_bytes:
                raise FetchFailed(f"is larger than {limit}", field=field)
            if time.monotonic() > deadline:
                raise TimeoutError
        return bytes(content)


def _joined(url: str, location: str, field: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise InvalidUrl("redirects to something that is not a URL", field=field) from None


class _Checked(httpcore.NetworkBackend):
    """Connects to the addresses that were checked, whatever name is asked for; every wait ends at the deadline."""

    def __init__(self, addresses: Sequence[str], deadline: float) -> None:
        self._addresses, self._deadline = addresses, deadline
        self._real = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """See httpcore; the first address that answers."""
        error: Exception = httpcore.ConnectError("no address")
        for address in self._addresses:
            try:
                wait = min(CONNECT_TIMEOUT_S, _left(self._deadline))
                return _Hurried(self._real.connect_tcp(address, port, timeout=wait), self._deadline)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failed:
                error = failed
        raise error


class _Hurried(httpcore.NetworkStream):
    """A stream on which a whole answer has one deadline: a byte now and then does not keep it open."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """See httpcore."""
        return self._stream.read(max_bytes, timeout=_left(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """See httpcore."""
        self._stream.write(buffer, timeout=_left(self._deadline))

    def close(self) -> None:
        """See httpcore."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """See httpcore."""
        secured = self._stream.start_tls(ssl_context, server_hostname, timeout=_left(self._deadline))
        return _Hurried(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        """See httpcore."""
        return self._stream.get_extra_info(info)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the deadline has passed")
    return left
