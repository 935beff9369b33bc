"""Many jobs, and all the time something breaks: nothing is lost, nothing done twice, nothing leaks."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import invariants
import psutil
import pytest
from invariants import ended
from processes import FINAL, Mesh, until

from conftest import FULL

JOBS = 5000 if FULL else 300
#: Jobs that are under way at a time, and how many of them have ended before leaks are looked for.
UNDER_WAY, WARM = 40, 100
LEASE_S, MAX_ATTEMPTS = 2, 50
#: What a process may hold more at the end than when it was warm.
FDS_MORE, RSS_MORE_MB = 24, 48


class Client(threading.Thread):
    """Submits jobs one after another, each until it is acknowledged, always under the same key."""

    def __init__(self, mesh: Mesh) -> None:
        super().__init__(daemon=True)
        self.mesh, self.given_up = mesh, list[str]()

    def run(self) -> None:
        for number in range(JOBS):
            self._submit(f"soak-{number}")
            while self.open() >= UNDER_WAY:
                time.sleep(0.05)

    def open(self) -> int:
        """Acknowledged jobs that have not ended; all of them while Redis is away."""
        try:
            return len(self.mesh.acknowledged()) - ended_jobs(self.mesh)
        except OSError:
            return UNDER_WAY

    def _submit(self, key: str) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if self.mesh.submit(key=key, timeout_s=30).status == 202:
                return
            time.sleep(0.2)
        self.given_up.append(key)


def ended_jobs(mesh: Mesh) -> int:
    """How many of the acknowledged jobs have ended."""
    jobs = mesh.acknowledged()
    try:
        with mesh.redis() as connection:
            pipeline = connection.pipeline(transaction=False)
            for job_id in jobs:
                pipeline.hget(f"job:{job_id}", "state")
            return sum(state in FINAL for state in pipeline.execute())
    except Exception as error:
        raise OSError("Redis is away") from error


class Chaos:
    """One fault at a time, each undone before the next; `worker-1` and the API are never killed, but looked at."""

    def __init__(self, mesh: Mesh, rng: random.Random) -> None:
        self.mesh, self.rng = mesh, rng
        self.done: Counter[str] = Counter()
        self.faults: dict[str, Callable[[], None]] = {
            "worker killed": lambda: self._restart(self._worker(), self.mesh.kill),
            "worker told to stop": lambda: self._restart(self._worker(), self._terminate),
            "worker stands still": self._stand_still,
            "engine killed": lambda: self._restart(self.rng.choice(list(self.mesh.stubs)), self.mesh.kill),
            "redis killed": lambda: self._restart("redis", self.mesh.kill),
            "connections reset": self.mesh.proxy.reset,
            "connections silent": self._silence,
            "jobs cancelled": self._cancel,
        }

    def strike(self) -> None:
        """The next fault; each kind comes as often as the others."""
        fewest = min(self.done[name] for name in self.faults)
        name = self.rng.choice([name for name in self.faults if self.done[name] == fewest])
        self.faults[name]()
        self.done[name] += 1

    def _worker(self) -> str:
        return self.rng.choice(self.mesh.names("worker")[1:])

    def _restart(self, name: str, end: Callable[[str], None]) -> None:
        end(name)
        time.sleep(self.rng.uniform(0.0, 0.5))
        self.mesh.start(name)

    def _terminate(self, name: str) -> None:
        self.mesh.terminate(name)
        until(lambda: not self.mesh.alive(name), 15, what=f"{name} leaving within the grace")

    def _stand_still(self) -> None:
        name = self.rng.choice(self.mesh.names("worker"))
        self.mesh.stop(name)
        time.sleep(self.rng.uniform(0.5, LEASE_S + 1.0))
        self.mesh.cont(name)

    def _silence(self) -> None:
        self.mesh.proxy.drop()
        time.sleep(self.rng.uniform(0.2, 8.0 if FULL else 3.0))
        self.mesh.proxy.pass_through()

    def _cancel(self) -> None:
        for job_id in self.mesh.acknowledged()[-20 :: self.rng.randint(3, 9)]:
            assert self.mesh.cancel(job_id) in {200, 409, 503}


def measured(mesh: Mesh) -> dict[str, tuple[int, float]]:
    """Descriptors and memory, in MB, of the processes that are never killed."""
    found = {name: psutil.Process(mesh.pid(name)) for name in ("api", "worker-1")}
    return {name: (one.num_fds(), one.memory_info().rss / 2**20) for name, one in found.items()}


@pytest.mark.reps(1)
@pytest.mark.timeout(3600 if FULL else 240)
def test_f24_soak(tmp_path: Path, seed: int, record_property: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUB_SECONDS", "0.02")
    settings = {"LEASE_S": str(LEASE_S), "MAX_ATTEMPTS": str(MAX_ATTEMPTS)}
    engines = {"image": 2, "reconstruction": 2, "postprocess": 2}
    with Mesh(tmp_path, workers=3, engines=engines, settings=settings) as mesh:
        client, chaos = Client(mesh), Chaos(mesh, random.Random(seed))
        client.start()
        until(lambda: ended_jobs(mesh) >= WARM, what="a warm mesh")
        warm = measured(mesh)
        while client.is_alive():
            chaos.strike()
            time.sleep(chaos.rng.uniform(0.1, 0.5))
        assert not client.given_up, f"never acknowledged: {client.given_up}"
        found = invariants.check(mesh, deadline_s=120, max_attempts=MAX_ATTEMPTS)
        record_property("faults", sum(chaos.done.values()))
        assert len(found) == JOBS and set(ended(found)) <= {"completed", "cancelled"}, ended(found)
        assert chaos.done.total() >= len(chaos.faults), chaos.done
        for name, (fds, rss_mb) in measured(mesh).items():
            assert fds <= warm[name][0] + FDS_MORE, f"I16: {name} holds {fds} descriptors, {warm[name][0]} when warm"
            assert rss_mb <= warm[name][1] + RSS_MORE_MB, f"I16: {name} {rss_mb:.0f} MB, {warm[name][1]:.0f} when warm"
        print(chaos.done, ended(found), warm, measured(mesh))
