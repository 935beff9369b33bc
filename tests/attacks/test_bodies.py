"""Bodies that are huge, deep, odd or of the wrong type: each is refused in the caller's terms, or is a job that ends."""

import json
import select
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from attack import Attacker, Watch, check_refused, check_survives, each, raw_replies

JSON = {"Content-Type": "application/json"}
#: The largest body of a prompt is counted in hundreds of kilobytes; this much of it may travel before the answer.
MOST_TAKEN = 8 * 2**20


def generate(http: Attacker, content: bytes) -> httpx.Response:
    return http.post("/3d/generate", content=content, headers=JSON)


def body(**fields: Any) -> bytes:
    return json.dumps({"prompt": "a red cube", "quality_tier": "fast", **fields}).encode()


PROMPT_SIZES = {"one character too long": 2001, "a hundred times too long": 200_000}


@pytest.mark.parametrize("length", **each(PROMPT_SIZES))
def test_prompts_that_are_too_long_name_the_prompt(http: Attacker, length: int) -> None:
    check_refused(generate(http, body(prompt="cube " + "x" * (length - 5))), "prompt")


def announced(size: int) -> bytes:
    return b"POST /3d/generate HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n" + (
        f"Content-Length: {size}\r\nConnection: close\r\n\r\n".encode()
    )


BODY_SIZES = {"a hundred megabytes": 10**8, "more than 64 bits can count": 10**30}


@pytest.mark.parametrize("size", **each(BODY_SIZES))
def test_bodies_that_announce_too_much_are_refused_before_they_are_sent(mesh: Any, watch: Watch, size: int) -> None:
    assert raw_replies(mesh.url, announced(size) + b'{"prompt":"', watch)[:1] in ([413], [400])


STREAMS = {"a prompt without end": b'{"prompt":"', "a list without end": b'{"prompt":["'}


@pytest.mark.parametrize("begin", **each(STREAMS))
def test_bodies_without_an_end_are_answered_while_they_come(mesh: Any, watch: Watch, begin: bytes) -> None:
    parts = urlsplit(mesh.url)
    head = (
        b"POST /3d/generate HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    with socket.create_connection((str(parts.hostname), int(parts.port or 80)), timeout=10) as line:
        line.sendall(head + chunked(begin))
        for _ in range(MOST_TAKEN // 65536):
            line.sendall(chunked(b"x" * 65536))
            if select.select([line], [], [], 0.005)[0]:
                break
        assert line.recv(4096).startswith(b"HTTP/1.1 413 ")


def chunked(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(content), content)


DEPTHS = {
    "a prompt of nested lists": b'{"prompt":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "options of nested objects": b'{"prompt":"a red cube","engine_options":' + b'{"a":' * 900 + b"1" + b"}" * 901,
}


@pytest.mark.parametrize("content", **each(DEPTHS))
def test_bodies_that_are_too_deep_are_refused(http: Attacker, content: bytes) -> None:
    check_refused(generate(http, content))
    check_refused(http.post("/3d/from-image", content=content, headers=JSON))


NUMBERS = {"not a number": b"NaN", "infinity": b"-Infinity", "an exponent too far": b"1e999"}


@pytest.mark.parametrize("number", **each(NUMBERS))
def test_numbers_that_are_none_name_the_seed(http: Attacker, number: bytes) -> None:
    problem = check_refused(generate(http, b'{"prompt":"a red cube","seed":' + number + b"}"), "seed", "body")
    assert number.decode() not in json.dumps(problem.get("errors"))


HALVES = {
    "half a character in the prompt": (b'{"prompt":"a red cube \\ud83d"}', ("prompt", "body")),
    "half a character in a label": (
        b'{"prompt":"a red cube","quality_tier":"fast","labels":{"shop":"\\udc00"}}',
        ("labels.shop", "labels", "body"),
    ),
}


@pytest.mark.parametrize(("content", "fields"), **each(HALVES))
def test_half_characters_are_refused(http: Attacker, content: bytes, fields: tuple[str, ...]) -> None:
    check_refused(generate(http, content), *fields)


UNSEEN = {
    "nothing": "\x00",
    "an escape sequence": "\x1b[31m",
    "a header's line break": "\r\nX-Evil: 1\r\n",
    "delete": "\x7f",
    "next line": "\x85",
    "text turned around": "\u202e",
    "a space without width": "\u200b",
    "a tag that no font shows": "\U000e0041",
}


@pytest.mark.parametrize("unseen", **each(UNSEEN))
def test_characters_that_nobody_sees_do_no_harm(http: Attacker, unseen: str) -> None:
    check_survives(http, generate(http, body(prompt=f"a red{unseen} cube")), "prompt")


ODD_TEXTS = {
    "the same key twice": b'{"prompt":"a red cube","quality_tier":"fast","prompt":"a blue cone"}',
    "a byte order mark": b"\xef\xbb\xbf" + body(),
    "UTF-16": body().decode().encode("utf-16"),
    "a number of five thousand digits": b'{"prompt":"a red cube","seed":' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("content", **each(ODD_TEXTS))
def test_odd_texts_are_read_or_refused(http: Attacker, content: bytes) -> None:
    check_survives(http, generate(http, content))


WRONG_TYPES: dict[str, tuple[Any, str]] = {
    "prompt is a number": ({"prompt": 7}, "prompt"),
    "prompt is a list": ({"prompt": ["a", "cube"]}, "prompt"),
    "prompt is null": ({"prompt": None}, "prompt"),
    "prompt is an object": ({"prompt": {"$ne": ""}}, "prompt"),
    "seed is a fraction": ({"prompt": "a cube", "seed": 1.5}, "seed"),
    "seed is a list": ({"prompt": "a cube", "seed": [1]}, "seed"),
    "views is a word": ({"prompt": "a cube", "views": "four"}, "views"),
    "texture is a word": ({"prompt": "a cube", "texture": "perhaps"}, "texture"),
    "labels is a list": ({"prompt": "a cube", "labels": ["shop"]}, "labels"),
    "a label is a number": ({"prompt": "a cube", "labels": {"shop": 1}}, "labels.shop"),
    "the body is a list": ([{"prompt": "a cube"}], "body"),
    "the body is a text": ("a cube", "body"),
}


@pytest.mark.parametrize(("content", "field"), **each(WRONG_TYPES))
def test_wrong_types_name_the_field(http: Attacker, content: Any, field: str) -> None:
    check_refused(generate(http, json.dumps(content).encode()), field)
