"""Routes of postprocess-service."""

from fastapi import APIRouter, Request, Response

from scratch3d.contracts.meshes import CleanRequest, CleanResult
from scratch3d.servicekit.app import STAGE_PROBLEMS, answer_stage_call
from scratch3d.servicekit.registry import RunnersDep

router = APIRouter()


@router.post("/postprocess/clean", response_model=CleanResult, responses=STAGE_PROBLEMS, summary="A mesh to files")
async def clean(request: Request, wish: CleanRequest, runners: RunnersDep) -> Response:
    """Streams NDJSON when the caller accepts it."""
    return await answer_stage_call(request, runners.choose(wish.engine), wish)
