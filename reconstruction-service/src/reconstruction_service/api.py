"""Routes of reconstruction-service."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from scratch3d.contracts.engines import EngineList
from scratch3d.contracts.meshes import ReconstructRequest, ReconstructResult
from scratch3d.contracts.problems import Problem
from scratch3d.servicekit import registry
from scratch3d.servicekit.app import answer_stage_call
from scratch3d.servicekit.errors import NotAvailable
from scratch3d.servicekit.runner import Runner

from .engines import GROUP
from .settings import Settings

router = APIRouter()
PROBLEMS: dict[int | str, dict[str, object]] = {
    422: {"model": Problem, "description": "A field cannot be used"},
    429: {"model": Problem, "description": "Busy; see Retry-After"},
    503: {"model": Problem, "description": "The engine is not loaded"},
}


class State:
    """Resources of this process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.runners: dict[str, Runner] = {}

    def runner(self, engine: str) -> Runner:
        """The runner of an engine; NotAvailable for one that does not run here."""
        name = registry.choose(GROUP, engine, self.settings.reconstruction_engines)
        if name not in self.runners:
            raise NotAvailable(f"engine {name!r} is not switched on here (RECONSTRUCTION_ENGINES)", field="engine")
        return self.runners[name]


def state_of(request: Request) -> State:
    """The state made by the application's lifespan."""
    state: State = request.state.service
    return state


Service = Annotated[State, Depends(state_of)]


@router.get("/engines", response_model=EngineList, summary="Engines, in order of preference")
def engines(state: Service) -> EngineList:
    """What each engine is, and why one is not available."""
    return EngineList(engines=registry.cards(GROUP, state.settings.reconstruction_engines))


@router.post("/reconstruct/mesh", response_model=ReconstructResult, responses=PROBLEMS, summary="Views to a mesh")
async def reconstruct(request: Request, wish: ReconstructRequest, state: Service) -> Response:
    """Streams NDJSON when the caller accepts it."""
    return await answer_stage_call(request, state.runner(wish.engine), wish)
