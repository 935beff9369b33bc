"""Named views that do not agree: nothing is lost, the front is kept, and what was odd is told."""

import numpy as np
import pytest
from scipy import ndimage

from reconstruction_service.engines.base import Reconstruction, Sight
from reconstruction_service.engines.visual_hull.engine import VisualHull
from reconstruction_service.engines.visual_hull.soft import SoftHull
from scratch3d.contracts.views import NAMED_VIEWS, Camera
from scratch3d.geometry.camera import project
from scratch3d.geometry.measure import closedness, volume_m3
from scratch3d.geometry.mesh import U8, Array
from scratch3d.geometry.raster import rasterise

SIZE = 192
Y, X = np.mgrid[:SIZE, :SIZE] + 0.5 - SIZE / 2
BODY = np.minimum(60 - np.abs(Y), 30 - np.abs(X))
#: Only the front shows the arms.
ARMS = np.maximum(BODY, np.minimum(6 - np.abs(Y + 30), 70 - np.abs(X)))


def shown(edge_px: Array) -> U8:
    rgba = np.full((SIZE, SIZE, 4), 160, np.uint8)
    rgba[..., 3] = np.rint(np.clip(edge_px + 0.5, 0, 1) * 255)
    return rgba


def views(**shapes: Array) -> list[Sight]:
    return [
        Sight(
            name=name,
            camera=Camera(azimuth_deg=NAMED_VIEWS[name][0], elevation_deg=NAMED_VIEWS[name][1]),
            rgba=shown(shape),
            unlit_rgba=None,
            alpha_trusted=True,
            calibrated=False,
        )
        for name, shape in shapes.items()
    ]


def hull(engine: type[SoftHull] | type[VisualHull], given: list[Sight]) -> Reconstruction:
    return engine(None).reconstruct(given, resolution=96, seed=0, options={}, report=lambda *_: None)


def front_overlap(made: Reconstruction, front: Array) -> float:
    mesh = made.mesh
    mask = rasterise(project(mesh.vertices, Camera(azimuth_deg=0), SIZE), mesh.faces, SIZE, SIZE).mask
    return float((mask & (front > 0)).sum() / (mask | (front > 0)).sum())


def test_views_that_agree_are_carved_exactly() -> None:
    given = views(front=BODY, right=BODY, back=BODY, left=BODY)
    soft, hard = hull(SoftHull, given), hull(VisualHull, given)
    assert volume_m3(soft.mesh) == pytest.approx(volume_m3(hard.mesh), rel=5e-3)
    assert not soft.warnings


def test_what_only_the_front_shows_is_kept() -> None:
    low = np.where(Y > 0, BODY, -5.0)  # the sides see nothing of the upper half
    given = views(front=ARMS, right=low, back=BODY, left=low)
    soft, hard = hull(SoftHull, given), hull(VisualHull, given)
    assert closedness(soft.mesh.faces).watertight
    assert front_overlap(soft, ARMS) > 0.93 > 0.7 > front_overlap(hard, ARMS)
    assert any("front and back" in w for w in soft.warnings)
    assert any("the front was trusted" in w for w in soft.warnings)


def test_a_part_one_side_lacks_stays() -> None:
    tail = np.maximum(BODY, np.minimum(8 - np.abs(Y - 20), 60 - np.abs(X + 30)))
    given = views(front=BODY, right=tail, left=BODY)
    soft, hard = hull(SoftHull, given), hull(VisualHull, given)
    assert np.ptp(soft.mesh.vertices[:, 2]) > 1.3 * np.ptp(hard.mesh.vertices[:, 2])


def test_moved_views_lose_less_than_with_the_hard_hull() -> None:
    moved = {name: ndimage.shift(BODY, (shift, -shift), mode="nearest") for name, shift in (("right", 6), ("left", -5))}
    given = views(front=BODY, back=ndimage.shift(BODY, (5, 4), mode="nearest"), **moved)
    soft, hard = hull(SoftHull, given), hull(VisualHull, given)
    exact = volume_m3(hull(VisualHull, views(front=BODY, right=BODY, back=BODY, left=BODY)).mesh)
    assert abs(volume_m3(soft.mesh) / exact - 1) < abs(volume_m3(hard.mesh) / exact - 1)
    assert front_overlap(soft, BODY) > front_overlap(hard, BODY)


def test_no_colour_of_the_background_is_taken() -> None:
    given = views(front=ARMS, right=np.where(Y > 0, BODY, -5.0), back=BODY, left=BODY)
    colours = hull(SoftHull, given).mesh.colours_linear
    assert colours is not None and np.ptp(colours) < 0.02, "all views are of one grey; nothing black may show"
