"""A new job that goes on from another one: what it asks for, what it keeps, and whose files it takes along.

Nothing is shared between jobs: kept files get a second name in the heir's folders, so that either can be deleted.
"""

import json
import uuid
from collections.abc import Mapping

from pydantic import JsonValue, ValidationError

from scratch3d.contracts.jobs import FromImageRequest, GenerateRequest, JobOptions, State
from scratch3d.servicekit.app import validation_problem
from scratch3d.servicekit.artifacts import ArtifactStore
from scratch3d.servicekit.errors import Conflict, Unprocessable

from .domain import STAGES, Job, StageResult
from .errors import NotKept

#: What only the stage and those behind it read: changing anything else needs a replay from an earlier stage.
_POST = frozenset({"output_format", "target_faces", "texture", "postprocess", "postprocess_engine"})
_LATE = {
    State.POST_PROCESSING: _POST,
    State.RECONSTRUCTING_3D: _POST | {"engine", "engine_options", "quality_tier"},
}
_ANYWHERE = frozenset({"labels", "webhook_url"})


def for_retry(parent: Job) -> dict[State, StageResult]:
    """The results that a second try keeps; Conflict when there is nothing to try again."""
    if parent.state is not State.FAILED:
        raise Conflict(f"the job is {parent.state.value}: only a failed one can be retried", code="not_failed")
    return dict(parent.results)


def for_replay(parent: Job, stage: State, changes: Mapping[str, JsonValue]) -> dict[State, StageResult]:
    """The results before `stage`; NotKept when one is missing, Unprocessable for a change that they contradict."""
    before = STAGES[: STAGES.index(stage)]
    for needed in before:
        if needed not in parent.results or not parent.results[needed].engine:
            raise NotKept(f"the job has no result of {needed.value} to go on from; replay it from there")
    allowed = _LATE.get(stage)
    for name in changes:
        if allowed is not None and name not in allowed | _ANYWHERE:
            earlier = next((s for s in reversed(STAGES) if name in _LATE.get(s, ())), STAGES[0])
            raise Unprocessable(f"changes what comes before {stage.value}: replay from {earlier.value}", field=name)
    return {needed: parent.results[needed] for needed in before}


def changed_request(parent: Job, changes: Mapping[str, JsonValue]) -> GenerateRequest | FromImageRequest:
    """The parent's request with some fields changed; refused as a submission would be."""
    kind = GenerateRequest if parent.kind == "generate" else FromImageRequest
    try:
        kept = {name: value for name, value in parent.request.items() if name in kind.model_fields}
        return kind.model_validate({"seed": parent.plan.seed, **kept, **changes})
    except ValidationError as error:
        problem = validation_problem(error.errors())
        raise Unprocessable(problem.detail, code=problem.code, field=problem.errors[0].field) from None


def as_asked(request: JobOptions) -> dict[str, JsonValue]:
    """A request as a job keeps it."""
    asked: dict[str, JsonValue] = request.model_dump(mode="json", exclude_defaults=True)
    return asked


def inherit(parent: Job, heir: Job, artifacts: ArtifactStore) -> Job:
    """The heir with the files of its kept results, and the pictures it was given, in its own folders."""
    for result in heir.results.values():
        for ref in result.artifacts:
            artifacts.duplicate(ref.key, _renamed(ref.key, parent, heir), link=True)
    for key in _given(heir.request, parent.id):
        # Given pictures are refused when they have a second name: these are copied.
        artifacts.duplicate(key, _renamed(key, parent, heir), link=False)
    mine = {"results": {state.value: r.model_dump(mode="json") for state, r in heir.results.items()}}
    text = json.dumps({"request": heir.request, **mine})
    return Job.model_validate({**heir.model_dump(), **json.loads(_renamed(text, parent, heir))})


def new_id() -> str:
    """An id that nobody can guess."""
    return str(uuid.uuid4())


def _renamed(text: str, parent: Job, heir: Job) -> str:
    return text.replace(f"/{parent.id}/", f"/{heir.id}/")


def _given(request: Mapping[str, JsonValue], parent_id: str) -> list[str]:
    """Keys of pictures that were uploaded for the parent."""
    found = []
    for name in ("image_paths", "image_urls"):
        items = request.get(name)
        for item in items if isinstance(items, list) else ():
            path = item.get("path") if isinstance(item, dict) else item
            if isinstance(path, str) and path.lstrip("/").startswith(f"inputs/{parent_id}/"):
                found.append(path.lstrip("/"))
    return found
