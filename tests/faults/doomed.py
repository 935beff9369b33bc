"""Starts the API or a worker so that tests see it begin, and so that it may end itself at a call of a service:
`doomed.py api|worker`, with

DIE_AT=call.{last part of the path}:before|after:n[:text]

The n-th call counts; with a text, only calls whose body contains it. Production code knows nothing of this.
"""

import json
import os
import runpy
import signal
import time
from typing import Any

from orchestrator.clients import ServiceClient
from orchestrator.worker import Worker


def arm(point: str) -> None:
    """End this process at a call of a service."""
    name, moment, count, text = (*point.split(":", 3), "")[:4]
    plain, left = ServiceClient.call, int(count)

    def pass_by(here: str) -> None:
        nonlocal left
        left -= here == moment
        if left == 0:
            # One write, so that the line is whole: it is the last thing this process says.
            say({"event": "died", "at": time.time(), "point": point})
            os.kill(os.getpid(), signal.SIGKILL)

    async def call(self: ServiceClient, url: str, wish: Any, *args: Any, **kwargs: Any) -> Any:
        if name != f"call.{url.rsplit('/', 1)[-1]}" or text not in repr(wish):
            return await plain(self, url, wish, *args, **kwargs)
        pass_by("before")
        result = await plain(self, url, wish, *args, **kwargs)
        pass_by("after")
        return result

    ServiceClient.call = call  # type: ignore[method-assign]


def announce() -> None:
    """Say when the worker begins to work, as no port tells it."""
    plain = Worker.work

    async def work(self: Worker) -> None:
        say({"event": "worker_started", "pid": os.getpid()})
        await plain(self)

    Worker.work = work  # type: ignore[method-assign]


def say(line: dict[str, object]) -> None:
    """One line to the log."""
    os.write(2, (json.dumps(line) + "\n").encode())


if __name__ == "__main__":
    announce()
    if die_at := os.environ.get("DIE_AT"):
        arm(die_at)
    runpy.run_module("orchestrator", run_name="__main__", alter_sys=True)
