"""A job as a Redis hash, and events as texts."""

from collections.abc import Callable
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

from scratch3d.contracts.jobs import JobEvent, State
from scratch3d.contracts.meshes import OutputFile
from scratch3d.servicekit.logging import get_logger

from .domain import Job, StageResult

log = get_logger("jobs")

_JSON_FIELDS = {"request", "plan", "results", "outputs", "problem", "engines", "warnings"}
_TIME_FIELDS = {"created_at", "started_at", "finished_at", "claimed_at"}
_RESULTS = TypeAdapter(dict[State, StageResult])
_OUTPUTS = TypeAdapter(tuple[OutputFile, ...])
#: Present from the beginning: scripts of every release compare them, and people read them.
_ALWAYS = {"token", "waiting_for", "progress", "version", "state", "message"}
#: What follows from a field, for people who read the hash.
_DERIVED: dict[str, Callable[[Job], dict[str, str]]] = {
    "state": lambda job: {"stage": job.state.value if job.remaining() else ""},
    "outputs": lambda job: {"asset_path": job.asset.ref.public_path if job.asset else ""},
    "problem": lambda job: {"error_code": job.problem.code if job.problem else ""},
    "results": lambda job: {
        "engines": to_json({stage.value: result.engine for stage, result in job.results.items()}).decode(),
        "warnings": to_json(job.warnings).decode(),
    },
}
#: What a field is unless somebody says otherwise; None for those that somebody always does.
_DEFAULTS: dict[str, Any] = {
    name: None if described.is_required() else described.get_default(call_default_factory=True)
    for name, described in Job.model_fields.items()
    if name != "schema_version"
}


def new_fields(job: Job) -> dict[str, str]:
    """The hash of a job that was never kept before; what is empty is left out."""
    fields = {"schema": str(job.schema_version), "asset_path": ""}
    for name, default in _DEFAULTS.items():
        value = getattr(job, name)
        if name in _ALWAYS or value != default:
            fields[name] = _text(name, value)
            derived = _DERIVED[name](job) if name in _DERIVED else {}
            fields.update({key: text for key, text in derived.items() if text})
    return fields


def changed_fields(job: Job, following: Job) -> dict[str, str]:
    """The fields in which two versions of a job differ.

    Heartbeats note progress and phase without the holder's copy knowing: both are always written.
    """
    fields = {"phase": following.phase or "", "progress": str(following.progress)}
    for name in Job.model_fields:
        value = getattr(following, name)
        if value is not getattr(job, name):
            fields[name] = _text(name, value)
            fields.update(_DERIVED[name](following) if name in _DERIVED else {})
    return fields


def from_fields(fields: dict[str, str]) -> Job:
    """The job of a hash; fields we do not know are left alone."""
    document: dict[str, Any] = {"schema_version": fields.get("schema", "1")}
    for name in Job.model_fields.keys() & fields.keys():
        text = fields[name]
        if text != "" or name == "token":
            document[name] = from_json(text) if name in _JSON_FIELDS else text
    return Job.model_validate(document)


def event_text(event: dict[str, Any]) -> str:
    """An event as the store keeps it."""
    return to_json({name: value for name, value in event.items() if value is not None}).decode()


def read_event(job_id: str, entry_id: str, text: str) -> JobEvent | None:
    """An event as it was kept, its id carries the time; None for a kind that only a later release knows."""
    at = int(entry_id.split("-")[0]) / 1000
    try:
        return JobEvent.model_validate({**from_json(text), "id": entry_id, "job_id": job_id, "at": at})
    except ValueError as error:
        log.warning("event_not_understood", job_id=job_id, entry=entry_id, reason=str(error)[:200])
        return None


def _text(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name == "results":
        return _RESULTS.dump_json(value).decode()
    if name == "outputs":
        return _OUTPUTS.dump_json(value).decode()
    if name in {"plan", "problem"}:
        return str(value.model_dump_json(exclude_defaults=True))
    if name == "request":
        return to_json(value).decode()
    return repr(value) if name in _TIME_FIELDS else str(value)
