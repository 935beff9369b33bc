"""Pictures to mesh: the sparse path against its plain dense twin, and how it grows from 256 to 512 cells.

Whole calls, interleaved, eight views of 512². Ratios of medians; absolute times belong to this machine alone.
"""

import argparse
from collections.abc import Callable
from statistics import median
from time import perf_counter

from machine import describe
from oracle import pictures_of, sights_of

from reconstruction_service.engines.visual_hull import field, reference
from reconstruction_service.engines.visual_hull.colour import coloured
from reconstruction_service.engines.visual_hull.engine import VisualHull
from reconstruction_service.engines.visual_hull.silhouette import signed_distance_px
from scratch3d.geometry.mesh import Mesh

PROMPT = "a red sphere"


def timed(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    began = perf_counter()
    call()
    return perf_counter() - began


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    sights = sights_of(pictures_of(PROMPT, "carve-8")[1])
    engine = VisualHull(None)
    engine.load()

    def fast(resolution: int) -> Mesh:
        return engine.reconstruct(sights, resolution=resolution, seed=0, options={}, report=lambda *_: None).mesh

    def dense(resolution: int) -> Mesh:
        distances = [signed_distance_px(s.rgba[..., 3]) for s in sights]
        mesh = reference.hull_mesh(field.silhouettes(distances, [s.camera for s in sights]), resolution)
        assert mesh is not None
        return coloured(mesh, sights, distances)

    times: dict[str, list[float]] = {"sparse 256": [], "dense numpy twin 256": [], "sparse 512": []}
    for _ in range(rounds):
        times["sparse 256"].append(timed(lambda: fast(256)))
        times["dense numpy twin 256"].append(timed(lambda: dense(256)))
        times["sparse 512"].append(timed(lambda: fast(512)))
    base = median(times["sparse 256"])
    print(describe())
    print(f"{'pictures → mesh, whole call':<30}{'median s':>10}{'× sparse 256':>14}")
    for name, found in times.items():
        print(f"{name:<30}{median(found):>10.3f}{median(found) / base:>14.2f}")


if __name__ == "__main__":
    main()
