"""Pictures: true alpha, a light that does not move with the camera, textures where they belong."""

import numpy as np
import pytest

from scratch3d.contracts.views import NAMED_VIEWS, Camera
from scratch3d.geometry.camera import basis, project
from scratch3d.geometry.mesh import Mesh, corner_normals, linear_to_srgb, split_creases, srgb_to_linear, vertex_normals
from scratch3d.geometry.render import render, surface_of


def sphere(segments: int = 96) -> Mesh:
    u, v = np.meshgrid(np.linspace(0, 2 * np.pi, segments), np.linspace(-np.pi / 2, np.pi / 2, segments), indexing="ij")
    vertices = np.stack([np.cos(v) * np.sin(u), np.sin(v), np.cos(v) * np.cos(u)], -1).reshape(-1, 3) * 0.5
    i, j = (a.ravel() for a in np.meshgrid(np.arange(segments - 1), np.arange(segments - 1), indexing="ij"))
    a, b, c, d = i * segments + j, (i + 1) * segments + j, (i + 1) * segments + j + 1, i * segments + j + 1
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]).astype(np.int32)
    normals = (vertices * 2).astype(np.float32)
    return Mesh(vertices=vertices.astype(np.float32), faces=faces, normals=normals)


def cube() -> Mesh:
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)], np.float32)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))]
    return Mesh(vertices=corners, faces=np.array(faces, np.int32))


def test_alpha_covers_the_disc_to_a_thousandth() -> None:
    lit, _ = render(surface_of(sphere()), Camera(azimuth_deg=20, half_width_m=0.6), 256, samples=4)
    pixel = 1.2 / 256
    assert lit[..., 3].sum() / 255 * pixel**2 == pytest.approx(np.pi * 0.25, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "axis", "sign"),
    [("front", 2, 1), ("right", 0, 1), ("back", 2, -1), ("left", 0, -1), ("top", 1, 1), ("bottom", 1, -1)],
)
def test_named_cameras_stand_where_the_convention_says(name: str, axis: int, sign: int) -> None:
    azimuth, elevation = NAMED_VIEWS[name]
    back = basis(Camera(azimuth_deg=azimuth, elevation_deg=elevation))[2]
    assert back[axis] == pytest.approx(sign)


def test_front_view_shows_right_on_the_right_and_up_on_top() -> None:
    screen = project(np.array([[0.3, 0, 0], [0, 0.3, 0]]), Camera(azimuth_deg=0, half_width_m=0.6), 100)
    assert screen[0, 0] > 50 and screen[1, 1] < 50


def test_light_stands_still_when_the_camera_moves() -> None:
    mesh = sphere()
    point = np.array([[0.25, 0.25, np.sqrt(0.25 - 0.125)]])
    shades = []
    for azimuth in (0, 30, 60):
        camera = Camera(azimuth_deg=azimuth, half_width_m=0.6)
        x, y, _ = project(point, camera, 256)[0]
        shades.append(render(surface_of(mesh), camera, 256)[0][int(y), int(x), :3].astype(int))
    assert np.ptp(np.array(shades), axis=0).max() <= 2


def test_unlit_pass_has_the_colour_itself() -> None:
    colour = np.array([200, 30, 90]) / 255
    red = sphere().evolve(colours_linear=np.tile(srgb_to_linear(colour), (len(sphere().vertices), 1)))
    _, unlit = render(surface_of(red), Camera(azimuth_deg=0, half_width_m=0.6), 64)
    assert tuple(unlit[32, 32]) == (200, 30, 90, 255)


def test_texture_is_drawn_the_right_way_up() -> None:
    square = Mesh(
        vertices=np.array([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]], np.float32),
        faces=np.array([[0, 1, 2], [0, 2, 3]], np.int32),
        uv=np.array([[0, 1], [1, 1], [1, 0], [0, 0]], np.float32),
    )
    texture = np.zeros((64, 64, 3), np.uint8)
    texture[:32, :32] = (255, 0, 0)  # top left
    _, unlit = render(surface_of(square, texture=texture), Camera(azimuth_deg=0, half_width_m=0.5), 64)
    assert tuple(unlit[8, 8, :3]) == (255, 0, 0) and tuple(unlit[8, 56, :3]) == (0, 0, 0)


def test_creases_stay_sharp_and_spheres_smooth() -> None:
    box = cube()
    sharp = split_creases(box, corner_normals(box.vertices, box.faces))
    assert len(sharp.vertices) == 24
    ball = sphere().evolve(normals=None)
    smooth = corner_normals(ball.vertices, ball.faces)
    inner = np.abs(ball.vertices[ball.faces][..., 1]) < 0.45
    outward = ball.vertices[ball.faces] * 2
    assert ((smooth * outward).sum(-1)[inner] > 0.98).all()


def test_vertex_normals_match_a_plain_sum() -> None:
    box = cube()
    expected = box.vertices / np.linalg.norm(box.vertices, axis=1, keepdims=True)
    found = vertex_normals(box.vertices, box.faces)
    assert ((found * expected).sum(1) > 0.8).all()
    assert np.linalg.norm(found, axis=1) == pytest.approx(1)


def test_srgb_round_trip() -> None:
    values = np.linspace(0, 1, 256)
    assert linear_to_srgb(srgb_to_linear(values)) == pytest.approx(values, abs=1e-6)
