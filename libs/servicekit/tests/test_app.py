"""Errors, body limits and the log context of every application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI, Request

from scratch3d.contracts.values import Request as Body
from scratch3d.servicekit.app import MAX_JSON_BYTES, new_app
from scratch3d.servicekit.errors import Busy, NotAvailable, ServiceError, from_problem
from scratch3d.servicekit.health import health_router


class Wish(Body):
    number: int
    words: tuple[str, ...] = ()


@asynccontextmanager
async def nothing(_: FastAPI) -> AsyncIterator[None]:
    yield


async def absent() -> str:
    return "is away"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = new_app("test", "1", lifespan=nothing, max_upload_bytes=2_000_000)
    app.include_router(health_router({"store": absent}))

    @app.post("/wish")
    def wish(body: Wish) -> dict[str, int]:
        return {"number": body.number}

    @app.post("/upload")
    async def upload(request: Request) -> dict[str, int]:
        return {"size": len(await request.body())}

    @app.get("/busy")
    def busy() -> None:
        raise Busy("come again", retry_after_s=2.4)

    @app.get("/missing")
    def missing() -> None:
        raise NotAvailable("is not here", field="engine")

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("secret path /home/x")

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as made:
        yield made


async def test_errors_become_problems(client: httpx.AsyncClient) -> None:
    busy = await client.get("/busy")
    assert (busy.status_code, busy.headers["retry-after"], busy.json()["retryable"]) == (429, "2", True)
    missing = await client.get("/missing")
    assert missing.json()["errors"] == [{"field": "engine", "message": "is not here"}]
    broken = await client.get("/broken")
    assert broken.status_code == 500 and "secret" not in broken.text
    assert (await client.get("/nowhere")).json()["code"] == "not_found"
    assert (await client.get("/wish")).json()["code"] == "method_not_allowed"
    for reply in (busy, missing, broken):
        assert reply.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("content", "status", "field"),
    [
        (b'{"number": "x"}', 422, "number"),
        (b'{"number": 1, "words": [1]}', 422, "words[0]"),
        (b'{"number": 1, "more": 1}', 422, "more"),
        (b'{"number": NaN}', 422, "number"),
        (b"{", 400, "body"),
        (b"", 422, "body"),
    ],
)
async def test_bad_bodies_name_the_field(client: httpx.AsyncClient, content: bytes, status: int, field: str) -> None:
    reply = await client.post("/wish", content=content, headers={"Content-Type": "application/json"})
    assert reply.status_code == status, reply.text
    assert reply.json()["errors"][0]["field"] == field


async def test_bodies_are_bounded_with_and_without_a_length(client: httpx.AsyncClient) -> None:
    async def drip() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 100_000

    announced = await client.post("/upload", content=b" " * (MAX_JSON_BYTES + 1))
    chunked = await client.post("/upload", content=drip())
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    allowed = await client.post("/upload", content=b" " * 1_500_000, headers=form)
    too_much = await client.post("/upload", content=drip(), headers=form)
    assert [r.status_code for r in (announced, chunked, allowed, too_much)] == [413, 413, 200, 413]
    assert chunked.json()["code"] == "too_large"


async def test_readiness_names_what_is_away(client: httpx.AsyncClient) -> None:
    reply = await client.get("/ready")
    assert reply.status_code == 503 and reply.json()["dependencies"] == {"store": "is away"}


def test_problems_travel_and_come_back() -> None:
    sent = NotAvailable("is not here", field="engine").problem(stage="post_processing")
    back = from_problem(sent)
    assert isinstance(back, ServiceError)
    assert back.problem() == sent.model_copy(update={"stage": None})
