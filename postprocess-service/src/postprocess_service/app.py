"""Wiring of postprocess-service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from scratch3d.servicekit import metrics, registry
from scratch3d.servicekit.app import new_app
from scratch3d.servicekit.health import Announcement, health_router
from scratch3d.servicekit.registry import Runners

from . import api
from .engines import GROUP
from .settings import Settings

VERSION = "0.1.0"


def create_app(settings: Settings) -> FastAPI:
    """The service, with one child process per engine that can run here and is switched on."""
    runners = Runners(
        GROUP,
        settings.postprocess_engines,
        work="postprocess_service.work:create",
        settings=settings,
        switch="POSTPROCESS_ENGINES",
        deadline_s=settings.engine_deadline_s,
        memory_limit_mb=settings.engine_memory_mb,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Runners]]:
        await runners.start()
        async with Announcement.of("postprocess-service", settings).standing(runners.check):
            yield {"runners": runners}
        await runners.close()

    app = new_app("scratch-3d postprocess-service", VERSION, lifespan=lifespan)
    for router in (api.router, registry.router, health_router({"engine": runners.check}), metrics.router):
        app.include_router(router)
    return app
