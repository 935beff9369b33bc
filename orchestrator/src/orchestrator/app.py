"""Wiring of the API and of the worker."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from prometheus_client import start_http_server
from starlette.responses import RedirectResponse

from scratch3d.contracts.jobs import MAX_DATA_URI, State
from scratch3d.servicekit.app import new_app
from scratch3d.servicekit.artifacts import ArtifactStore
from scratch3d.servicekit.errors import ServiceError
from scratch3d.servicekit.health import Check, health_router
from scratch3d.slots import MemorySlots, RedisSlots, Slots

from .clients import ServiceClient
from .doors import operations
from .doors.operations import Desk
from .doors.rest import api, files
from .doors.rest.access import Door
from .doors.rest.stream import StreamsOutside
from .engines import Engines, Pool
from .jobs import Jobs
from .pipeline import ImagesStep, PostprocessStep, ReconstructStep, Step
from .settings import Settings
from .store import JobStore
from .store_redis import RedisStore
from .worker import Worker, stopped

VERSION = "0.1.0"


def pools(settings: Settings, http: httpx.AsyncClient) -> dict[State, Pool]:
    """The replicas of each stage's service."""
    named = {
        State.GENERATING_IMAGES: ("image-service", settings.image_service_urls),
        State.RECONSTRUCTING_3D: ("reconstruction-service", settings.reconstruction_urls),
        State.POST_PROCESSING: ("postprocess-service", settings.postprocess_urls),
    }
    return {
        stage: Pool(name=name, client=ServiceClient(name, http), urls=urls) for stage, (name, urls) in named.items()
    }


def http_client() -> httpx.AsyncClient:
    """For calls between our own services: never through a proxy of the environment."""
    return httpx.AsyncClient(trust_env=False, limits=httpx.Limits(max_connections=200))


def steps(stage_pools: dict[State, Pool], settings: Settings) -> dict[State, Step]:
    """The work of each stage."""
    kinds: dict[State, type[ImagesStep] | type[ReconstructStep] | type[PostprocessStep]] = {
        State.GENERATING_IMAGES: ImagesStep,
        State.RECONSTRUCTING_3D: ReconstructStep,
        State.POST_PROCESSING: PostprocessStep,
    }
    deadlines_s = {
        State.GENERATING_IMAGES: settings.images_deadline_s,
        State.RECONSTRUCTING_3D: settings.reconstruction_deadline_s,
        State.POST_PROCESSING: settings.postprocess_deadline_s,
    }
    artifacts = ArtifactStore(settings.data_dir)
    return {
        stage: kind(
            pool=stage_pools[stage], artifacts=artifacts, deadline_s=deadlines_s[stage] or settings.stage_deadline_s
        )
        for stage, kind in kinds.items()
    }


def create_app(settings: Settings, *, store: JobStore | None = None) -> FastAPI:
    """The API; `store` replaces Redis, in one process."""
    jobs_store = store or RedisStore(settings.redis_url)
    http = http_client()
    stage_pools = pools(settings, http)
    artifacts = ArtifactStore(settings.data_dir)
    slots: Slots = RedisSlots(jobs_store.wire) if isinstance(jobs_store, RedisStore) else MemorySlots()
    engines = Engines(stage_pools, slots)
    jobs = Jobs(jobs_store, engines, artifacts, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Door | Desk]]:
        artifacts.prepare()
        sweeping = asyncio.create_task(asyncio.to_thread(artifacts.sweep))
        yield {"door": Door(jobs, settings), "desk": Desk(jobs_store, slots, stage_pools, settings)}
        await sweeping
        await jobs_store.close()
        await http.aclose()

    app = new_app(
        "scratch-3d",
        VERSION,
        lifespan=lifespan,
        max_upload_bytes=settings.upload_limit_mb * 2**20,
        json_limits={"/3d/from-image": min(MAX_DATA_URI + 2**20, settings.upload_limit_mb * 2**20)},
    )
    app.add_middleware(StreamsOutside)
    app.include_router(api.router)
    app.include_router(files.router)
    app.include_router(operations.router)
    app.include_router(health_router(_checks(jobs_store, engines)))
    _serve_page(app, settings)
    _describe(app)
    return app


def _describe(app: FastAPI) -> None:
    """Add what bodies that are read by hand refer to, to the OpenAPI document."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        document = plain()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        for name, schema in api.COMPONENTS.items():
            schemas.setdefault(name, schema)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _checks(store: JobStore, engines: Engines) -> dict[str, Check]:
    async def redis() -> str:
        try:
            await store.ping()
        except ServiceError as error:
            return error.detail
        return "ok"

    def service(stage: State, pool: Pool) -> Check:
        async def check() -> str:
            words = await asyncio.gather(*(pool.client.ready(url) for url in await engines.urls(stage)))
            return "ok" if "ok" in words else next(iter(words), "no replica is configured or has announced itself")

        return check

    return {"redis": redis, **{pool.name: service(stage, pool) for stage, pool in engines.pools.items()}}


def _serve_page(app: FastAPI, settings: Settings) -> None:
    if settings.ui_dir is None:
        return
    app.mount("/3d-test", StaticFiles(directory=settings.ui_dir, html=True), name="ui")

    @app.get("/", include_in_schema=False)
    async def root() -> RedirectResponse:
        return RedirectResponse("/3d-test/")


async def run_worker(settings: Settings) -> None:
    """The worker, until SIGTERM or SIGINT; then its jobs are handed back."""
    if settings.worker_metrics_port:
        start_http_server(settings.worker_metrics_port)
    store = RedisStore(settings.redis_url)
    slots = RedisSlots(store.wire, lease_s=settings.lease_s)
    async with http_client() as http:
        stage_pools = pools(settings, http)
        worker = Worker(store, slots, steps(stage_pools, settings), settings, stage_pools)
        work = asyncio.create_task(worker.work())
        told_to_stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
        stopping = asyncio.create_task(told_to_stop.wait())
        await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await stopped(work)
    await store.close()
