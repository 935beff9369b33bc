"""`python -m orchestrator api` and `python -m orchestrator worker`."""

import sys

import uvicorn
import uvloop

from scratch3d.servicekit.logging import configure

from .app import create_app, run_worker
from .settings import Settings


def api() -> None:
    """Serve the API until told to stop."""
    settings = Settings()
    configure("orchestrator", level=settings.log_level, human=settings.log_human)
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=5,
    )


def worker() -> None:
    """Carry jobs until told to stop."""
    settings = Settings()
    configure("worker", level=settings.log_level, human=settings.log_human)
    uvloop.run(run_worker(settings))


if __name__ == "__main__":
    commands = {"api": api, "worker": worker}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        sys.exit("usage: python -m orchestrator api|worker")
    commands[sys.argv[1]]()
