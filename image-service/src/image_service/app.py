"""Wiring of image-service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from scratch3d.servicekit import metrics
from scratch3d.servicekit.app import new_app
from scratch3d.servicekit.health import Announcement, health_router
from scratch3d.servicekit.registry import Runners
from scratch3d.servicekit.runner import Runner

from . import api
from .engines import GROUP
from .settings import Settings

VERSION = "0.1.0"


def create_app(settings: Settings) -> FastAPI:
    """The service: a child process for given pictures, and one per image engine that can run here and is switched on."""
    intake = Runner(
        "image_service.intake.work:create",
        {"settings": settings.model_dump(mode="json")},
        name="intake",
        deadline_s=settings.engine_deadline_s,
        memory_limit_mb=settings.engine_memory_mb,
    )
    state = api.State(settings, intake)
    runners = Runners(
        GROUP,
        settings.image_engines,
        work="image_service.work:create",
        settings=settings,
        switch="IMAGE_ENGINES",
        deadline_s=settings.engine_deadline_s,
        memory_limit_mb=settings.engine_memory_mb,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Runners | api.State]]:
        state.artifacts.prepare()
        await intake.start()
        await runners.start()
        async with Announcement.of("image-service", settings).standing(runners.check):
            yield {"runners": runners, "service": state}
        await runners.close()
        await intake.close()

    async def intake_ready() -> str:
        return "ok" if intake.ready else intake.load_error or "loading"

    app = new_app("scratch-3d image-service", VERSION, lifespan=lifespan)
    ready = health_router({"engine": runners.check, "intake": intake_ready})
    for router in (api.router, ready, metrics.router):
        app.include_router(router)
    return app
