"""Routes of reconstruction-service."""

from fastapi import APIRouter, Request, Response

from scratch3d.contracts.meshes import ReconstructRequest, ReconstructResult
from scratch3d.servicekit.app import STAGE_PROBLEMS, answer_stage_call
from scratch3d.servicekit.registry import RunnersDep

router = APIRouter()


@router.post("/reconstruct/mesh", response_model=ReconstructResult, responses=STAGE_PROBLEMS, summary="Views to a mesh")
async def reconstruct(request: Request, wish: ReconstructRequest, runners: RunnersDep) -> Response:
    """Streams NDJSON when the caller accepts it."""
    return await answer_stage_call(request, runners.choose(wish.engine), wish)
