"""Failures of the network and of the disk, each as one sentence with its mend."""

import errno
import socket
import ssl

import httpx

from .download import causes


def by_hand(model_id: str, url: str) -> str:
    """The way out for machines that cannot reach the hub."""
    return f"or get {url} on another machine and run `scratch3d models fetch {model_id} --from-dir DIR`"


def refused_by_hub(status: int, repository: str, endpoint: str, url: str, *, with_token: bool) -> str:
    """What a status of the hub itself means."""
    if status == 401 and with_token:
        return f"{endpoint} does not accept HF_TOKEN (401): make a new token at {endpoint}/settings/tokens, or unset it"
    if status == 401:
        return (
            f"{endpoint} wants to know who asks for {repository} (401): accept its conditions at {endpoint}/{repository}, "
            f"make a token at {endpoint}/settings/tokens, and set HF_TOKEN to it"
        )
    if status == 403:
        return (
            f"{endpoint} does not give {repository} to this account (403): accept its conditions at "
            f"{endpoint}/{repository}, and see that the token may read gated repositories"
        )
    if status == 404:
        return (
            f"{endpoint} has no {url.removeprefix(endpoint + '/')} (404): the catalogue names a revision or file that is "
            "gone, or HF_ENDPOINT is a mirror without it; update scratch-3d, or unset HF_ENDPOINT"
        )
    return f"{endpoint} answers {status} for {url}, which is not a download: is HF_ENDPOINT right?"


def refused_behind_hub(status: int, host: str, endpoint: str) -> str:
    """What a status of the host that the hub sends downloads to means."""
    return (
        f"{host}, where {endpoint} sends this download, answers {status}: is that host blocked by a firewall or proxy? "
        "Let it through, or try again later"
    )


def unreachable(error: httpx.RequestError) -> str:
    """Why nothing could be fetched from a host at all."""
    host, reason = error.request.url.host, str(error) or type(error).__name__
    found = list(causes(error))
    if any(isinstance(cause, socket.gaierror) for cause in found):
        return (
            f"the name {host}, or that of the proxy on the way, cannot be resolved: is this machine online? Behind a "
            "proxy set HTTPS_PROXY, for a mirror HF_ENDPOINT"
        )
    if any(isinstance(cause, ssl.SSLError) for cause in found):
        return (
            f"no TLS that can be trusted with {host} ({reason}): is the clock right? Where a proxy opens TLS, set "
            "SSL_CERT_FILE to a file with its certificate"
        )
    if isinstance(error, httpx.ProxyError):
        return f"the proxy refuses the way to {host} ({reason}): look at HTTPS_PROXY, ALL_PROXY and NO_PROXY"
    return f"{host} cannot be reached ({reason}): look at the network, HTTPS_PROXY and HF_ENDPOINT"


def of_disk(error: OSError) -> str:
    """Why a file could not be written or read."""
    where = error.filename or "the models directory"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "the disk is full: free some space and run the same command again; it goes on where it stopped"
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return f"{where}: {error.strerror}. Make the directory yours, or give another --data-dir"
    return f"{where}: {error.strerror or error}"
