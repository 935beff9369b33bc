"""Typed client of the scratch-3d API.

from scratch3d.client import Client

with Client() as client:
    job = client.generate("a red cube on a wooden cylinder")
    done = client.wait(job.job_id)
    client.download(done.job_id, "cube.glb")
"""

from .calls import DEFAULT_URL, ApiError, JobFailed, Unreachable
from .clients import AsyncClient, Client

__all__ = ["DEFAULT_URL", "ApiError", "AsyncClient", "Client", "JobFailed", "Unreachable"]
