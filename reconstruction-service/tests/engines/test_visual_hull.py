"""The carving engine against its plain twin, against geometry that is known, and against bad views."""

from collections.abc import Sequence

import numpy as np
import pytest

from reconstruction_service.engines.base import Sight
from reconstruction_service.engines.visual_hull import field, reference
from reconstruction_service.engines.visual_hull.engine import VisualHull
from reconstruction_service.engines.visual_hull.phantoms import without_phantoms
from reconstruction_service.engines.visual_hull.silhouette import signed_distance_px
from reconstruction_service.errors import BadViews, NoSurface
from scratch3d.contracts.views import Camera, cameras_of
from scratch3d.geometry.measure import closedness, volume_m3
from scratch3d.geometry.mesh import Mesh

SIZE = 128


def disc(radius_px: float, x: float = 0.0, y: float = 0.0, colour: tuple[int, int, int] = (230, 120, 20)) -> np.ndarray:
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5 - SIZE / 2
    rgba = np.zeros((SIZE, SIZE, 4), np.uint8)
    rgba[..., :3] = colour
    rgba[..., 3] = np.rint(np.clip(radius_px - np.hypot(columns - x, rows - y) + 0.5, 0, 1) * 255)
    return rgba


def sights(pictures: Sequence[np.ndarray], view_set: str) -> list[Sight]:
    return [
        Sight(name=n, camera=c, rgba=p, unlit_rgba=None, alpha_trusted=True)
        for p, (n, c) in zip(pictures, cameras_of(view_set).items(), strict=True)
    ]


def carve(given: Sequence[Sight], resolution: int = 64):  # type: ignore[no-untyped-def]
    return VisualHull(None).reconstruct(given, resolution=resolution, seed=0, options={}, report=lambda *_: None)


@pytest.mark.parametrize("radius", [20.0, 20.37, 31.5])
def test_distance_is_exact_to_a_tenth_of_a_pixel_near_the_outline(radius: float) -> None:
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5 - SIZE / 2
    true = radius - np.hypot(columns, rows)
    found = signed_distance_px(disc(radius)[..., 3])
    near = np.abs(true) < 2.5
    assert np.abs(found - true)[near].max() < 0.1
    assert np.abs(found - true).max() < field.SLACK_PX


def test_fast_path_equals_its_plain_twin() -> None:
    given = sights([disc(40, 3, -5)] * 8, "carve-8")
    distances = [signed_distance_px(s.rgba[..., 3]) for s in given]
    seen = field.silhouettes(distances, [s.camera for s in given])
    fast, plain = field.hull_mesh(seen, 64), reference.hull_mesh(seen, 64)
    assert fast is not None and plain is not None
    assert len(fast.faces) == len(plain.faces)
    order = [np.lexsort(m.vertices.T.round(5)) for m in (fast, plain)]
    assert np.abs(fast.vertices[order[0]] - plain.vertices[order[1]]).max() < 1e-5


def test_sphere_is_closed_coloured_and_of_the_right_size() -> None:
    made = carve(sights([disc(50)] * 8, "carve-8"), 96).mesh
    assert closedness(made.faces).watertight
    radius = 50 * 1.2 / SIZE
    hull_over_ball = volume_m3(made) / (4 / 3 * np.pi * radius**3)
    assert 1.0 < hull_over_ball < 1.05  # a hull holds the object, and eight views of a ball leave little over
    assert made.colours_linear is not None
    assert np.ptp(made.colours_linear, axis=0).max() < 1e-3


def test_two_components_stay_two() -> None:
    pair = np.maximum(disc(14, -34), disc(14, 34))
    side = disc(14)
    given = [
        Sight(name=n, camera=Camera(azimuth_deg=a, elevation_deg=e), rgba=p, unlit_rgba=None, alpha_trusted=True)
        for n, a, e, p in (("front", 0, 0, pair), ("right", 90, 0, side), ("top", 0, 90, pair))
    ]
    made = carve(given).mesh
    assert closedness(made.faces).watertight
    assert not (np.abs(made.vertices[:, 0]) < 0.1).any()


def boxes(*bodies: tuple[float, float, float]) -> Mesh:
    """Cubes at (x, z) of a half width each."""
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))], np.int32)
    at = [corners * half + np.array([x, 0, z], np.float32) for x, z, half in bodies]
    return Mesh(
        vertices=np.concatenate(at).astype(np.float32),
        faces=np.concatenate([faces + 8 * n for n in range(len(bodies))]),
    )


def test_small_bodies_no_outline_needs_are_left_out() -> None:
    ring = [Camera(azimuth_deg=0), Camera(azimuth_deg=90)]
    pair = [(-0.3, -0.3, 0.15), (0.3, 0.3, 0.15)]
    made, phantoms = without_phantoms(boxes(*pair, (-0.3, 0.3, 0.07)), ring)
    assert phantoms == 1 and closedness(made.faces).watertight
    assert np.array_equal(np.unique(made.vertices, axis=0), np.unique(boxes(*pair).vertices, axis=0))
    whole = boxes(*pair, (-0.3, 0.3, 0.15), (0.3, -0.3, 0.15))
    assert without_phantoms(whole, ring)[0] is not None and without_phantoms(whole, ring)[1] == 0
    # A small body that shows alone somewhere is real.
    diagonal = [*ring, Camera(azimuth_deg=45)]
    assert without_phantoms(boxes(*pair, (-0.3, 0.3, 0.07)), diagonal)[1] == 0


def test_colour_comes_from_the_view_that_sees_it() -> None:
    front, back = disc(50, colour=(255, 0, 0)), disc(50, colour=(0, 0, 255))
    grey = disc(50, colour=(128, 128, 128))
    made = carve(sights([front, grey, back, grey], "front-right-back-left")).mesh
    assert made.colours_linear is not None
    facing = (made.vertices[:, 2] > 0.4) & (np.abs(made.vertices[:, 0]) < 0.2)
    assert facing.any() and (made.colours_linear[facing] @ [1, 0, -1] > 0.8).all()
    behind = (made.vertices[:, 2] < -0.4) & (np.abs(made.vertices[:, 0]) < 0.2)
    assert (made.colours_linear[behind] @ [-1, 0, 1] > 0.8).all()


def test_same_views_same_bytes() -> None:
    given = sights([disc(37, 1, 2)] * 4, "carve-4")
    one, two = carve(given).mesh, carve(given).mesh
    assert one.vertices.tobytes() == two.vertices.tobytes()
    assert one.colours_linear.tobytes() == two.colours_linear.tobytes()  # type: ignore[union-attr]


def test_views_that_share_nothing_are_refused() -> None:
    with pytest.raises(NoSurface):
        carve(sights([disc(10, 0, -40), disc(10, 0, 40), disc(10), disc(10)], "front-right-back-left"))


def test_empty_and_single_views_are_refused_and_cut_off_ones_noted() -> None:
    with pytest.raises(BadViews, match="at least two"):
        carve(sights([disc(10)] * 4, "carve-4")[:1])
    with pytest.raises(BadViews, match="shows nothing"):
        carve(sights([disc(10), disc(10), disc(0), disc(10)], "carve-4"))
    noted = carve(sights([disc(30, 40), disc(30), disc(30), disc(30, 40)], "front-right-back-left")).warnings
    assert any("front" in w and "border" in w for w in noted)
