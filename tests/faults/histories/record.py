"""Records the histories in this directory, on the release that is installed: `python tests/faults/histories/record.py`.

Each file is one job: how its hash looked after every change (`changes`, each with only the fields that changed), and
the events it told. Later releases must carry such jobs on, and come to the same end: tests/faults/test_deploy.py.
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from processes import Mesh, until  # noqa: E402  the harness lies beside this directory

from orchestrator.domain import SCHEMA  # noqa: E402

#: Long enough to see every change, short enough to be quick.
STAGE_S = 0.4


class Watcher:
    """Looks at a job's hash again and again."""

    def __init__(self, mesh: Mesh, job_id: str) -> None:
        self.mesh, self.job_id = mesh, job_id
        self.changes: list[dict[str, str]] = []
        self._seen: dict[str, str] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        with self.mesh.redis() as connection:
            while not self._done.wait(0.01):
                fields: Any = connection.hgetall(f"job:{self.job_id}")
                if fields.get("version") != self._seen.get("version"):
                    self.changes.append({k: v for k, v in fields.items() if self._seen.get(k) != v})
                    self._seen = fields


def begun(mesh: Mesh, service: str, job_id: str) -> None:
    until(lambda: any(line["job_id"] == job_id and line["service"] == service for line in mesh.journal()), what=service)


def hand_back(mesh: Mesh, job_id: str) -> None:
    begun(mesh, "reconstruction", job_id)
    mesh.terminate("worker-1")
    until(lambda: not mesh.alive("worker-1"), what="the worker's end")
    mesh.start("worker-1")


def lose(mesh: Mesh, job_id: str) -> None:
    begun(mesh, "postprocess", job_id)
    mesh.kill("worker-1")
    mesh.start("worker-1")


def cancel(mesh: Mesh, job_id: str) -> None:
    begun(mesh, "reconstruction", job_id)
    assert mesh.cancel(job_id) == 200


def wait(mesh: Mesh, job_id: str) -> None:
    """Nothing happens but the job itself."""


#: name → what goes wrong at reconstruction-service, and what is done to the job.
SCENES: dict[str, tuple[str | None, Callable[[Mesh, str], None]]] = {
    "completed": (None, wait),
    "failed": ("wrong_sha", wait),
    "cancelled": (None, cancel),
    "handed-back": (None, hand_back),
    "worker-lost": (None, lose),
}


def record(mesh: Mesh, name: str) -> None:
    fault, action = SCENES[name]
    for service in ("image", "reconstruction", "postprocess"):
        broken = fault if service == "reconstruction" else None
        mesh.script(service, [{"duration_s": STAGE_S, "fault": broken}])
    mesh.stop("worker-1")
    job_id = mesh.submit(seed=7, labels={"scene": name}).job_id
    with Watcher(mesh, job_id) as watcher:
        time.sleep(0.1)
        mesh.cont("worker-1")
        action(mesh, job_id)
        until(lambda: mesh.state(job_id) in {"completed", "failed"}, 60, what=f"end of {name}")
        time.sleep(0.1)
    events = [{key: event.get(key) for key in ("type", "state", "progress", "phase")} for event in mesh.events(job_id)]
    history = {"schema": SCHEMA, "scene": name, "changes": watcher.changes, "events": events}
    (HERE / f"schema-{SCHEMA}-{name}.json").write_text(json.dumps(history, indent=1, sort_keys=True) + "\n")


def main() -> None:
    with TemporaryDirectory() as directory, Mesh(Path(directory), settings={"LEASE_S": "2"}) as mesh:
        for name in SCENES:
            record(mesh, name)


if __name__ == "__main__":
    main()
