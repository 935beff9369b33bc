"""The public face: what a person asks of the orchestrator, and what it answers."""

import unicodedata
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from .engines import Seed
from .meshes import MeshFormat
from .problems import Problem
from .values import Request, Value
from .views import ViewName


class State(StrEnum):
    """States of a job; the values are a contract, on the wire and in Redis."""

    QUEUED = "queued"
    GENERATING_IMAGES = "generating_images"
    RECONSTRUCTING_3D = "reconstructing_3d"
    POST_PROCESSING = "post_processing"
    COMPLETED = "completed"
    FAILED = "failed"


FINAL_STATES = frozenset({State.COMPLETED, State.FAILED})

#: The percentage at which each state begins, so that a client can show progress within a stage. Shares measured on the
#: CPU mesh, 2026-11: views 25 %, reconstruction 10 %, files 64 % of a job.
PROGRESS_AT = {
    State.QUEUED: 0,
    State.GENERATING_IMAGES: 2,
    State.RECONSTRUCTING_3D: 27,
    State.POST_PROCESSING: 37,
    State.COMPLETED: 100,
}


def _clean_prompt(prompt: str) -> str:
    """NFC, no control or surrogate characters but newline, something left after trimming."""
    normal = unicodedata.normalize("NFC", prompt).strip()
    if any(unicodedata.category(c) in {"Cc", "Cs"} and c != "\n" for c in normal):
        raise ValueError("contains control characters; only newlines are allowed")
    if not 1 <= len(normal) <= 2000:
        raise ValueError(f"must have 1 to 2000 characters, has {len(normal)}")
    return normal


# The raw limit stops absurd bodies before normalisation; NFC can only shorten to a third.
Prompt = Annotated[
    str,
    StringConstraints(max_length=6000),
    AfterValidator(_clean_prompt),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 2000, "pattern": r"\S"}),
]
EngineName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.\-]{0,63}$")]
#: A picture of 20 MB as base64, and its prefix.
MAX_DATA_URI = 27_000_000
Labels = Annotated[
    dict[Annotated[str, StringConstraints(max_length=63)], Annotated[str, StringConstraints(max_length=255)]],
    Field(max_length=16),
]
Tier = Literal["auto", "fast", "standard", "balanced", "high", "quality"]


class JobOptions(Request):
    """Options that every kind of job shares."""

    output_format: MeshFormat = "glb"
    quality_tier: Tier = "standard"
    seed: Seed | None = None
    views: Annotated[int, Field(ge=1, le=16)] | None = None
    engine: EngineName = "auto"
    #: Options of the reconstruction engine, as its row in `/3d/engines` describes them; for a named engine only.
    engine_options: Annotated[dict[str, JsonValue], Field(max_length=16)] = Field(default_factory=dict)
    postprocess_engine: EngineName = "auto"
    target_faces: Annotated[int, Field(ge=100, le=2_000_000)] | None = None
    texture: bool = True
    postprocess: bool = True
    webhook_url: Annotated[str, StringConstraints(max_length=2048)] | None = None
    labels: Labels = Field(default_factory=dict)


class GenerateRequest(JobOptions):
    """`POST /3d/generate`."""

    prompt: Prompt
    image_engine: EngineName = "auto"
    style: Annotated[str, StringConstraints(max_length=64)] | None = None


PathText = Annotated[str, StringConstraints(min_length=1, max_length=512)]
UrlText = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_DATA_URI),
    # The limit is for pictures in the text; in the description it would only ask for texts of that length.
    WithJsonSchema(
        {"type": "string", "minLength": 1, "pattern": "^([hH][tT][tT][pP][sS]?://|[dD][aA][tT][aA]:image/)"}
    ),
]


class _Placed(Request):
    view: ViewName | None = None
    azimuth_deg: Annotated[float, Field(ge=-360, le=360)] | None = None
    elevation_deg: Annotated[float, Field(ge=-90, le=90)] | None = None


class ImagePath(_Placed):
    """A picture under the inputs volume: `x.png`, `inputs/x.png` or `/inputs/x.png`."""

    path: PathText


class ImageUrl(_Placed):
    """A picture on the public web (http, https), or in the request itself (`data:` with base64)."""

    url: UrlText


class FromImageRequest(JobOptions):
    """`POST /3d/from-image`: exactly one of the two lists; a text is what its list says."""

    image_paths: Annotated[tuple[ImagePath | ImageUrl | PathText, ...], Field(max_length=16)] = ()
    image_urls: Annotated[tuple[ImageUrl | ImagePath | UrlText, ...], Field(max_length=16)] = ()
    matting_engine: EngineName = "auto"

    @model_validator(mode="after")
    def _one_list(self) -> "FromImageRequest":
        if bool(self.image_paths) == bool(self.image_urls):
            raise ValueError("give exactly one of image_paths and image_urls, with at least one picture")
        return self


class BatchRequest(Request):
    """`POST /3d/batch`: prompts and pictures by path or URL; all are accepted, or none."""

    requests: Annotated[tuple[GenerateRequest | FromImageRequest, ...], Field(min_length=1, max_length=100)]

    @model_validator(mode="before")
    @classmethod
    def _kinds(cls, given: Any) -> Any:
        """Each request by what it has, so that errors speak of the one kind that was meant."""
        items = given.get("requests") if isinstance(given, dict) else None
        if not isinstance(items, list) or not 1 <= len(items) <= 100:
            return given
        made, errors = list[Any](), list[InitErrorDetails]()
        for number, item in enumerate(items):
            pictures = isinstance(item, dict) and not item.keys().isdisjoint({"image_urls", "image_paths"})
            try:
                made.append((FromImageRequest if pictures else GenerateRequest).model_validate(item))
            except ValidationError as error:
                errors += [_placed(one, "requests", number) for one in error.errors()]
        if errors:
            raise ValidationError.from_exception_data(cls.__name__, errors)
        return {**given, "requests": tuple(made)}


def _placed(error: ErrorDetails, *where: str | int) -> InitErrorDetails:
    """An error of an item as one of the list it stands in."""
    kind = PydanticCustomError("value_error", "{reason}", {"reason": error["msg"].removeprefix("Value error, ")})
    return InitErrorDetails(type=kind, loc=(*where, *error["loc"]), input=None)


class BatchAccepted(Value):
    """202: all jobs are kept, in the order of the requests."""

    jobs: tuple["JobAccepted", ...]


class ReplayRequest(Request):
    """`POST /3d/jobs/{id}/replay`: a new job that goes on from a kept stage, with any of these changed."""

    from_stage: Annotated[
        Literal["generating_images", "reconstructing_3d", "post_processing"],
        Field(alias="from", description="the first stage that runs again"),
    ]
    prompt: Prompt | None = None
    style: Annotated[str, StringConstraints(max_length=64)] | None = None
    image_engine: EngineName | None = None
    matting_engine: EngineName | None = None
    views: Annotated[int, Field(ge=1, le=16)] | None = None
    seed: Seed | None = None
    engine: EngineName | None = None
    engine_options: Annotated[dict[str, JsonValue], Field(max_length=16)] | None = None
    quality_tier: Tier | None = None
    output_format: MeshFormat | None = None
    postprocess_engine: EngineName | None = None
    target_faces: Annotated[int, Field(ge=100, le=2_000_000)] | None = None
    texture: bool | None = None
    postprocess: bool | None = None
    webhook_url: Annotated[str, StringConstraints(max_length=2048)] | None = None
    labels: Labels | None = None

    @property
    def changes(self) -> dict[str, JsonValue]:
        """What was given, and only that."""
        given = self.model_dump(mode="json", exclude_unset=True)
        return {name: value for name, value in given.items() if name != "from_stage"}


class JobAccepted(Value):
    """202: the job is kept and will end."""

    job_id: str
    status_url: str


class StageStatus(Value):
    """One stage as it went."""

    stage: State
    engine: str | None = None
    engine_version: str | None = None
    skipped: bool = False
    duration_s: float | None = None


class OutputStatus(Value):
    """One file that can be fetched."""

    name: str
    role: str
    format: str
    media_type: str
    size_bytes: int
    sha256: str
    url: str


class JobStatus(Value):
    """`GET /3d/status/{job_id}`."""

    job_id: str
    kind: str
    state: State
    message: str
    progress: int
    stage: State | None = None
    phase: str | None = None
    queue_position: int | None = None
    #: seconds until the job is likely done, from how long its stages took lately; absent while nothing is known
    eta_s: float | None = None
    attempt: int = 0
    warnings: tuple[str, ...] = ()
    stages: tuple[StageStatus, ...] = ()
    engines: dict[str, str] = Field(default_factory=dict)
    asset_path: str | None = None
    download_url: str | None = None
    preview_url: str | None = None
    outputs: tuple[OutputStatus, ...] = ()
    problem: Problem | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    parent: str | None = None
    request: dict[str, JsonValue] = Field(default_factory=dict)
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None


class JobPage(Value):
    """`GET /3d/jobs`, newest first."""

    jobs: tuple[JobStatus, ...]
    next_cursor: str | None = None


class JobEvent(Value):
    """One entry of a job's history, and the body of one server-sent event."""

    id: str
    type: Literal[
        "submitted", "claimed", "progress", "stage", "skipped", "requeued", "waiting", "resumed", "completed", "failed"
    ]
    job_id: str
    state: State
    progress: int
    message: str
    phase: str | None = None
    at: float

    @cached_property
    def as_sse(self) -> bytes:
        """The event as a server-sent event, made once for all who listen."""
        return (
            f"id: {self.id}\r\nevent: {self.type}\r\ndata: {self.model_dump_json(exclude_none=True)}\r\n\r\n".encode()
        )


class Readiness(Value):
    """`GET /ready`: each dependency by name, and why one is not ready."""

    ready: bool
    dependencies: dict[str, str]
