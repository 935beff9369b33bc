"""Who asks: nobody in particular, or the holder of an API key."""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from scratch3d.servicekit.errors import Unauthorized

from ...jobs import Jobs
from ...settings import Settings
from .protocol import Links

#: Owner of every job while nobody has to say who he is.
ANYBODY = "anybody"


class Door:
    """Resources of the REST door."""

    def __init__(self, jobs: Jobs, settings: Settings) -> None:
        self.jobs, self.settings = jobs, settings
        self.links = Links(settings.public_url)
        self._keys = [key.strip() for key in settings.api_keys.get_secret_value().split(",") if key.strip()]

    def owner(self, request: Request) -> str:
        """The owner behind a request; Unauthorized without an accepted key."""
        if not self.settings.auth_required:
            return ANYBODY
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        given = given.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
        # Every key is compared, so that the time tells nothing.
        matches = [key for key in self._keys if hmac.compare_digest(key.encode(), given.encode())]
        if not matches:
            raise Unauthorized()
        return hashlib.sha256(matches[0].encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Caller:
    """Who asks, and the door he came by."""

    door: Door
    owner: str


async def caller_of(request: Request) -> Caller:
    """Dependency: the owner behind this request, at the door made by the application's lifespan."""
    # Asynchronous although it waits for nothing: FastAPI sends plain functions through a thread. One dependency for both:
    # each costs every request.
    door: Door = request.state.door
    return Caller(door, door.owner(request))


CallerDep = Annotated[Caller, Depends(caller_of)]
