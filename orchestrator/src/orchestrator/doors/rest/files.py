"""Routes that hand out files."""

import asyncio
import io
import zipfile
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse

from scratch3d.contracts.artifacts import ArtifactRef
from scratch3d.contracts.jobs import OutputStatus, State
from scratch3d.contracts.meshes import MeshFormat, OutputFile
from scratch3d.servicekit.artifacts import ArtifactStore
from scratch3d.servicekit.errors import NotAvailable, NotFound

from ...domain import Job
from ...errors import NotFinished
from .access import CallerDep
from .api import problems
from .protocol import output_status

router = APIRouter(prefix="/3d", tags=["files"])

#: Every file in a bundle carries this time, so that equal models are equal bundles.
_ZIP_TIME = (2020, 1, 1, 0, 0, 0)


@router.get(
    "/download/{job_id}",
    response_class=FileResponse,
    responses={200: {"content": {"model/gltf-binary": {}, "application/zip": {}}}, **problems(401, 404, 409, 422)},
    summary="The finished model",
)
async def download(
    request: Request,
    job_id: str,
    caller: CallerDep,
    form: Annotated[MeshFormat | None, Query(alias="format")] = None,
    bundle: bool = True,
) -> Response:
    """A format of several files comes as one zip; `bundle=false` gives the bare model file. Ranges and ETag work."""
    job = await caller.door.jobs.get(job_id, owner=caller.owner)
    asset = _asset(job)
    if form is not None and form != asset.format:
        raise NotAvailable(
            f"this job made {asset.format}; conversion is not available here: submit again with output_format",
            field="format",
        )
    companions = [output for output in job.outputs if output.role == "companion"]
    if not companions or not bundle:
        return _file(request, caller.door.jobs.artifacts, asset.ref, f"{job.id}.{asset.format}")
    content = await asyncio.to_thread(_bundle, caller.door.jobs.artifacts, [asset, *companions])
    headers = {"Content-Disposition": f'attachment; filename="{job.id}-{asset.format}.zip"', **_SAFE}
    return Response(content, media_type="application/zip", headers=headers)


@router.get(
    "/jobs/{job_id}/artifacts",
    response_model=list[OutputStatus],
    responses=problems(401, 404),
    summary="Every file of a job",
)
async def artifacts(job_id: str, caller: CallerDep) -> list[OutputStatus]:
    """The asset, its companions, preview, turntable, report, recipe, views and raw mesh."""
    job = await caller.door.jobs.get(job_id, owner=caller.owner)
    return [output_status(job.id, output, caller.door.links) for output in job.outputs]


@router.get(
    "/jobs/{job_id}/artifacts/{name:path}",
    response_class=FileResponse,
    responses=problems(401, 404),
    summary="One file of a job",
)
async def artifact(request: Request, job_id: str, name: str, caller: CallerDep) -> Response:
    """By the name that the list gives."""
    job = await caller.door.jobs.get(job_id, owner=caller.owner)
    found = next((output for output in job.outputs if output.name == name), None)
    if found is None:
        raise NotFound("the job has no file of this name; /3d/jobs/{id}/artifacts lists them")
    return _file(request, caller.door.jobs.artifacts, found.ref, found.ref.name, inline=True)


_SAFE = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'"}


def _asset(job: Job) -> OutputFile:
    if job.asset is None:
        why = job.problem.detail if job.problem else "watch its status until it is completed"
        raise NotFinished(
            f"the job is {job.state.value}: {why}", code=None if job.state is not State.FAILED else "failed"
        )
    return job.asset


def _file(request: Request, store: ArtifactStore, ref: ArtifactRef, name: str, *, inline: bool = False) -> Response:
    etag = f'"{ref.sha256}"'
    headers = {"ETag": etag, "Cache-Control": "private, max-age=31536000, immutable", **_SAFE}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return FileResponse(
        store.local(ref.key),
        media_type=ref.media_type,
        filename=name,
        content_disposition_type="inline" if inline else "attachment",
        headers=headers,
    )


def _bundle(store: ArtifactStore, outputs: list[OutputFile]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for output in outputs:
            archive.writestr(zipfile.ZipInfo(output.name, _ZIP_TIME), store.get(output.ref), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
