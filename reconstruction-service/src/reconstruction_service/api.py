"""Routes of reconstruction-service."""

from fastapi import APIRouter, Request, Response

from scratch3d.contracts.meshes import ReconstructRequest, ReconstructResult
from scratch3d.contracts.views import VIEW_AXES
from scratch3d.servicekit.app import STAGE_PROBLEMS, answer_stage_call
from scratch3d.servicekit.registry import RunnersDep

from .work import RING

router = APIRouter()


@router.post("/reconstruct/mesh", response_model=ReconstructResult, responses=STAGE_PROBLEMS, summary="Views to a mesh")
async def reconstruct(request: Request, wish: ReconstructRequest, runners: RunnersDep) -> Response:
    """Streams NDJSON when the caller accepts it."""
    kind, count = _offer(wish)
    runner = runners.choose(wish.engine, lambda card: kind in card.inputs and count >= card.min_views)
    return await answer_stage_call(request, runner, wish)


def _offer(wish: ReconstructRequest) -> tuple[str, int]:
    """What the views are to an engine (a word of `EngineCard.inputs`), and how many."""
    names = [view.name for view in wish.views] or list(RING[: len(wish.image_paths)])
    if len(wish.views) > 1 and all(view.calibrated for view in wish.views):
        return "calibrated_views", len(names)
    axes = {VIEW_AXES.get(name, name) for name in names}
    return ("named_views", len(names)) if len(axes) > 1 else ("picture", 1)
