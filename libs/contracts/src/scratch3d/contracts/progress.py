"""Lines of a streamed stage call (`Accept: application/x-ndjson`)."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue, TypeAdapter

from .problems import Problem
from .values import Value

NDJSON_MEDIA_TYPE = "application/x-ndjson"


class ProgressLine(Value):
    """Work goes on; also the heartbeat, at least every 2 s."""

    type: Literal["progress"] = "progress"
    fraction: Annotated[float, Field(ge=0, le=1)]
    phase: str


class ResultLine(Value):
    """The last line of work that ended well."""

    type: Literal["result"] = "result"
    result: dict[str, JsonValue]


class ProblemLine(Value):
    """The last line of work that failed."""

    type: Literal["problem"] = "problem"
    problem: Problem


Line = Annotated[ProgressLine | ResultLine | ProblemLine, Field(discriminator="type")]
LINE: TypeAdapter[Line] = TypeAdapter(Line)
