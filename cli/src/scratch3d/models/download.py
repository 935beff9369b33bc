"""One file over HTTP into a `.part`, taken up again where it stopped: after a broken connection, and after our own end.

Beside `x.part` lies `x.part.etag`, the validator of the answer its bytes came from (RFC 9110, sections 13.1.5 and 14).
"""

import re
import ssl
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from .files import size_of
from .listener import Listener

#: What is tried again: a server that is busy, restarting, or behind a gateway that is.
PASSING_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
_CONTENT_RANGE = re.compile(r"bytes (?P<first>\d+)-\d+/(?P<total>\d+|\*)")
_NO_MATTER_OF_LUCK = (httpx.UnsupportedProtocol, httpx.ProxyError, httpx.LocalProtocolError, httpx.TooManyRedirects)


@dataclass(eq=False)
class Refused(Exception):
    """The server answered, but not with the file."""

    status: int
    url: httpx.URL


@dataclass(eq=False)
class OtherSize(Exception):
    """The server offers a file of another size; nothing of it was taken."""

    offered: str
    host: str


@dataclass(eq=False)
class GaveUp(Exception):
    """Try after try broke off and none got ahead; what came is kept."""

    tries: int
    reason: str
    kept: int


class _Broken(Exception):
    """The answer stopped early, or is none for the moment."""


class _Stale(Exception):
    """The server has something else than what was kept."""


@dataclass(kw_only=True)
class Download:
    """What is downloaded, and how long to wait between tries."""

    client: httpx.Client
    url: str
    headers: dict[str, str]
    name: str
    size: int
    part: Path
    pauses_s: Sequence[float]
    listener: Listener
    _answered: bool = False

    def run(self) -> None:
        """Fill the part up to the size; the pauses begin anew when a try got ahead of all before it.

        Raises Refused, OtherSize or GaveUp; httpx.RequestError when nobody answers or another try is useless.
        """
        pauses, furthest = iter(self.pauses_s), self._kept()
        while self._kept() != self.size:
            try:
                self._stream()
            except _Stale as stale:
                self.listener.say(f"{self.name}: {stale}; starting from the beginning")
                discard(self.part)
            except (_Broken, httpx.RequestError) as error:
                if isinstance(error, httpx.RequestError) and self._useless(error):
                    raise
                if self._kept() > furthest:
                    pauses, furthest = iter(self.pauses_s), self._kept()
                self._pause(error, next(pauses, None))

    def _useless(self, error: httpx.RequestError) -> bool:
        """Whether another try is: it would end the same way, or nobody answered even once."""
        untrusted = any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes(error))
        silent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) and not self._answered
        return untrusted or silent or isinstance(error, _NO_MATTER_OF_LUCK)

    def _pause(self, error: Exception, pause_s: float | None) -> None:
        reason = str(error) or type(error).__name__
        if pause_s is None:
            raise GaveUp(tries=len(self.pauses_s) + 1, reason=reason, kept=self._kept()) from error
        where = f"stopped at {self._kept()} of {self.size} bytes"
        self.listener.say(f"{self.name}: {where} ({reason}); trying again in {pause_s:g} s")
        time.sleep(pause_s)

    def _stream(self) -> None:
        """One request, and what comes of it."""
        rest = self._rest()
        with self.client.stream("GET", self.url, headers={**self.headers, **rest}) as reply:
            self._answered = True
            done = self._first_byte(reply, continuing=bool(rest))
            if rest and not done:
                self.listener.say(f"{self.name}: changed, or cannot be continued; starting from the beginning")
            with self.part.open("ab" if done else "wb") as out:
                if not done:
                    # After the old content is gone: a validator never stands beside bytes that it is not for.
                    self._note_validator(reply.headers.get("ETag", ""))
                for chunk in reply.iter_raw():
                    # Flushed, so that what came survives our own end; never more than was asked for.
                    done += out.write(chunk[: self.size - done])
                    out.flush()
                    self.listener.progress(self.name, done, self.size)
                    if done == self.size:
                        return
        raise _Broken("the server closed the connection")

    def _rest(self) -> dict[str, str]:
        """Headers that ask for the rest of what is kept; none when there is nothing to go on from."""
        if not 0 < self._kept() < self.size:
            return {}
        validator = self._validator()
        return {"Range": f"bytes={self._kept()}-", **({"If-Range": validator} if validator else {})}

    def _first_byte(self, reply: httpx.Response, *, continuing: bool) -> int:
        """Offset of the answer's first byte; raises when the answer is neither the file nor its rest."""
        status = reply.status_code
        if status in PASSING_STATUSES:
            raise _Broken(f"{reply.url.host} answers {status}")
        if status == 416 and continuing:
            raise _Stale("the server has no such rest")
        if status == 206 and continuing:
            first, total = self._kept(), self._total_of_rest(reply.headers)
        elif status == 200:
            first, total = 0, reply.headers.get("Content-Length", "*")
        else:
            raise Refused(status, reply.url)
        if total not in {"*", str(self.size)}:
            raise OtherSize(total, reply.url.host)
        return first

    def _total_of_rest(self, headers: httpx.Headers) -> str:
        """Size of the whole file; _Stale when this is not the rest of what is kept."""
        found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
        kept_of = self._validator()
        other = kept_of is not None and headers.get("ETag", kept_of) != kept_of
        if not found or int(found["first"]) != self._kept() or other:
            raise _Stale("the server continues something else")
        return found["total"]

    def _kept(self) -> int:
        return size_of(self.part) or 0

    def _validator(self) -> str | None:
        path = _validator_path(self.part)
        return path.read_text("ascii") if path.is_file() else None

    def _note_validator(self, etag: str) -> None:
        """Keep a strong ETag; a weak one does not promise the same bytes."""
        if etag.startswith('"') and etag.isascii():
            _validator_path(self.part).write_text(etag, "ascii")
        else:
            _validator_path(self.part).unlink(missing_ok=True)


def discard(part: Path) -> None:
    """Forget what was kept of a download."""
    part.unlink(missing_ok=True)
    _validator_path(part).unlink(missing_ok=True)


def _validator_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that led to it."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__
