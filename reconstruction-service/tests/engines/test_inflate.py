"""One picture: thickness that is known, holes that stay, options that do what they say."""

import numpy as np
import pytest
from scipy import ndimage

from reconstruction_service.engines.base import Reconstruction, Sight
from reconstruction_service.engines.inflate.engine import Inflate
from reconstruction_service.engines.inflate.solid import coarsest_stride
from reconstruction_service.engines.inflate.swell import squared_thickness
from reconstruction_service.engines.visual_hull.silhouette import signed_distance_px
from reconstruction_service.errors import BadViews
from scratch3d.contracts.views import Camera
from scratch3d.geometry.measure import closedness, euler_number, volume_m3
from scratch3d.geometry.mesh import U8
from scratch3d.servicekit.errors import Unprocessable

SIZE = 256
Y, X = np.mgrid[:SIZE, :SIZE] + 0.5 - SIZE / 2


def picture(edge_px: np.ndarray, colour: tuple[int, int, int] = (200, 90, 30)) -> U8:
    """A shape from its signed distance, antialiased."""
    rgba = np.zeros((SIZE, SIZE, 4), np.uint8)
    rgba[..., :3] = colour
    rgba[..., 3] = np.rint(np.clip(edge_px + 0.5, 0, 1) * 255)
    return rgba


def sight(rgba: U8, name: str = "front", azimuth: float = 0.0) -> Sight:
    return Sight(name=name, camera=Camera(azimuth_deg=azimuth), rgba=rgba, unlit_rgba=None, alpha_trusted=True)


def inflate(*sights: Sight, resolution: int = 256, **options: object) -> Reconstruction:
    return Inflate(None).reconstruct(
        sights,
        resolution=resolution,
        seed=0,
        options=options,  # type: ignore[arg-type]
        report=lambda *_: None,
    )


DISC = 90 - np.hypot(X, Y)
RING = 25 - np.abs(np.hypot(X, Y) - 70)
BARS = np.maximum.reduce([np.minimum(80 - np.abs(Y), 6 - np.abs(X - at)) for at in (-50, 0, 50)])
GRID = np.maximum(BARS, np.maximum.reduce([np.minimum(80 - np.abs(X), 6 - np.abs(Y - at)) for at in (-40, 40)]))


def test_a_disc_becomes_a_ball() -> None:
    mesh = inflate(sight(picture(DISC)), thickness=1.0, min_thickness=0.005).mesh
    radius = 90 * 1.2 / SIZE
    assert volume_m3(mesh) == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.03)
    away = np.linalg.norm(mesh.vertices, axis=1)
    assert away.max() < radius * 1.03 and away.min() > radius * 0.95


def test_the_film_solves_its_equation() -> None:
    u = squared_thickness(DISC.astype(np.float32), thickness=1.0, least_px=1e-6)
    assert u[SIZE // 2, SIZE // 2] == pytest.approx(90**2, rel=0.02)
    deep = DISC > 4
    laplacian = ndimage.laplace(u)[ndimage.binary_erosion(deep)]
    assert np.median(laplacian) == pytest.approx(-4, abs=0.3)


@pytest.mark.parametrize(
    ("shape", "euler"),
    [(DISC, 2), (RING, 0), (GRID, 2 - 2 * 2), (np.maximum(RING, 20 - np.hypot(X, Y)), 2)],
    ids=["disc", "ring", "grid", "ring and disc"],
)
@pytest.mark.parametrize("resolution", [64, 256])
def test_closed_with_the_outlines_own_holes(shape: np.ndarray, euler: int, resolution: int) -> None:
    mesh = inflate(sight(picture(shape)), resolution=resolution).mesh
    closed = closedness(mesh.faces)
    assert closed.watertight and closed.manifold
    assert euler_number(mesh.faces) == euler
    assert volume_m3(mesh) > 0


def test_the_lattice_is_as_coarse_as_the_outline_allows() -> None:
    pierced = signed_distance_px(picture(np.minimum(DISC, np.hypot(X - 10.5, Y - 10.5) - 1.6))[..., 3])
    assert coarsest_stride(DISC.astype(np.float32), 4) == 4
    assert coarsest_stride(pierced, 4) < 4


def test_thin_parts_keep_a_thickness() -> None:
    needle = picture(np.minimum(1.5 - np.abs(X), 100 - np.abs(Y)))
    for share in (0.02, 0.1):
        low, high = inflate(sight(needle), min_thickness=share).mesh.bounds
        assert (high - low)[2] / (high - low)[1] > share * 0.85


def test_front_faces_the_camera_and_shows_the_picture() -> None:
    rgba = picture(DISC)
    rgba[:, : SIZE // 2, :3] = (10, 20, 240)
    made = inflate(sight(rgba))
    mesh, texture = made.mesh, made.texture
    assert texture is not None and mesh.uv is not None and mesh.normals is not None
    texel = texture[
        np.clip((mesh.uv[:, 1] * SIZE).astype(int), 0, SIZE - 1),
        np.clip((mesh.uv[:, 0] * SIZE).astype(int), 0, SIZE - 1),
    ].astype(int)
    left = mesh.vertices[:, 0] < -0.02
    assert (texel[left][:, 2] > 200).all() and (texel[mesh.vertices[:, 0] > 0.02][:, 2] < 60).all()
    assert (mesh.normals[mesh.vertices[:, 2] > 0.1][:, 2] > 0).all()


def test_the_side_view_alone_faces_its_own_side() -> None:
    mesh = inflate(sight(picture(np.minimum(60 - np.abs(Y), 100 - np.abs(X))), "right", 90.0), thickness=0.2).mesh
    low, high = mesh.bounds
    assert (high - low)[2] > 2 * (high - low)[0], "a picture from +X is wide along z"


def test_the_back_is_what_was_asked_for() -> None:
    front = picture(DISC)
    plain = inflate(sight(front), back="plain", back_colour="#00ff00")
    assert plain.texture is not None and plain.mesh.uv is not None and plain.mesh.normals is not None
    u = plain.mesh.uv[:, 0] * plain.texture.shape[1]
    behind = plain.mesh.normals[:, 2] < -0.2
    assert (plain.texture[100, u[behind].astype(int)] == (0, 255, 0)).all()
    both = inflate(sight(front), sight(picture(DISC, (20, 30, 220)), "back", 180.0))
    assert both.texture is not None and both.texture.shape == (SIZE, 2 * SIZE, 3) and both.mesh.uv is not None
    assert (both.mesh.uv[both.mesh.vertices[:, 2] < -0.05][:, 0] >= 0.5).all()


def test_doubts_and_refusals() -> None:
    speckled = picture(DISC)
    speckled[::16, ::16, 3] = 255 - speckled[::16, ::16, 3]
    made = inflate(sight(speckled), sight(picture(DISC), "left", 270.0))
    assert euler_number(made.mesh.faces) == 2
    assert any("specks" in w for w in made.warnings) and any("left is not used" in w for w in made.warnings)
    with pytest.raises(BadViews, match="empty"):
        inflate(sight(picture(DISC - 500)))
    with pytest.raises(Unprocessable) as caught:
        inflate(sight(picture(DISC)), back="sideways")
    assert caught.value.field == "options.back"
