"""Addresses of pictures: however one is spelt, resolved or redirected, nothing of ours connects to a private place."""

import base64
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from attack import GOOD_PNG, Attacker, Canary, check_fails, check_refused, each
from web import Answer, Web

from image_service.intake.fetch import Fetcher
from image_service.intake.urls import Allow, check_address
from scratch3d.servicekit.errors import Unprocessable

BAD = "image_urls[0]"
GOOD_DATA = "data:image/png;base64," + base64.b64encode(GOOD_PNG).decode()
PUBLIC = "93.184.215.14"


def submit(http: Attacker, url: str) -> httpx.Response:
    """The URL as the front view, beside an honest right view."""
    pictures = [{"url": url, "view": "front"}, {"url": GOOD_DATA, "view": "right"}]
    return http.post("/3d/from-image", json={"image_urls": pictures, "quality_tier": "fast"})


#: Every one of these is a private place to some resolver, parser or router.
HOSTS = (
    *("127.0.0.1", "127.1", "127.0.1", "127.255.255.254", "127.0.0.1.", "2130706433", "0x7f000001", "0x7f.0.0.1"),
    *("0x7F.1", "0177.0.0.1", "017700000001", "00000177.0.0.1", "127.000.000.001", "127.0.0.0x1"),
    *("0", "0.0.0.0", "0x0", "１２７.０.０.１", "①②⑦.⓪.⓪.①", "127。0。0。1", "127．0．0．1"),
    *("169.254.169.254", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518"),
    *("10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "192.0.0.192", "198.18.0.1", "224.0.0.1"),
    *("255.255.255.255", "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
    *("[::127.0.0.1]", "[::ffff:0:127.0.0.1]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::]"),
    *("[2001:0:7f00:1::]", "[fd00:ec2::254]", "[fe80::1]", "[ff02::1]", "localhost", "LOCALHOST."),
)


@pytest.mark.parametrize("host", HOSTS)
def test_private_places_are_refused_however_they_are_spelt(http: Attacker, host: str) -> None:
    problem = check_refused(submit(http, f"http://{host}/picture.png"), BAD)
    assert problem["code"] in {"invalid_url", "forbidden_address"}, problem


ADDRESSES = tuple(
    host.strip("[]") for host in HOSTS if host.startswith("[") or (host.count(".") == 3 and host.isascii())
)


def test_no_private_address_is_taken_for_a_public_one() -> None:
    check_address(PUBLIC)
    check_address("2606:2800:21f:cb07:6820:80da:af6b:8b2c")
    for address in ADDRESSES:
        with pytest.raises(Unprocessable):
            check_address(address)


SCHEMES = {
    "file": "file:///etc/passwd",
    "gopher": "gopher://127.0.0.1:PORT/_x",
    "dict": "dict://127.0.0.1:PORT/stat",
    "ftp": "ftp://127.0.0.1:PORT/x.png",
    "data of a page": "data:text/html;base64,PHNjcmlwdD4=",
    "jar": "jar:http://127.0.0.1:PORT/x!/y.png",
    "ldap": "ldap://127.0.0.1:PORT/x",
    "blob": "blob:http://127.0.0.1:PORT/x",
    "none": "//127.0.0.1:PORT/x.png",
    "nothing at all": "",
    "file in capitals": "FILE:///etc/passwd",
    "http with a tab in it": "ht\ttp://127.0.0.1:PORT/x.png",
}


@pytest.mark.parametrize("url", **each(SCHEMES))
def test_schemes_other_than_http_are_refused(http: Attacker, canary: Canary, url: str) -> None:
    check_refused(submit(http, url.replace("PORT", str(canary.port))), BAD, f"{BAD}.url")


#: Two parsers of one of these may each see another host; the first is public, or says to be.
SPLITS = {
    "user name": "http://pictures.example@127.0.0.1:PORT/",
    "user name and password": "http://pictures.example:80@127.0.0.1:PORT/",
    "backslash": "http://127.0.0.1:PORT\\@pictures.example/",
    "backslashes for slashes": "http:\\\\127.0.0.1:PORT\\x.png",
    "fragment": "http://pictures.example#@127.0.0.1:PORT/",
    "encoded slash": "http://pictures.example%2f@127.0.0.1:PORT/",
    "line break": "http://pictures.example/\r\nHost: 127.0.0.1:PORT\r\n\r\n",
    "line break in the host": "http://pictures.example\r\n.127.0.0.1:PORT/",
    "network interface": "http://[fe80::1%25lo]:PORT/",
    "zero byte": "http://127.0.0.1:PORT\x00.pictures.example/",
    "two ports": "http://pictures.example:80:PORT/",
    "three slashes": "http:///127.0.0.1:PORT/x.png",
}


@pytest.mark.parametrize("url", **each(SPLITS))
def test_parsers_do_not_disagree_about_the_host(http: Attacker, canary: Canary, url: str) -> None:
    check_fails(http, submit(http, url.replace("PORT", str(canary.port))), BAD)


def moved(location: str, status: int = 302) -> Callable[[str], Answer]:
    return lambda _: (status, {"Location": location}, b"")


def picture(_: str) -> Answer:
    return 200, {"Content-Type": "image/png"}, GOOD_PNG


REDIRECTS: dict[str, tuple[int, str]] = {
    "moved for good": (301, "http://127.0.0.1:PORT/x.png"),
    "found elsewhere": (302, "http://127.0.0.1:PORT/x.png"),
    "see other": (303, "http://127.0.0.1:PORT/x.png"),
    "moved for now": (307, "http://127.0.0.1:PORT/x.png"),
    "moved for good, same method": (308, "http://127.0.0.1:PORT/x.png"),
    "to IPv6": (302, "http://[::1]:PORT/x.png"),
    "to a name": (302, "http://localhost:PORT/x.png"),
    "to another host, same scheme": (302, "//127.0.0.1:PORT/x.png"),
    "to a file": (302, "file:///etc/passwd"),
}


@pytest.mark.parametrize(("status", "location"), **each(REDIRECTS))
def test_redirects_are_checked_like_the_first_address(
    http: Attacker, web: Web, canary: Canary, status: int, location: str
) -> None:
    web.serve({"/": moved(location.replace("PORT", str(canary.port)), status)})
    check_fails(http, submit(http, f"{web.url}/x.png"), BAD)
    assert web.asked, "the server that may be fetched from was not asked"


CHAINS: dict[str, Callable[[str], Answer]] = {
    "to itself": moved("/x.png"),
    "twenty times": lambda path: moved(f"/{int(path[1:] or 0) + 1}")(path) if path != "/20" else picture(path),
}


@pytest.mark.parametrize("page", **each(CHAINS))
def test_redirects_come_to_an_end(http: Attacker, web: Web, page: Callable[[str], Answer]) -> None:
    web.serve({"/": page})
    check_fails(http, submit(http, f"{web.url}/0"), BAD)
    assert 1 <= len(web.asked) <= 4


def test_redirects_do_not_lead_out_of_encryption(http: Attacker, web: Web, secure_web: Web) -> None:
    web.serve({"/": picture})
    secure_web.serve({"/": moved(f"{web.url}/x.png")})
    check_fails(http, submit(http, f"{secure_web.url}/x.png"), BAD)
    assert secure_web.asked and not web.asked


#: What a name resolves to, each time it is asked for; it stays at the last. And what may be connected to.
RESOLVERS: dict[str, tuple[list[list[str]], list[str]]] = {
    "public when checked, private when used": ([[PUBLIC], ["127.0.0.1"]], [PUBLIC]),
    "public and private at once": ([[PUBLIC, "10.0.0.1"]], []),
    "another name for a private place": ([["169.254.169.254"]], []),
    "public by IPv4, private by IPv6": ([[PUBLIC, "::1"]], []),
}


@pytest.mark.parametrize(("answers", "reached"), **each(RESOLVERS))
def test_what_was_checked_is_what_is_connected_to(
    no_network: list[Any], answers: list[list[str]], reached: list[str]
) -> None:
    left = iter([*answers, *[answers[-1]] * 9])
    fetcher = Fetcher(allow=Allow.parse(()), resolve=lambda _: next(left), max_bytes=10**6, timeout_s=5.0)
    with pytest.raises(Unprocessable) as caught:
        fetcher.get("http://pictures.example.com/x.png", field=BAD)
    assert caught.value.field == BAD
    assert [address[0] for address in no_network] == reached


def test_an_address_that_the_operator_vouches_for_is_fetched(http: Attacker, web: Web) -> None:
    web.serve({"/": moved("/there.png"), "/there.png": picture})
    assert http.ended(submit(http, f"{web.url}/x.png"))["state"] == "completed"


def drip(_: str) -> Answer:
    """Far less than was announced, and then silence for longer than is waited."""
    time.sleep(4)
    return 200, {"Content-Length": "1000"}, b"\x89PNG"


ANSWERS: dict[str, Callable[[str], Answer]] = {
    "a page": lambda _: (200, {"Content-Type": "image/png"}, b"<!doctype html><script>alert(1)</script>"),
    "not found": lambda _: (404, {"Content-Type": "image/png"}, GOOD_PNG),
    "an error of its own": lambda _: (500, {}, b""),
    "more than is read": lambda _: (200, {}, b"\x89PNG" + b"\0" * 21_000_000),
    "more than is read, announced as a terabyte": lambda _: (200, {"Content-Length": str(10**12)}, GOOD_PNG),
    "packed, though nobody asked": lambda _: (200, {"Content-Encoding": "gzip"}, b"\x1f\x8b\x08" + b"\0" * 99),
    "too late": drip,
}


@pytest.mark.parametrize("page", **each(ANSWERS))
def test_bad_answers_name_the_address(http: Attacker, web: Web, page: Callable[[str], Answer]) -> None:
    web.serve({"/": page})
    check_fails(http, submit(http, f"{web.url}/x.png"), BAD)


BAD_DATA = {
    "no base64": "data:image/png;base64,%%%%",
    "base64 that ends too early": "data:image/png;base64,iVBORw0KGg",
    "no picture": "data:image/png;base64," + base64.b64encode(b"<script>").decode(),
    "nothing": "data:image/png;base64,",
    "a vector drawing": "data:image/svg+xml;base64,PHN2Zy8+",
    "not encoded": "data:image/png,%89PNG",
}


@pytest.mark.parametrize("url", **each(BAD_DATA))
def test_data_that_is_no_picture_names_the_address(mesh: Any, http: Attacker, url: str) -> None:
    before = set((mesh.data_dir / "inputs").iterdir())
    check_refused(submit(http, url), BAD)
    assert set((mesh.data_dir / "inputs").iterdir()) == before
