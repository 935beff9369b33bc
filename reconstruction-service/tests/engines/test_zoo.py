"""The runner against engines that misbehave: each sin is one named problem, and the next request works."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from reconstruction_service.settings import Settings
from scratch3d.contracts.views import View
from scratch3d.servicekit.errors import Busy, ServiceError, Unavailable
from scratch3d.servicekit.runner import Runner

ZOO = str(Path(__file__).parent / "zoo")


@pytest.fixture(autouse=True)
def zoo_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([ZOO, os.environ.get("PYTHONPATH", "")]))


@asynccontextmanager
async def running(animal: str, data_dir: Path, **options: Any) -> AsyncIterator[Runner]:
    runner = Runner(
        "reconstruction_service.work:create",
        {"engine": f"zoo:{animal}", "settings": Settings(data_dir=data_dir).model_dump(mode="json")},
        name=animal,
        **options,
    )
    await runner.start()
    try:
        yield runner
    finally:
        await runner.close()


def request(views: list[View]) -> dict[str, Any]:
    return {"views": [v.model_dump(mode="json") for v in views], "output_prefix": "outputs/test/1"}


@pytest.mark.parametrize(
    ("animal", "code", "retryable"),
    [
        ("Raises", "engine_failed", False),
        ("Killed", "engine_crashed", True),
        ("Exits", "engine_crashed", True),
        ("OutOfMemory", "out_of_memory", False),
        ("EmptyMesh", "empty_mesh", False),
        ("NanVertices", "nan_vertices", False),
        ("WrongType", "wrong_type", False),
        ("WrongIndex", "wrong_type", False),
    ],
)
async def test_each_sin_has_its_name(
    animal: str, code: str, retryable: bool, data_dir: Path, sphere_views: list[View]
) -> None:
    async with running(animal, data_dir, memory_limit_mb=1500) as runner:
        await runner.wait_ready(30)
        for _ in range(2):  # the second time shows that the service lives on
            with pytest.raises(ServiceError) as caught:
                await runner.run(request(sphere_views[:2]))
            assert caught.value.problem_code == code
            assert caught.value.can_retry is retryable


async def test_last_words_travel_in_the_error(data_dir: Path, sphere_views: list[View]) -> None:
    async with running("Exits", data_dir) as runner:
        with pytest.raises(ServiceError, match=r"exit status 7.*last words"):
            await runner.run(request(sphere_views[:2]))


async def test_hanging_engine_is_stopped_at_its_deadline_and_replaced(data_dir: Path, sphere_views: list[View]) -> None:
    async with running("Hangs", data_dir, deadline_s=0.5, cancel_grace_s=0.3) as runner:
        await runner.wait_ready(30)
        first = runner.pid
        with pytest.raises(ServiceError) as caught:
            await runner.run(request(sphere_views[:2]))
        assert caught.value.problem_code == "deadline_exceeded"
        await runner.wait_ready(30)
        assert runner.pid != first


async def test_cancel_frees_a_listening_engine_at_once(data_dir: Path, sphere_views: list[View]) -> None:
    async with running("Listens", data_dir) as runner:
        await runner.wait_ready(30)
        child = runner.pid
        work = asyncio.create_task(runner.run(request(sphere_views[:2])))
        await asyncio.sleep(0.3)
        began = time.monotonic()
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        assert time.monotonic() - began < 1.0
        assert runner.pid == child and runner.ready


async def test_cancel_kills_a_deaf_engine_after_the_grace_time(data_dir: Path, sphere_views: list[View]) -> None:
    async with running("Hangs", data_dir, cancel_grace_s=0.5) as runner:
        await runner.wait_ready(30)
        work = asyncio.create_task(runner.run(request(sphere_views[:2])))
        await asyncio.sleep(0.3)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        assert not runner.ready
        await runner.wait_ready(30)


async def test_a_late_answer_is_never_taken_for_the_next_one(data_dir: Path, sphere_views: list[View]) -> None:
    async with running("Slow", data_dir, deadline_s=0.3, cancel_grace_s=2.0) as runner:
        await runner.wait_ready(30)
        child = runner.pid
        work = asyncio.create_task(runner.run(request(sphere_views[:2])))
        await asyncio.sleep(0.5)  # the deadline has passed, and the engine is being asked to stop
        work.cancel()
        await asyncio.wait([work])
        assert runner.pid == child, "it answered within the grace time, so it was not replaced"
        again = await runner.run(request(sphere_views[:2]))
        assert again["warnings"] == ["second"]


async def test_second_request_is_told_to_come_again(data_dir: Path, sphere_views: list[View]) -> None:
    async with running("Listens", data_dir) as runner:
        await runner.wait_ready(30)
        work = asyncio.create_task(runner.run(request(sphere_views[:2])))
        await asyncio.sleep(0.2)
        with pytest.raises(Busy) as caught:
            await runner.run(request(sphere_views[:2]))
        assert caught.value.retry_after_s
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work


async def test_engine_that_cannot_load_says_why(data_dir: Path, sphere_views: list[View]) -> None:
    async with running("LoadFails", data_dir) as runner:
        for _ in range(100):
            if runner.load_error:
                break
            await asyncio.sleep(0.1)
        with pytest.raises(Unavailable, match="weights are missing"):
            await runner.wait_ready(0.1)


async def test_repeated_key_gives_the_kept_result(data_dir: Path, sphere_views: list[View]) -> None:
    async with running("Good", data_dir) as runner:
        first = await runner.run(request(sphere_views[:2]), key="job:stage:digest")
        again = await runner.run(request(sphere_views[:2]), key="job:stage:digest")
        assert first is again
        assert first["faces"] == 1
