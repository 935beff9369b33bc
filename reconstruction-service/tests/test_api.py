"""The service over HTTP, with its real child process."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from conftest import prepared, views_of_a_sphere, write_tiny_checkpoint
from reconstruction_service.app import create_app
from reconstruction_service.settings import Settings
from scratch3d.contracts.meshes import ReconstructResult
from scratch3d.contracts.progress import LINE, ProgressLine, ResultLine
from scratch3d.contracts.views import View
from scratch3d.servicekit.artifacts import ArtifactStore
from scratch3d.servicekit.runner import Runner

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def wait_loaded(runner: Runner) -> None:
    """Until the engine is loaded, or has said why it cannot be."""
    async with asyncio.timeout(60):
        while not runner.ready and runner.load_error is None:
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings)
    async with app.router.lifespan_context(app) as state:
        for runner in state["runners"].running.values():
            await wait_loaded(runner)

        async def with_state(scope, receive, send):  # type: ignore[no-untyped-def]
            scope["state"] = dict(state)
            await app(scope, receive, send)

        async with httpx.AsyncClient(transport=httpx.ASGITransport(with_state), base_url="http://service") as client:
            yield client


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("volumes"))


@pytest.fixture(scope="module")
def sphere_views(data_dir: Path) -> list[View]:
    return views_of_a_sphere(data_dir)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(data_dir: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with running(Settings(data_dir=data_dir)) as client:
        yield client


def body(views: list[View], **more: object) -> dict[str, object]:
    return {"views": [v.model_dump(mode="json") for v in views], "resolution": 48, **more}


async def test_plain_json_streamed_lines_and_the_seeds_spelling(
    service: httpx.AsyncClient, sphere_views: list[View]
) -> None:
    plain = await service.post("/reconstruct/mesh", json=body(sphere_views))
    assert plain.status_code == 200, plain.text
    made = ReconstructResult.model_validate(plain.json())
    assert made.mesh_path == "/" + made.mesh.key
    streamed = await service.post(
        "/reconstruct/mesh", json=body(sphere_views), headers={"Accept": "application/x-ndjson"}
    )
    lines = [LINE.validate_json(line) for line in streamed.content.splitlines()]
    assert isinstance(lines[0], ProgressLine) and isinstance(lines[-1], ResultLine)
    assert lines[-1].result["mesh"] == made.mesh.model_dump()
    seed = await service.post(
        "/reconstruct/mesh", json={"image_paths": [v.ref.public_path for v in sphere_views[:3]], "output_format": "glb"}
    )
    assert seed.status_code == 200, seed.text


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"views": []}, 422, "views"),
        ({"resolution": 8}, 422, "resolution"),
        ({"engine": "nope"}, 422, "engine"),
        ({"engine": "wave:open"}, 422, "engine"),
        ({"engine": "a:b:c"}, 422, "engine"),
        ({"surprise": 1}, 422, "surprise"),
        ({"views": [], "image_paths": ["../../etc/passwd"]}, 422, "image_paths[0]"),
        ({"views": [], "image_paths": ["inputs/none.png"]}, 422, "image_paths[0]"),
    ],
)
async def test_bad_requests_name_the_field(
    service: httpx.AsyncClient, sphere_views: list[View], change: dict[str, object], status: int, field: str
) -> None:
    reply = await service.post("/reconstruct/mesh", json={**body(sphere_views), **change})
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["errors"][0]["field"] == field


WITHOUT_WEIGHTS = ("soft-hull", "visual-hull", "inflate")


@pytest.mark.parametrize(
    ("count", "engines", "chosen"),
    [
        (1, WITHOUT_WEIGHTS, "inflate"),
        (2, WITHOUT_WEIGHTS, "visual-hull"),
        (3, WITHOUT_WEIGHTS, "soft-hull"),
        (1, ("triposr", *WITHOUT_WEIGHTS), "triposr"),
        (4, ("triposr", *WITHOUT_WEIGHTS), "triposr"),
    ],
)
async def test_the_engine_fits_the_pictures(
    data_dir: Path, sphere_views: list[View], count: int, engines: tuple[str, ...], chosen: str
) -> None:
    paths = [view.ref.public_path for view in sphere_views[:count]]
    async with running(Settings(data_dir=data_dir, reconstruction_engines=engines)) as service:
        reply = await service.post("/reconstruct/mesh", json={"image_paths": paths, "resolution": 48})
    assert reply.status_code == 200, reply.text
    assert reply.json()["engine"] == chosen


async def test_options_of_an_engine_are_checked(service: httpx.AsyncClient, sphere_views: list[View]) -> None:
    asked = body(sphere_views[:1], engine="inflate", options={"thickness": 9})
    reply = await service.post("/reconstruct/mesh", json=asked)
    assert reply.status_code == 422 and reply.json()["errors"][0]["field"] == "options.thickness"


async def test_views_whose_file_changed_are_refused(
    service: httpx.AsyncClient, sphere_views: list[View], data_dir: Path
) -> None:
    ref = ArtifactStore(data_dir).put("inputs/changed/1/front.png", (data_dir / sphere_views[0].ref.key).read_bytes())
    (data_dir / ref.key).write_bytes(b"something else")
    changed = [sphere_views[0].model_copy(update={"ref": ref}), *sphere_views[1:]]
    reply = await service.post("/reconstruct/mesh", json=body(changed))
    assert reply.status_code >= 400 and json.loads(reply.content)["code"] == "artifact_damaged"


async def test_operations(service: httpx.AsyncClient) -> None:
    assert (await service.get("/health")).json() == {"status": "ok"}
    assert (await service.get("/ready")).json()["ready"] is True
    engines = (await service.get("/engines")).json()["engines"]
    assert [engine["id"] for engine in engines] == ["triposr", "soft-hull", "visual-hull", "inflate"]
    assert "scratch3d_engine_busy" in (await service.get("/metrics")).text
    assert (await service.get("/nothing")).json()["code"] == "not_found"


async def test_weights_that_come_later_change_nothing_until_the_next_start(
    tmp_path: Path, sphere_views: list[View], data_dir: Path
) -> None:
    shutil.copytree(data_dir / "inputs", tmp_path / "inputs")
    settings = Settings(data_dir=tmp_path, reconstruction_engines=("triposr", "inflate"))
    async with running(settings) as service:
        write_tiny_checkpoint(tmp_path / "models" / "triposr")
        asked = body(sphere_views[:1])
        reply = await service.post("/reconstruct/mesh", json=asked)
        assert reply.status_code == 200 and reply.json()["engine"] == "inflate", reply.text
        named = await service.post("/reconstruct/mesh", json={**asked, "engine": "triposr"})
        assert named.status_code == 422 and "start the service again" in named.json()["detail"]
        cards = {card["id"]: card for card in (await service.get("/engines")).json()["engines"]}
        assert not cards["triposr"]["available"] and cards["inflate"]["available"]
        assert "RECONSTRUCTION_ENGINES" in cards["soft-hull"]["reason"]
