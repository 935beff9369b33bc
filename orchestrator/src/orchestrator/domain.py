"""The job and its road: pure values and functions.

    queued → generating_images → reconstructing_3d → post_processing → completed
       └──────────────┴──────────────────┴──────────────────┴────────→ failed

The road is always walked state by state. A stage whose result is kept already is walked through, not run again, so
resume, replay, rescale and convert are one thing: start with some results kept.
"""

from itertools import pairwise
from typing import Any, TypeVar

from pydantic import BaseModel, Field, JsonValue

from scratch3d.contracts.artifacts import ArtifactRef
from scratch3d.contracts.jobs import FINAL_STATES, PROGRESS_AT, State
from scratch3d.contracts.meshes import OutputFile
from scratch3d.contracts.problems import Problem
from scratch3d.contracts.values import Value

Asked = TypeVar("Asked", bound=BaseModel)
ROAD = (State.QUEUED, State.GENERATING_IMAGES, State.RECONSTRUCTING_3D, State.POST_PROCESSING, State.COMPLETED)
NEXT = {here: frozenset({there, State.FAILED}) for here, there in pairwise(ROAD)}
STAGES = ROAD[1:-1]
MESSAGES = {
    State.QUEUED: "Waiting for a worker",
    State.GENERATING_IMAGES: "Making views",
    State.RECONSTRUCTING_3D: "Reconstructing the mesh",
    State.POST_PROCESSING: "Finishing the files",
    State.COMPLETED: "Done",
}
TAKEN_BACK = "Taken back; waiting for a worker"
SCHEMA = 1


class IllegalTransition(Exception):
    """The job cannot go there from where it stands."""


class StageResult(Value):
    """What a stage left: references, never paths or bytes."""

    engine: str
    engine_version: str
    inputs_sha256: str
    artifacts: tuple[ArtifactRef, ...] = ()
    warnings: tuple[str, ...] = ()
    started_at: float
    duration_s: float
    skipped: bool = False
    #: The service's own result value, for the stages behind.
    value: dict[str, JsonValue] = Field(default_factory=dict)


class Plan(Value):
    """What submission decided, so that the same job always takes the same steps."""

    seed: int
    resolution: int
    target_faces: int
    view_set: str | None = None
    picture_px: int = 512
    image_engine: str = ""
    reconstruction_engine: str
    postprocess_engine: str


class Job(Value):
    """One job, as it is kept. Frozen: every change makes a new one with a higher version."""

    id: str
    schema_version: int = SCHEMA
    owner: str
    #: what asks: `generate` or `from_image`
    kind: str
    #: the request as it was accepted
    request: dict[str, JsonValue]
    plan: Plan
    state: State = State.QUEUED
    message: str = MESSAGES[State.QUEUED]
    progress: int = 0
    phase: str | None = None
    #: stages behind this one are walked through without running
    until: State | None = None
    #: set while a person is asked; the lease is dropped meanwhile
    waiting_for: str | None = None
    #: how often a worker took the job up; part of every file name it writes
    attempt: int = 0
    #: how often a worker fell silent while it held the job; polite returns do not count
    losses: int = 0
    #: the present holder's secret; empty when nobody works on it
    token: str = ""
    version: int = 0
    results: dict[State, StageResult] = Field(default_factory=dict)
    outputs: tuple[OutputFile, ...] = ()
    problem: Problem | None = None
    parent: str | None = None
    created_at: float
    #: when a worker took it up for the first time, and for the last; both by the store's clock
    started_at: float | None = None
    claimed_at: float | None = None
    finished_at: float | None = None

    @property
    def is_final(self) -> bool:
        """Completed or failed: nothing will change any more."""
        return self.state in FINAL_STATES

    @property
    def asset(self) -> OutputFile | None:
        """The primary output."""
        return next((output for output in self.outputs if output.primary), None)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings of all stages, in order, each once."""
        found = [w for stage in STAGES if stage in self.results for w in self.results[stage].warnings]
        return tuple(dict.fromkeys(found))

    def remaining(self) -> tuple[State, ...]:
        """Stages still to walk, the present one first."""
        return STAGES[STAGES.index(self.state) :] if self.state in STAGES else ()

    def evolve(self, **changes: Any) -> "Job":
        """A copy with the next version."""
        return self.model_copy(update={"version": self.version + 1, **changes})


def claimed(job: Job, token: str, now: float) -> Job:
    """A worker takes the job up; a queued one enters the first stage, any other goes on where it stood."""
    if job.is_final or job.token or job.waiting_for:
        raise IllegalTransition(f"a job that is {job.state}, held or waiting cannot be claimed")
    state = State.GENERATING_IMAGES if job.state is State.QUEUED else job.state
    return job.evolve(
        state=state,
        token=token,
        attempt=job.attempt + 1,
        started_at=job.started_at or now,
        claimed_at=now,
        **_at(state, job),
    )


def advanced(job: Job, result: StageResult, now: float) -> Job:
    """Keep the present stage's result and enter the next state."""
    if job.state not in STAGES:
        raise IllegalTransition(f"a job that is {job.state} has no stage to finish")
    following = ROAD[ROAD.index(job.state) + 1]
    results = {**job.results, job.state: result}
    if following is not State.COMPLETED:
        return job.evolve(state=following, results=results, **_at(following, job))
    outputs = _outputs(results)
    return job.evolve(
        state=following, results=results, outputs=outputs, token="", finished_at=now, **_at(following, job)
    )


def failed(job: Job, problem: Problem, now: float) -> Job:
    """The job ends; cancel is a failure with code `cancelled`."""
    if job.is_final:
        raise IllegalTransition(f"a job that is {job.state} stays so")
    stage = job.state.value if job.state in STAGES else None
    whole = problem.model_copy(update={"job_id": job.id, "stage": problem.stage or stage})
    return job.evolve(
        state=State.FAILED,
        problem=whole,
        message=problem.detail,
        phase=None,
        token="",
        waiting_for=None,
        finished_at=now,
    )


def requeued(job: Job, *, lost: bool = False) -> Job:
    """Nobody holds the job any more; it goes on where it stands when the next worker takes it up."""
    if job.is_final or not job.token:
        raise IllegalTransition(f"a job that is {job.state} and not held cannot be handed back")
    return job.evolve(token="", phase=None, losses=job.losses + lost, message=TAKEN_BACK)


def waiting(job: Job, reason: str) -> Job:
    """A person is asked: nobody holds the job, no stage clock runs, and it is not in the queue."""
    if job.is_final or not job.token:
        raise IllegalTransition(f"a job that is {job.state} and not held cannot wait")
    return job.evolve(token="", waiting_for=reason, phase=None, message=f"Waiting for {reason}")


def resumed(job: Job) -> Job:
    """The person has answered; the job goes on where it stands when the next worker takes it up."""
    if job.is_final or not job.waiting_for:
        raise IllegalTransition(f"a job that is {job.state} does not wait for anybody")
    return job.evolve(waiting_for=None, message="Waiting for a worker")


def asked(kind: type[Asked], job: Job) -> Asked:
    """The request of a job, as far as this release knows its fields: a later one may have accepted it."""
    return kind.model_validate({name: value for name, value in job.request.items() if name in kind.model_fields})


def left_out(job: Job, stage: State) -> bool:
    """The stage lies behind `until`: it is walked through without running."""
    return job.until is not None and ROAD.index(stage) > ROAD.index(job.until)


def told_as(following: Job, result: StageResult) -> str:
    """The kind of event that an advance is."""
    if following.state is State.COMPLETED:
        return "completed"
    return "skipped" if result.skipped else "stage"


def event_of(job: Job, kind: str) -> dict[str, Any]:
    """The history entry of the job's last change; the store gives it its id and time."""
    return {
        "type": kind,
        "state": job.state.value,
        "progress": job.progress,
        "message": job.message,
        "phase": job.phase,
    }


def _at(state: State, job: Job) -> dict[str, Any]:
    return {"message": MESSAGES[state], "progress": max(job.progress, PROGRESS_AT[state]), "phase": None}


def _outputs(results: dict[State, StageResult]) -> tuple[OutputFile, ...]:
    last = results[State.POST_PROCESSING].value
    outputs = [OutputFile.model_validate(o) for o in _list(last.get("outputs"))]
    images = results[State.GENERATING_IMAGES].value
    for view in _list(images.get("views")):
        ref = ArtifactRef.model_validate(view["ref"])
        # A job that ends with its views has the first of them as its asset.
        outputs.append(OutputFile(name=f"views/{ref.name}", role="view", format="png", ref=ref, primary=not outputs))
    if images.get("scene"):
        scene = ArtifactRef.model_validate(images["scene"])
        outputs.append(OutputFile(name="scene.glb", role="scene", format="glb", ref=scene))
    mesh = results[State.RECONSTRUCTING_3D].value.get("mesh")
    if mesh:
        outputs.append(OutputFile(name="raw.glb", role="raw_mesh", format="glb", ref=ArtifactRef.model_validate(mesh)))
    return tuple(outputs)


def _list(value: JsonValue) -> list[Any]:
    return value if isinstance(value, list) else []
