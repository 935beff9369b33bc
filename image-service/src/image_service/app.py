"""Wiring of image-service."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from scratch3d.servicekit import metrics, registry
from scratch3d.servicekit.app import new_app
from scratch3d.servicekit.health import health_router
from scratch3d.servicekit.runner import Runner

from . import api
from .engines import GROUP
from .settings import Settings

VERSION = "0.1.0"


def create_app(settings: Settings) -> FastAPI:
    """The service, with one child process per engine that can run here and is switched on."""
    state = api.State(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, api.State]]:
        state.artifacts.prepare()
        lock = asyncio.Lock()
        for card in registry.cards(GROUP, settings.image_engines):
            if card.available and card.id in settings.image_engines:
                state.runners[card.id] = await _start(card.id, settings, lock)
        yield {"service": state}
        for runner in state.runners.values():
            await runner.close()

    async def engine() -> str:
        waiting = [r.load_error or "loading" for r in state.runners.values() if not r.ready]
        return waiting[0] if waiting else "ok" if state.runners else "no engine can run here"

    app = new_app("scratch-3d image-service", VERSION, lifespan=lifespan)
    app.include_router(api.router)
    app.include_router(health_router({"engine": engine}))
    app.include_router(metrics.router)
    return app


async def _start(name: str, settings: Settings, lock: asyncio.Lock) -> Runner:
    runner = Runner(
        "image_service.work:create",
        {"engine": name, "settings": settings.model_dump(mode="json")},
        name=name,
        lock=lock,
        deadline_s=settings.engine_deadline_s,
        memory_limit_mb=settings.engine_memory_mb,
    )
    await runner.start()
    return runner
