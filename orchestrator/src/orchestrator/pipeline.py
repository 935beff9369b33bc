"""The trip of a job, top to bottom."""

import asyncio
import hashlib
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from pydantic import BaseModel

from scratch3d.contracts.artifacts import ArtifactRef
from scratch3d.contracts.images import ImagineRequest, ImagineResult, PrepareRequest, SourceImage
from scratch3d.contracts.jobs import FromImageRequest, GenerateRequest, JobOptions, State
from scratch3d.contracts.meshes import CleanRequest, CleanResult, ReconstructRequest, ReconstructResult
from scratch3d.contracts.problems import Problem
from scratch3d.servicekit.artifacts import ArtifactStore
from scratch3d.servicekit.errors import ServiceError
from scratch3d.servicekit.logging import get_logger
from scratch3d.servicekit.metrics import STAGE_RETRIES
from scratch3d.slots import NoSlot

from .admission import sources_of
from .berth import Berth
from .domain import STAGES, Job, StageResult, asked, left_out
from .engines import Pool
from .errors import StageFailed
from .store import JobStore

R = TypeVar("R", ImagineResult, ReconstructResult, CleanResult)
#: Told the fraction of the present stage and its phase.
Progress = Callable[[float, str], None]

#: A failure that may pass is tried again this often; a busy or absent replica until the stage's deadline.
RETRIES = 2
WAITABLE = frozenset({"busy", "service_unreachable", "unavailable"})
#: After these a replica is left out until it answers again.
ILL = frozenset({"service_unreachable", "service_gone", "bad_reply", "unavailable", "engine_crashed", "out_of_memory"})
PAUSE_S, PAUSE_MAX_S = 0.5, 10.0

#: What a stage behind `until` leaves: nothing.
NOT_RUN = StageResult(engine="", engine_version="", inputs_sha256="", started_at=0.0, duration_s=0.0, skipped=True)

log = get_logger("pipeline")

_MAGIC = {"model/gltf-binary": b"glTF", "image/png": b"\x89PNG", "image/webp": b"RIFF"}


class Step(Protocol):
    """One stage: a job in, what the stage left out; StageFailed otherwise."""

    async def call(self, job: Job, progress: Progress, berth: Berth) -> StageResult:
        """Do the stage; doing it twice is harmless."""


async def run(job: Job, steps: Mapping[State, Step], store: JobStore, progress: Progress, berth: Berth) -> Job:
    """Walk one claimed job down the road from where it stands; any StageFailed is the worker's to record."""
    while stages := job.remaining():
        results = _walked_through(job, stages)
        if results:
            # What was asked for together with the claim is not needed.
            await berth.leave()
        else:
            made = await steps[stages[0]].call(job, progress, berth)
            results = [made, *_walked_through(job, stages[1:])]
        following = next(iter(stages[len(results) :]), None)
        job = await store.advance(job, *results, ride=berth.ride(following))
        berth.arrived()
    return job


def _walked_through(job: Job, stages: Sequence[State]) -> list[StageResult]:
    """Results of the first of these stages, as long as they need not run."""
    results = []
    for stage in stages:
        kept = job.results.get(stage)
        if kept:
            results.append(kept.model_copy(update={"skipped": True}))
        elif left_out(job, stage):
            results.append(NOT_RUN)
        else:
            break
    return results


@dataclass(frozen=True, kw_only=True)
class ServiceStep:
    """Shared by all steps: take a slot, call, retry what may pass, check what came."""

    pool: Pool
    artifacts: ArtifactStore
    deadline_s: float

    async def ask(
        self,
        job: Job,
        path: str,
        wish: BaseModel,
        answer: type[R],
        *,
        files: Callable[[R], Sequence[ArtifactRef]],
        progress: Progress,
        berth: Berth,
    ) -> StageResult:
        """What the service answered, its `files` checked; StageFailed otherwise."""
        started_at, began = time.time(), time.monotonic()
        digest = hashlib.sha256(wish.model_dump_json(exclude={"output_prefix"}).encode()).hexdigest()
        call = _Call(path=path, wish=wish, key=f"{job.id}:{job.state}:{digest}", job_id=job.id)
        trouble: list[Problem] = []
        try:
            async with asyncio.timeout(self.deadline_s):
                made = await self._persist(call, answer, progress, berth, trouble)
        except (TimeoutError, NoSlot):
            raise StageFailed(self._too_late(trouble)) from None
        refs = files(made)
        # Reading and hashing megabytes would hold up the heartbeats of every other job.
        await asyncio.to_thread(self.check, refs, job.id)
        return StageResult(
            engine=made.engine,
            engine_version=made.engine_version,
            inputs_sha256=digest,
            artifacts=tuple(refs),
            warnings=made.warnings,
            started_at=started_at,
            duration_s=round(time.monotonic() - began, 3),
            value=made.model_dump(mode="json"),
        )

    async def _persist(
        self, call: "_Call", answer: type[R], progress: Progress, berth: Berth, trouble: list[Problem]
    ) -> R:
        """Try again while it may help, on another replica first; `trouble` collects what went wrong."""
        failures, tried = 0, set[str]()
        while True:
            grant = await berth.take(self.pool, timeout_s=self.deadline_s, avoid=tried)
            try:
                return await self.pool.client.call(
                    grant.url + call.path, call.wish, answer, key=call.key, job_id=call.job_id, progress=progress
                )
            except StageFailed as failure:
                problem = failure.problem
                await berth.leave(well=problem.code not in ILL)
                failures += problem.code not in WAITABLE
                trouble.append(problem)
                if not problem.retryable or failures > RETRIES:
                    raise
            STAGE_RETRIES.labels(self.pool.name, problem.code).inc()
            log.info("stage_retried", service=self.pool.name, code=problem.code, url=grant.url)
            tried.add(grant.url)
            progress(0.0, f"waiting: {problem.code}")
            # Twice as long each time, and never in step with others who met the same trouble.
            pause = min(PAUSE_S * 2 ** max(0, failures - 1), PAUSE_MAX_S)
            await asyncio.sleep((problem.retry_after_s or pause) * random.uniform(0.8, 1.2))

    def check(self, refs: Sequence[ArtifactRef], job_id: str) -> None:
        """Every file is the job's own, there, whole, and begins as its kind begins; StageFailed otherwise."""
        for ref in refs:
            if ref.key.split("/")[1] != job_id:
                detail = f"{self.pool.name} answered with a file of another job"
                raise StageFailed(Problem(title="Bad artifact", status=502, code="bad_artifact", detail=detail))
            try:
                content = self.artifacts.get(ref)
            except ServiceError as error:
                raise StageFailed(error.problem()) from error
            if not content.startswith(_MAGIC.get(ref.media_type, b"")) or not content:
                detail = f"{ref.name} is not a {ref.media_type} file"
                raise StageFailed(Problem(title="Bad artifact", status=502, code="bad_artifact", detail=detail))

    def _too_late(self, trouble: Sequence[Problem]) -> Problem:
        detail = f"{self.pool.name} did not finish within {self.deadline_s:g} s"
        if trouble:
            detail += f"; its last trouble was {trouble[-1].code}: {trouble[-1].detail}"
        return Problem(title="Deadline exceeded", status=504, code="deadline_exceeded", detail=detail, retryable=True)


@dataclass(frozen=True, kw_only=True)
class _Call:
    """One stage call, the same however often it is tried."""

    path: str
    wish: BaseModel
    key: str
    job_id: str


class ImagesStep(ServiceStep):
    """Views from a prompt, or from given pictures."""

    async def call(self, job: Job, progress: Progress, berth: Berth) -> StageResult:
        """See Step."""
        prefix = f"inputs/{job.id}/{job.attempt}"
        wish: BaseModel
        if job.kind == "generate":
            request = asked(GenerateRequest, job)
            path = "/imagine/generate"
            wish = ImagineRequest(
                prompts=(request.prompt,),
                view_set=job.plan.view_set,
                seed=job.plan.seed,
                engine=job.plan.image_engine,
                style=request.style,
                output_prefix=prefix,
            )
        else:
            path = "/imagine/prepare"
            given = asked(FromImageRequest, job)
            wish = PrepareRequest(
                images=sources_of(given, job_id=job.id),
                size_px=job.plan.picture_px,
                matting_engine=given.matting_engine,
                output_prefix=prefix,
            )
        return await self.ask(job, path, wish, ImagineResult, files=_pictures, progress=progress, berth=berth)


def _pictures(made: ImagineResult) -> list[ArtifactRef]:
    refs = [view.ref for view in made.views] + [view.unlit_ref for view in made.views if view.unlit_ref]
    return refs + ([made.scene] if made.scene else []) + list(made.fetched)


class ReconstructStep(ServiceStep):
    """A mesh from views."""

    async def call(self, job: Job, progress: Progress, berth: Berth) -> StageResult:
        """See Step."""
        images = ImagineResult.model_validate(job.results[State.GENERATING_IMAGES].value)
        wish = ReconstructRequest(
            views=images.views,
            engine=job.plan.reconstruction_engine,
            resolution=job.plan.resolution,
            seed=job.plan.seed,
            options=_options_of(job).engine_options,
            output_prefix=f"outputs/{job.id}/{job.attempt}",
        )
        return await self.ask(
            job,
            "/reconstruct/mesh",
            wish,
            ReconstructResult,
            files=lambda made: [made.mesh],
            progress=progress,
            berth=berth,
        )


class PostprocessStep(ServiceStep):
    """Files from a mesh."""

    async def call(self, job: Job, progress: Progress, berth: Berth) -> StageResult:
        """See Step."""
        images = ImagineResult.model_validate(job.results[State.GENERATING_IMAGES].value)
        mesh = ReconstructResult.model_validate(job.results[State.RECONSTRUCTING_3D].value)
        options = _options_of(job)
        wish = CleanRequest(
            mesh=mesh.mesh,
            views=images.views,
            engine=job.plan.postprocess_engine,
            output_format=options.output_format,
            target_faces=job.plan.target_faces,
            texture=options.texture,
            postprocess=options.postprocess,
            output_prefix=f"outputs/{job.id}/{job.attempt}",
            recipe=recipe_of(job),
        )
        return await self.ask(
            job,
            "/postprocess/clean",
            wish,
            CleanResult,
            files=lambda made: [output.ref for output in made.outputs],
            progress=progress,
            berth=berth,
        )


def _without_job(source: SourceImage) -> dict[str, object]:
    told = source.model_dump(mode="json", exclude_none=True)
    return told | {"key": source.key.rsplit("/", 1)[-1]} if source.key else told


def _options_of(job: Job) -> JobOptions:
    return asked(GenerateRequest, job) if job.kind == "generate" else asked(FromImageRequest, job)


def recipe_of(job: Job) -> dict[str, object]:
    """All that is needed to make the model again; no job id and no time, so equal jobs have equal recipes."""
    request: dict[str, object] = {k: v for k, v in job.request.items() if k not in {"labels", "webhook_url"}}
    if job.kind == "from_image":
        given = asked(FromImageRequest, job)
        request["images"] = [_without_job(source) for source in sources_of(given, job_id=job.id)]
        request = {k: v for k, v in request.items() if k not in {"image_paths", "image_urls"}}
    stages = {
        stage.value: {
            "engine": result.engine,
            "engine_version": result.engine_version,
            "inputs": {ref.name: ref.sha256 for ref in result.artifacts},
        }
        for stage in STAGES
        if (result := job.results.get(stage))
    }
    return {"kind": job.kind, "request": request, "plan": job.plan.model_dump(mode="json"), "stages": stages}
