"""Ends a process at a chosen point, from outside: before a request to Redis goes on, or after it was carried out.

A point is `name:before|after:n`, the n-th use. Names are those of Redis scripts (`submit`, `claim`, `beat`, `reap`,
`grant`, `hold`), and for a guarded change of a job the event it tells (`stage`, `completed`, `failed`, `requeued`).
Calls of services (`call.generate`, `call.mesh`, `call.clean`) end the process from inside: see doomed.py. A `reap`
counts when it took a job back, a `claim` when there is a job to take.
"""

import asyncio
import hashlib
import json
import re
import time
from functools import cache
from importlib.resources import files
from typing import Any, Literal, cast

import pytest
from processes import Mesh
from proxy import Proxy

from orchestrator.store_redis import RedisStore
from scratch3d.slots import RedisSlots

_ANY, _JOB = re.compile(b""), re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-")


@cache
def digests() -> dict[str, bytes]:
    """Name of each Lua script → the digest it is called by."""
    folders = (files("orchestrator").joinpath("lua"), files("scratch3d.slots"))
    lua = [path for folder in folders for path in folder.iterdir() if path.name.endswith(".lua")]
    # The first line says what a script is for; what stands around it is the store's affair.
    names = {path.read_text().splitlines()[0]: path.name.removesuffix(".lua") for path in lua}
    found: dict[str, bytes] = {}
    plain = hashlib.sha1

    def noting(content: bytes = b"", **options: Any) -> Any:
        digest = plain(content, **options)
        if matches := [name for line, name in names.items() if line.encode() in content and name != "prelude"]:
            found[matches[-1]] = digest.hexdigest().encode()
        return digest

    async def make() -> None:
        store = RedisStore("redis://127.0.0.1:9/0")
        RedisSlots(cast(Any, None))
        await store.close()

    # Scripts are called by their digest, and the product computes it when it makes them.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashlib, "sha1", noting)
        asyncio.run(make())
    return found


def needle(name: str) -> bytes:
    """What a request of that name contains."""
    return digests().get(name) or f'"type":"{name}"'.encode()


class Doom:
    """Waits for the point in front of Redis; `environment` is what the process must be started with."""

    def __init__(self, mesh: Mesh, name: str, point: str) -> None:
        self.mesh, self.name, self.point = mesh, name, point
        what, moment, count = point.split(":")
        self._at: float | None = None
        self._proxy = Proxy(mesh.redis_port)
        if what.startswith("call."):
            self.environment = {"DIE_AT": point}
            return
        self.environment = {"REDIS_URL": f"redis://127.0.0.1:{self._proxy.port}/0"}
        self._proxy.trap(
            needle(what),
            cast(Literal["before", "after"], moment),
            int(count),
            self._strike,
            ready=self._jobs_wait if what == "claim" else lambda: True,
            wanted=_JOB if what in {"claim", "reap"} and moment == "after" else _ANY,
        )

    @property
    def struck_at(self) -> float:
        """Wall clock of the death; fails when the process did not die of this doom."""
        if self._at is None:
            lines = [line for line in self.mesh.logs(self.name).splitlines() if '"event": "died"' in line]
            assert lines, f"{self.name} did not reach {self.point}"
            self._at = float(json.loads(lines[-1])["at"])
        return self._at

    @property
    def job_id(self) -> str:
        """The last job that the process said to have claimed, if any."""
        lines = [line for line in self.mesh.logs(self.name).splitlines() if '"job_claimed"' in line]
        return str(json.loads(lines[-1])["job_id"]) if lines else ""

    def close(self) -> None:
        """No doom any more."""
        self._proxy.close()

    def _strike(self) -> None:
        self.mesh.kill(self.name)
        self._at = time.time()

    def _jobs_wait(self) -> bool:
        with self.mesh.redis() as connection:
            return bool(connection.llen("3d:queue"))
