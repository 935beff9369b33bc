"""The orchestrator's client against a real service over a real socket: progress, problems, silence, cancel."""

import asyncio
import contextlib
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn

from image_service.app import create_app
from image_service.settings import Settings
from orchestrator.clients import ServiceClient
from orchestrator.errors import StageFailed
from scratch3d.contracts.images import ImagineRequest, ImagineResult, InspectRequest, SourceImage
from scratch3d.servicekit.artifacts import ArtifactStore
from scratch3d.up.supervisor import free_port


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    data_dir = tmp_path_factory.mktemp("volumes")
    port = free_port()
    # Children are started from the thread the server runs in, which lives as long as this fixture.
    server = uvicorn.Server(uvicorn.Config(create_app(Settings(data_dir=data_dir)), port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{port}"
    for _ in range(600):
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/ready").is_success:
                break
        time.sleep(0.1)
    yield url, data_dir
    server.should_exit = True
    thread.join(20)


def wish(**more: object) -> ImagineRequest:
    return ImagineRequest.model_validate({"prompts": ["a red cube"], "size_px": 128, **more})


async def call(url: str, request: ImagineRequest, told: list[tuple[float, str]] | None = None) -> ImagineResult:
    async with httpx.AsyncClient() as http:
        client = ServiceClient("image-service", http)
        heard = told if told is not None else []
        return await client.call(
            f"{url}/imagine/generate",
            request,
            ImagineResult,
            key=uuid.uuid4().hex,
            job_id="j",
            progress=lambda f, p: heard.append((f, p)),
        )


async def test_result_and_progress(service: tuple[str, Path]) -> None:
    told: list[tuple[float, str]] = []
    made = await call(service[0], wish(view_set="carve-8"), told)
    assert len(made.views) == 8 and told
    store = ArtifactStore(service[1])
    assert all(store.exists(view.ref) for view in made.views)


async def test_the_services_problem_arrives_whole(service: tuple[str, Path]) -> None:
    with pytest.raises(StageFailed) as caught:
        await call(service[0], wish(prompts=["a dragon"]))
    assert caught.value.problem.code == "unknown_prompt" and caught.value.problem.errors[0].field == "prompt"


async def test_wrong_requests_and_absent_services_are_named(service: tuple[str, Path]) -> None:
    with pytest.raises(StageFailed) as caught:
        await call(service[0], wish(view_set="nine"))
    assert caught.value.problem.errors[0].field == "view_set"
    with pytest.raises(StageFailed) as caught:
        await call("http://127.0.0.1:9", wish())
    assert caught.value.problem.code == "service_unreachable" and caught.value.problem.retryable
    async with httpx.AsyncClient() as http:
        client = ServiceClient("image-service", http)
        with pytest.raises(StageFailed) as caught:
            await client.inspect(
                service[0], InspectRequest(images=(SourceImage(key="inputs/none.png", field="image_paths[0]"),))
            )
    assert caught.value.problem.errors[0].field == "image_paths[0]"


async def test_closing_the_connection_cancels_and_frees_the_engine(service: tuple[str, Path]) -> None:
    views = [{"name": f"v{n}", "azimuth_deg": n} for n in range(16)]
    long = wish(prompts=["a torus and a ball and a cone and an egg and a pill"], size_px=1024, views=views)
    work = asyncio.create_task(call(service[0], long))
    await asyncio.sleep(0.4)
    began = time.monotonic()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    while True:
        try:
            await call(service[0], wish(prompts=["a cone"], seed=99))
            break
        except StageFailed as failure:
            # A machine that is too busy to let the engine hear it in time replaces the engine instead.
            assert failure.problem.code in {"busy", "unavailable"}
            await asyncio.sleep(0.05)
    assert time.monotonic() - began < 10
