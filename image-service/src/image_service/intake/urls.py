"""Which addresses a request may name: public http and https, and what the operator adds.

Parsing is strict where parsers are known to disagree: user names, backslashes, white space and numbers that look like
hosts are refused, not interpreted. What counts as public is decided on the address after every known way of wrapping
an IPv4 address into an IPv6 one is undone (OWASP SSRF Prevention Cheat Sheet; RFC 4291, 3056, 6052, 4380).
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

import idna

from ..errors import ForbiddenAddress, InvalidUrl

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
DEFAULT_PORTS = {"http": 80, "https": 443}
#: What `is_global` lets through and no picture ever comes from.
_DENIED = tuple(
    ipaddress.ip_network(net)
    for net in (
        "192.0.0.0/24",
        "192.88.99.0/24",
        "100.64.0.0/10",
        "168.63.129.16/32",
        "100::/64",
        "fec0::/10",
        "64:ff9b:1::/48",
    )
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_COMPATIBLE = ipaddress.ip_network("::/96")
#: What stays as it is in a path; a percent sign is taken to be an encoding already.
_SAFE = "/%:@!$&'()*+,;=~-._[]"
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
#: A last label of digits, or in hexadecimal, makes some resolvers read the whole host as an IPv4 address.
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")


@dataclass(frozen=True, kw_only=True)
class Allow:
    """Hosts the operator vouches for: any address behind them may be reached."""

    #: (host, port); port 0 means the scheme's own
    hosts: frozenset[tuple[str, int]] = field(default_factory=frozenset)

    @classmethod
    def parse(cls, entries: Iterable[str]) -> "Allow":
        """From `host`, `host:port` or `[address]:port`; ValueError for anything else."""
        return cls(hosts=frozenset(_entry(entry.strip().lower()) for entry in entries))

    def knows(self, host: str, port: int, scheme: str) -> bool:
        """The operator vouches for this host at this port."""
        own = 0 if port == DEFAULT_PORTS[scheme] else port
        return (host, port) in self.hosts or (host, own) in self.hosts


@dataclass(frozen=True, kw_only=True)
class Target:
    """A checked URL, cut into what a connection needs."""

    scheme: str
    #: lower case, ASCII; an IPv6 address without brackets
    host: str
    port: int
    #: path and query, percent-encoded
    path: str
    #: the operator vouches for it: its addresses are not judged
    trusted: bool

    @property
    def authority(self) -> str:
        """For the `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def parse_url(url: str, *, field: str, allow: Allow) -> Target:
    """The URL as a target; InvalidUrl or ForbiddenAddress naming the field."""
    if re.search(r"[\x00-\x20\x7f\\<>\"{}|^`]", url) or any(ord(c) in range(0xD800, 0xE000) for c in url):
        raise InvalidUrl("contains a character that no URL has; percent-encode it", field=field)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise InvalidUrl("is not a URL", field=field) from None
    scheme = parts.scheme.lower()
    if scheme not in DEFAULT_PORTS or not url.lower().startswith(f"{scheme}://"):
        raise InvalidUrl("must begin with http:// or https://, or be a data: URI of a picture", field=field)
    if "@" in parts.netloc or "%" in parts.netloc:
        raise InvalidUrl("must not hold a user name, or an encoded host", field=field)
    host = _host(host, field)
    port = DEFAULT_PORTS[scheme] if port is None else port
    trusted = allow.knows(host, port, scheme)
    if not trusted:
        _check_public(host, port, field)
    path = quote(parts.path or "/", safe=_SAFE)
    if parts.query:
        path += "?" + quote(parts.query, safe=_SAFE + "?")
    return Target(scheme=scheme, host=host, port=port, path=path, trusted=trusted)


def check_address(text: str, *, field: str = "image_urls") -> None:
    """ForbiddenAddress unless the address is public, however it is wrapped."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ForbiddenAddress("did not resolve to an address", field=field) from None
    for inner in _unwrapped(address):
        denied = any(inner.version == net.version and inner in net for net in _DENIED)
        if denied or not inner.is_global or inner.is_multicast or inner.is_reserved or inner.is_unspecified:
            raise ForbiddenAddress(
                "leads to a private or reserved address; only public ones are fetched (FETCH_ALLOW adds hosts)",
                field=field,
            )


def literal(host: str) -> IpAddress | None:
    """The address a host spells out, or None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _unwrapped(address: IpAddress) -> list[IpAddress]:
    """The address, and every IPv4 address it may be a wrapping of."""
    found: list[IpAddress] = [address]
    if not isinstance(address, ipaddress.IPv6Address):
        return found
    if address.ipv4_mapped:
        return [address.ipv4_mapped]
    if address.sixtofour:
        found.append(address.sixtofour)
    if address.teredo:
        found.extend(address.teredo)
    if address in _NAT64:
        # Judged by the address inside alone: the prefix itself is not announced as global.
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    if address in _COMPATIBLE or int(address) >> 32 & 0xFFFFFFFF == 0xFFFF0000:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return found


def _host(host: str, field: str) -> str:
    if not host:
        raise InvalidUrl("names no host", field=field)
    if literal(host):
        if "%" in host:
            raise InvalidUrl("must not name a network interface", field=field)
        return str(literal(host))
    try:
        name = host if host.isascii() else idna.encode(host, uts46=True).decode()
    except (idna.IDNAError, UnicodeError):
        raise InvalidUrl("has a host name that cannot exist", field=field) from None
    name = name.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise InvalidUrl("has a host name that cannot exist", field=field)
    if _NUMERIC.fullmatch(labels[-1]) and not literal(name):
        raise InvalidUrl("has a host that is neither a name nor an address in plain spelling", field=field)
    return name


def _check_public(host: str, port: int, field: str) -> None:
    if port not in DEFAULT_PORTS.values():
        raise ForbiddenAddress("names a port other than 80 and 443", field=field)
    if literal(host):
        check_address(host, field=field)
    elif "." not in host or host.endswith((".localhost", ".local", ".internal", ".home.arpa")):
        raise ForbiddenAddress("names a host of a private network; only public ones are fetched", field=field)


def _entry(entry: str) -> tuple[str, int]:
    found = re.fullmatch(r"(?:\[([0-9a-f:.]+)\]|([^:/\s]+)|([0-9a-f:.]+))(?::(\d{1,5}))?", entry)
    if not found:
        raise ValueError(f"FETCH_ALLOW: {entry!r} is not a host or host:port")
    address = literal(host := found[1] or found[2] or found[3])
    return (str(address) if address else host, int(found[4] or 0))
