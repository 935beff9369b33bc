"""What does `soft-hull` save when named views do not agree? Against the hard hull, on the same distorted views.

Front, right, back and left of a thing; all but the front are turned by up to 4°, moved by up to 8 pixels and scaled by up
to 5 %. IoU with the hard hull of the undistorted views, and of the front's outline with the re-drawn one.
"""

import numpy as np
from PIL import Image

from image_service.engines.procedural.grammar import parse
from image_service.engines.procedural.scene import build
from reconstruction_service.engines.base import Sight
from reconstruction_service.engines.visual_hull.engine import VisualHull
from reconstruction_service.engines.visual_hull.soft import SoftHull
from scratch3d.contracts.views import NAMED_VIEWS, Camera
from scratch3d.geometry.camera import project
from scratch3d.geometry.measure import occupancy
from scratch3d.geometry.mesh import Array, Mesh
from scratch3d.geometry.raster import rasterise
from scratch3d.geometry.render import render, surface_of

THINGS = ("robot", "chair", "dog", "snowman", "plane", "teapot", "person", "car")
SIZE, GRID, HALF = 512, 110, 0.6
RING = ("front", "right", "back", "left")


def views_of(thing: str) -> list[Sight]:
    """The four named views, exactly."""
    surface = surface_of(build(parse(f"a {thing}")).mesh)
    sights = []
    for name in RING:
        camera = Camera(azimuth_deg=NAMED_VIEWS[name][0], half_width_m=HALF)
        rgba = render(surface, camera, SIZE)[0]
        sights.append(Sight(name=name, camera=camera, rgba=rgba, unlit_rgba=None, alpha_trusted=True, calibrated=False))
    return sights


def distorted(sight: Sight, random: np.random.Generator) -> Sight:
    """A view as somebody else would have drawn it."""
    scale = SIZE * (1 + random.uniform(-0.05, 0.05))
    moved = Image.fromarray(sight.rgba).rotate(
        random.uniform(-4, 4), translate=tuple(random.uniform(-8, 8, 2)), resample=Image.Resampling.BICUBIC
    )
    margin = (SIZE - scale) / 2
    box = tuple(round(v) for v in (margin, margin, margin + scale, margin + scale))
    rgba = np.array(moved.crop(box).resize((SIZE, SIZE), Image.Resampling.LANCZOS))
    return Sight(name=sight.name, camera=sight.camera, rgba=rgba, unlit_rgba=None, alpha_trusted=True, calibrated=False)


def solid(mesh: Mesh) -> Array:
    """(i, j, k) bool."""
    return occupancy(mesh, np.full(3, -0.55), 1.1 / GRID, (GRID, GRID, GRID))


def overlap(one: Array, other: Array) -> float:
    """Intersection over union."""
    return float((one & other).sum() / max((one | other).sum(), 1))


def outline(mesh: Mesh) -> Array:
    """(h, w) bool from the front."""
    camera = Camera(azimuth_deg=0, half_width_m=HALF)
    return rasterise(project(mesh.vertices, camera, SIZE), mesh.faces, SIZE, SIZE).mask


def main() -> None:
    """Print the table."""
    random = np.random.default_rng(0)
    print(f"{'thing':<12}{'agreeing, soft':>16}{'distorted, hard':>17}{'soft':>8}{'front, hard':>13}{'soft':>8}")
    rows = []
    for thing in THINGS:
        exact = views_of(thing)
        changed = [exact[0], *(distorted(sight, random) for sight in exact[1:])]
        meshes = [
            engine(None).reconstruct(views, resolution=192, seed=0, options={}, report=lambda *_: None).mesh
            for engine, views in ((VisualHull, exact), (SoftHull, exact), (VisualHull, changed), (SoftHull, changed))
        ]
        truth, shown = solid(meshes[0]), exact[0].rgba[..., 3] > 127
        row = [overlap(solid(mesh), truth) for mesh in meshes[1:]]
        row += [overlap(outline(mesh), shown) for mesh in meshes[2:]]
        rows.append(row)
        print(f"{thing:<12}{row[0]:>16.3f}{row[1]:>17.3f}{row[2]:>8.3f}{row[3]:>13.3f}{row[4]:>8.3f}")
    mean = np.mean(rows, axis=0)
    print(f"{'mean':<12}{mean[0]:>16.3f}{mean[1]:>17.3f}{mean[2]:>8.3f}{mean[3]:>13.3f}{mean[4]:>8.3f}")


if __name__ == "__main__":
    main()
