"""UV atlas of 20,000 faces: our charts packed by xatlas, against one plain call of xatlas. Interleaved."""

import argparse
from statistics import median
from time import perf_counter

import numpy as np
import xatlas
from machine import describe
from oracle import pictures_of, sights_of

from postprocess_service.engines.light.bake import bake
from postprocess_service.engines.light.clean import clean
from postprocess_service.engines.light.decimate import decimate
from postprocess_service.engines.light.unwrap import PADDING_PX, unwrap
from reconstruction_service.engines.visual_hull.engine import VisualHull
from scratch3d.geometry.mesh import Mesh

PROMPTS = (
    "a red sphere",
    "a red cube on a wooden cylinder",
    "a golden torus on a big stone box",
    "a teal cone beside an orchid ellipsoid on a box",
)
FACES, TEXTURE_PX = 20_000, 1024


def raw_mesh(prompt: str) -> Mesh:
    """A carved mesh as the service gets it."""
    sights = sights_of(pictures_of(prompt, "carve-8")[1])
    return VisualHull(None).reconstruct(sights, resolution=256, seed=0, options={}, report=lambda *_: None).mesh


def plain(mesh: Mesh) -> tuple[Mesh, int]:
    """One call of xatlas with the same packing options."""
    atlas = xatlas.Atlas()
    atlas.add_mesh(mesh.vertices, mesh.faces.astype(np.uint32))
    options = xatlas.PackOptions()
    options.resolution, options.padding, options.bilinear = TEXTURE_PX, PADDING_PX, True
    atlas.generate(xatlas.ChartOptions(), options)
    mapping, faces, uv = atlas[0]
    opened = Mesh(vertices=mesh.vertices[mapping], faces=faces.astype(np.int32), uv=uv.astype(np.float32))
    return opened, int(atlas.chart_count)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    print(describe())
    head = ("plain s", "ours s", "ratio", "cover", "cover ours", "vertices", "ours", "more", "charts", "ours")
    print(f"{'model':<36}" + "".join(f"{h:>11}" for h in head))
    for prompt in PROMPTS:
        cleaned = clean(raw_mesh(prompt)).mesh
        mesh = decimate(cleaned, FACES).mesh
        unwrap(mesh, TEXTURE_PX)
        slow, quick = [], []
        for _ in range(rounds):
            began = perf_counter()
            theirs, their_charts = plain(mesh)
            slow.append(perf_counter() - began)
            began = perf_counter()
            ours = unwrap(mesh, TEXTURE_PX)
            quick.append(perf_counter() - began)
        cover = [float(bake(m, cleaned, TEXTURE_PX)[1].mean()) for m in (theirs, ours.mesh)]
        more = len(ours.mesh.vertices) / len(theirs.vertices) - 1
        print(
            f"{prompt:<36}{median(slow):>11.2f}{median(quick):>11.2f}{median(slow) / median(quick):>11.1f}"
            f"{cover[0]:>11.3f}{cover[1]:>11.3f}{len(theirs.vertices):>11}{len(ours.mesh.vertices):>11}{more:>11.1%}"
            f"{their_charts:>11}{ours.charts:>11}"
        )


if __name__ == "__main__":
    main()
