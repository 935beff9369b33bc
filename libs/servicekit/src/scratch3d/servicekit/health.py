"""Liveness and readiness."""

from collections.abc import Awaitable, Callable, Mapping

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from scratch3d.contracts.jobs import Readiness

#: Answers "ok", or says why the dependency is not ready.
Check = Callable[[], Awaitable[str]]


def health_router(checks: Mapping[str, Check]) -> APIRouter:
    """`/health`: this process answers. `/ready`: everything it needs does."""
    router = APIRouter(tags=["operations"])

    @router.get("/health", summary="Is the process alive?")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/ready", response_model=Readiness, responses={503: {"model": Readiness}}, summary="Can it work?")
    async def ready() -> JSONResponse:
        found = {name: await check() for name, check in checks.items()}
        everything = all(word == "ok" for word in found.values())
        body = Readiness(ready=everything, dependencies=found).model_dump()
        return JSONResponse(body, status_code=200 if everything else 503)

    return router
