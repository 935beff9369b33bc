"""A hub: huggingface.co, or a mirror with the same paths."""

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import httpx

from . import diagnosis
from .catalogue import Model, ModelFile
from .download import Download, GaveUp, OtherSize, Refused
from .errors import FetchFailed
from .listener import Listener

ENDPOINT = "https://huggingface.co"
PAUSES_S = (1.0, 2.0, 5.0, 10.0)
TIMEOUT = httpx.Timeout(30.0, connect=15.0)


class Hub:
    """One hub and the connections to it; a context that closes them.

    The token goes to the endpoint's own origin only: httpx drops `Authorization` when a redirect leaves it. Proxies and
    certificates are those of the environment.
    """

    def __init__(self, endpoint: str = ENDPOINT, token: str = "", *, pauses_s: Sequence[float] = PAUSES_S) -> None:
        self.endpoint, self._pauses_s = endpoint.rstrip("/"), pauses_s
        self._origin = _origin(endpoint)
        if not token.isascii() or not token.isprintable():
            raise FetchFailed("HF_TOKEN holds signs that no token has: copy it again")
        # Ranges and hashes are those of the file as it is, so no encoding on the way.
        self._headers = {"Accept-Encoding": "identity", **({"Authorization": f"Bearer {token}"} if token else {})}
        try:
            hooks = {"request": [self._refuse_plain]}
            self._client = httpx.Client(follow_redirects=True, timeout=TIMEOUT, event_hooks=hooks)
        except (ImportError, ValueError, OSError, httpx.InvalidURL) as error:
            raise FetchFailed(
                f"the network cannot be used as the environment says ({error}): look at HTTPS_PROXY, HTTP_PROXY, "
                "ALL_PROXY and SSL_CERT_FILE"
            ) from error

    @classmethod
    def of_environment(cls) -> Self:
        """The hub that HF_ENDPOINT and HF_TOKEN name."""
        return cls(os.environ.get("HF_ENDPOINT") or ENDPOINT, os.environ.get("HF_TOKEN", "").strip())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._client.close()

    def url(self, model: Model, file: ModelFile) -> str:
        """Where a file is downloaded from."""
        return f"{self.endpoint}/{model.repository}/resolve/{model.revision}/{quote(file.name)}"

    def bring(self, model: Model, file: ModelFile, part: Path, listener: Listener) -> None:
        """Fill `part` up to the file's size, going on after what it holds.

        FetchFailed says why it cannot be done; what came until then stays in `part`.
        """
        download = Download(
            client=self._client,
            url=self.url(model, file),
            headers=self._headers,
            name=file.name,
            size=file.size,
            part=part,
            pauses_s=self._pauses_s,
            listener=listener,
        )
        by_hand = diagnosis.by_hand(model.id, download.url)
        try:
            download.run()
        except Refused as error:
            raise FetchFailed(f"{self._refusal(error, model, download.url)}, {by_hand}") from error
        except OtherSize as error:
            raise FetchFailed(
                f"{file.name}: expected {file.size} bytes, {error.host} offers {error.offered}; nothing was taken. Does "
                f"a network want a login, or is HF_ENDPOINT wrong? Mend that, {by_hand}"
            ) from error
        except GaveUp as error:
            raise FetchFailed(
                f"{file.name}: gave up after {error.tries} tries that came no further ({error.reason}). {error.kept} of "
                f"{file.size} bytes are kept: run the same command later and it goes on there, {by_hand}"
            ) from error
        except httpx.RequestError as error:
            raise FetchFailed(f"{diagnosis.unreachable(error)}, {by_hand}") from error

    def remedy(self, model: Model, file: ModelFile) -> str:
        """What to do about a file with the wrong content."""
        return (
            "Run the same command again: it starts this file from the beginning. When it comes out the same, "
            f"{self.endpoint} or a proxy gives another file: unset HF_ENDPOINT, "
            + diagnosis.by_hand(model.id, self.url(model, file))
        )

    def _refuse_plain(self, request: httpx.Request) -> None:
        """Before each request, also those that redirects ask for: a hub with TLS never leads out of it."""
        if self._origin[0] == "https" and request.url.scheme != "https":
            raise FetchFailed(
                f"{self.endpoint} sends this download to {request.url.host} without TLS; that is not followed. Is "
                "HF_ENDPOINT right?"
            )

    def _refusal(self, error: Refused, model: Model, url: str) -> str:
        if _origin(str(error.url)) != self._origin:
            return diagnosis.refused_behind_hub(error.status, error.url.host, self.endpoint)
        with_token = "Authorization" in self._headers
        return diagnosis.refused_by_hub(error.status, model.repository, self.endpoint, url, with_token=with_token)


def _origin(endpoint: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of an HTTP URL; FetchFailed for anything else."""
    try:
        url = httpx.URL(endpoint)
    except httpx.InvalidURL as error:
        raise FetchFailed(f"HF_ENDPOINT is no URL ({error}): it must look like {ENDPOINT}") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise FetchFailed(f"HF_ENDPOINT is {endpoint}: it must look like {ENDPOINT}")
    return url.scheme, url.host, url.port
