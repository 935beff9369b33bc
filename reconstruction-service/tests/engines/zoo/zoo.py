"""Engines that misbehave, named for their sin. Each is a whole engine, as a stranger might write it."""

import os
import signal
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from reconstruction_service.engines.base import Reconstruction, Sight
from scratch3d.contracts.engines import EngineCard
from scratch3d.geometry.mesh import Mesh


class Good:
    """Behaves: one triangle, after asking twice whether it should stop."""

    def __init__(self, settings: Any) -> None:
        pass

    @classmethod
    def card(cls) -> EngineCard:
        return EngineCard(id=cls.__name__, version="1", available=True, summary="zoo", licence_code="Apache-2.0")

    def load(self) -> None:
        pass

    def reconstruct(self, sights: Sequence[Sight], *, resolution: int, seed: int, options: Any, report: Any) -> Any:
        report(0.5, "half")
        return self.answer(report)

    def answer(self, report: Any) -> Any:
        return Reconstruction(mesh=triangle())

    def close(self) -> None:
        pass


def triangle() -> Mesh:
    return Mesh(vertices=np.eye(3, dtype=np.float32), faces=np.array([[0, 1, 2]], np.int32))


class Raises(Good):
    def answer(self, report: Any) -> Any:
        raise ZeroDivisionError("the engine divided by zero")


class Hangs(Good):
    """Never looks at its flag."""

    def answer(self, report: Any) -> Any:
        time.sleep(3600)


class Listens(Good):
    """Works for ever, but stops when told."""

    def answer(self, report: Any) -> Any:
        while True:
            report(0.5, "working")
            time.sleep(0.02)


class Killed(Good):
    def answer(self, report: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


class Exits(Good):
    def answer(self, report: Any) -> Any:
        print("last words", file=__import__("sys").stderr, flush=True)
        time.sleep(0.1)
        os._exit(7)


class OutOfMemory(Good):
    def answer(self, report: Any) -> Any:
        held = []
        while True:
            held.append(np.ones(2**24))


class EmptyMesh(Good):
    def answer(self, report: Any) -> Any:
        return Reconstruction(mesh=triangle().evolve(faces=np.zeros((0, 3), np.int32)))


class NanVertices(Good):
    def answer(self, report: Any) -> Any:
        return Reconstruction(mesh=triangle().evolve(vertices=np.full((3, 3), np.nan, np.float32)))


class WrongType(Good):
    def answer(self, report: Any) -> Any:
        return {"vertices": [[0, 0, 0]]}


class WrongIndex(Good):
    def answer(self, report: Any) -> Any:
        return Reconstruction(mesh=triangle().evolve(faces=np.array([[0, 1, 7]], np.int32)))


class LoadFails(Good):
    def load(self) -> None:
        raise RuntimeError("weights are missing: models/x.safetensors")


class Slow(Good):
    """Answers its first request late, whatever it is told; later ones at once."""

    calls = 0

    def answer(self, report: Any) -> Any:
        Slow.calls += 1
        if Slow.calls == 1:
            time.sleep(0.8)
            return Reconstruction(mesh=triangle(), warnings=("first",))
        return Reconstruction(mesh=triangle(), warnings=("second",))
