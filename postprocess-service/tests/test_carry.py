"""A texture that came with the mesh is kept, however few faces are left."""

import numpy as np
import pytest

from postprocess_service.engines.base import Wish
from postprocess_service.engines.light.carry import carried, coverage, sampled
from postprocess_service.engines.light.engine import Light
from scratch3d.geometry.measure import closedness, euler_number
from scratch3d.geometry.mesh import Mesh, split_creases, vertex_normals


def ball(rings: int = 64) -> Mesh:
    """A closed ball, seen from the front: u and v are x and y."""
    polar = np.linspace(0, np.pi, rings + 1)[1:-1]
    around = np.linspace(0, 2 * np.pi, 2 * rings, endpoint=False)
    p, a = np.meshgrid(polar, around, indexing="ij")
    rows = np.stack([np.sin(p) * np.cos(a), np.cos(p), np.sin(p) * np.sin(a)], axis=-1).reshape(-1, 3)
    vertices = np.concatenate([rows, [[0, 1, 0], [0, -1, 0]]]) * 0.5
    n, faces = 2 * rings, []
    for i in range(rings - 2):
        for j in range(n):
            a0, b0, a1, b1 = i * n + j, i * n + (j + 1) % n, (i + 1) * n + j, (i + 1) * n + (j + 1) % n
            faces += [(a0, b0, b1), (a0, b1, a1)]
    top, bottom, last = len(rows), len(rows) + 1, (rings - 2) * n
    faces += [(top, (j + 1) % n, j) for j in range(n)] + [(bottom, last + j, last + (j + 1) % n) for j in range(n)]
    mesh = Mesh(vertices=vertices.astype(np.float32), faces=np.array(faces, np.int32))
    return mesh.evolve(uv=(mesh.vertices[:, :2] * (1, -1) + 0.5).astype(np.float32))


def two_sided() -> Mesh:
    """The ball with its back in the right half of the texture."""
    mesh = ball()
    assert mesh.uv is not None
    corners = mesh.vertices[mesh.faces]
    front = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] >= 0
    mark = np.where(front, 1.0, -1.0)[:, None, None] * np.array([0.0, 0.0, 1.0])
    split = split_creases(mesh, np.broadcast_to(mark, corners.shape).astype(np.float32))
    assert split.uv is not None and split.normals is not None
    u = np.where(split.normals[:, 2] > 0, split.uv[:, 0] / 2, 1 - split.uv[:, 0] / 2)
    return split.evolve(uv=np.stack([u, split.uv[:, 1]], axis=1).astype(np.float32), normals=None)


@pytest.mark.parametrize("faces", [300, 2000])
def test_a_planar_mapping_survives_decimation(faces: int) -> None:
    source = ball()
    texture = np.zeros((64, 64, 3), np.uint8)
    made = Light(None).process(
        source.evolve(colours_linear=np.zeros_like(source.vertices)),
        Wish(target_faces=faces, texture=True, texture_px=1024, source_texture=texture),
        lambda *_: None,
    )
    kept = made.unwrapped
    assert kept is not None and kept.uv is not None and made.texture is texture
    assert len(kept.faces) <= faces * 1.01
    expected = kept.vertices[:, :2] * (1, -1) + 0.5
    assert np.abs(kept.uv - expected).max() < 0.02 and np.abs(kept.uv - expected).mean() < 0.003
    assert closedness(made.welded.faces).watertight and euler_number(made.welded.faces) == 2


def test_charts_keep_to_their_own_side() -> None:
    source, target = two_sided(), ball(20)
    target = target.evolve(uv=None, normals=vertex_normals(target.vertices, target.faces))
    made, charts = carried(source, target)
    assert charts == 2 and made.uv is not None and made.normals is not None
    middle = made.vertices[made.faces].mean(axis=1)
    u = made.uv[made.faces][..., 0]
    clear = np.abs(middle[:, 2]) > 0.08
    assert (u[clear & (middle[:, 2] > 0)].max() <= 0.5 + 1e-3) and (u[clear & (middle[:, 2] < 0)].min() >= 0.5 - 1e-3)
    assert np.array_equal(made.vertices[made.faces], target.vertices[target.faces])


def test_coverage_and_colours_follow_the_texture() -> None:
    source = ball()
    texture = np.zeros((100, 100, 3), np.uint8)
    texture[:, 50:] = 255
    assert coverage(source, texture).mean() == pytest.approx(np.pi / 4, abs=0.02)
    assert source.uv is not None
    colours = sampled(texture, source.uv)
    right = source.vertices[:, 0] > 0.02
    assert (colours[right] == 1).all() and (colours[source.vertices[:, 0] < -0.02] == 0).all()
