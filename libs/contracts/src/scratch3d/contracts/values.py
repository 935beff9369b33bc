"""The two base classes of every wire value."""

from pydantic import BaseModel, ConfigDict


class Request(BaseModel):
    """Something a caller asks for; an unknown field is an error, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Value(BaseModel):
    """Something we recorded or answer with; unknown fields are tolerated, so old and new processes can share a store."""

    model_config = ConfigDict(frozen=True, extra="ignore")
