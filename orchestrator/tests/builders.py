"""Values that tests start from."""

import uuid
from typing import Any

from orchestrator.domain import Job, Plan


def new_job(**more: Any) -> Job:
    """A queued job of `me`."""
    plan = Plan(seed=1, resolution=64, target_faces=100, reconstruction_engine="r", postprocess_engine="p")
    given = {"id": str(uuid.uuid4()), "owner": "me", "kind": "generate", "request": {"prompt": "a cube"}}
    return Job.model_validate({**given, "plan": plan, "created_at": 1.0, **more})
