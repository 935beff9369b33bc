"""Keys, owners and refusals at the door, without any service."""

from collections.abc import AsyncIterator

import httpx
import pytest
from builders import new_job

from orchestrator.app import create_app
from orchestrator.settings import Settings
from orchestrator.store_memory import MemoryStore


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


async def door(store: MemoryStore, **settings: object) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(Settings.model_validate(settings), store=store)
    async with app.router.lifespan_context(app) as state:

        async def with_state(scope, receive, send):  # type: ignore[no-untyped-def]
            scope["state"] = dict(state)
            await app(scope, receive, send)

        async with httpx.AsyncClient(transport=httpx.ASGITransport(with_state), base_url="http://door") as client:
            yield client


@pytest.fixture
async def guarded(store: MemoryStore, tmp_path) -> AsyncIterator[httpx.AsyncClient]:
    async for client in door(store, auth="required", api_keys="alpha, beta", data_dir=tmp_path):
        yield client


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer gamma"},
        {"Authorization": "Basic alpha"},
        {"Authorization": "Bearer alph"},
        {"Authorization": "Bearer alphaa"},
        {"X-API-Key": ""},
        {"Authorization": "Bearer älpha".encode("latin-1").decode("latin-1")},
    ],
)
async def test_without_a_key_nothing_is_shown(guarded: httpx.AsyncClient, headers: dict[str, str]) -> None:
    raw = [(k.encode(), v.encode("latin-1")) for k, v in headers.items()]
    for method, path in (("GET", "/3d/jobs"), ("POST", "/3d/generate"), ("GET", "/3d/engines")):
        reply = await guarded.request(
            method, path, headers=raw, json={"prompt": "a cube"} if method == "POST" else None
        )
        assert reply.status_code == 401 and reply.json()["code"] == "unauthorized"
        assert reply.headers["www-authenticate"] == "Bearer"
    assert (await guarded.get("/health")).status_code == 200


async def test_each_key_sees_its_own_jobs(guarded: httpx.AsyncClient, store: MemoryStore) -> None:
    alpha, beta = {"Authorization": "Bearer alpha"}, {"X-API-Key": "beta"}
    assert (await guarded.get("/3d/jobs", headers=alpha)).status_code == 200
    import hashlib

    job = new_job(owner=hashlib.sha256(b"alpha").hexdigest()[:16])
    await store.submit(job, max_queued=5)
    for path in (f"/3d/status/{job.id}", f"/3d/jobs/{job.id}/artifacts"):
        assert (await guarded.get(path, headers=alpha)).status_code == 200
        assert (await guarded.get(path, headers=beta)).status_code == 404
    assert (await guarded.post(f"/3d/jobs/{job.id}/cancel", headers=beta)).status_code == 404
    assert (await guarded.get(f"/3d/download/{job.id}", headers=alpha)).json()["code"] == "not_finished"
    assert (await guarded.delete(f"/3d/jobs/{job.id}", headers=alpha)).status_code == 409
    assert (await guarded.post(f"/3d/jobs/{job.id}/cancel", headers=alpha)).json()["state"] == "failed"
    assert (await guarded.delete(f"/3d/jobs/{job.id}", headers=alpha)).status_code == 204
    assert [j["job_id"] for j in (await guarded.get("/3d/jobs", headers=alpha)).json()["jobs"]] == []


def test_keys_are_needed_as_soon_as_others_can_connect() -> None:
    assert not Settings(host="127.0.0.1").auth_required
    assert Settings(host="0.0.0.0").auth_required
    assert not Settings(host="0.0.0.0", auth="off").auth_required


async def test_services_that_never_answered_refuse_with_503(store: MemoryStore, tmp_path) -> None:
    async for client in door(store, data_dir=tmp_path, image_service_urls=["http://127.0.0.1:9"]):
        reply = await client.post("/3d/generate", json={"prompt": "a cube"})
        assert reply.status_code == 503 and reply.headers["retry-after"]
        assert reply.json()["code"] == "unavailable" and await store.queue_length() == 0
        assert (await client.get("/ready")).status_code == 503
