"""Figures about meshes whose answers are known."""

import numpy as np
import pytest

from scratch3d.geometry.measure import area_m2, closedness, components, occupancy, volume_m3
from scratch3d.geometry.mesh import Mesh, merged


def box(low: tuple[float, float, float], high: tuple[float, float, float]) -> Mesh:
    corners = np.array([[(low, high)[i >> 2][0], (low, high)[i >> 1 & 1][1], (low, high)[i & 1][2]] for i in range(8)])
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))]
    return Mesh(vertices=corners.astype(np.float32), faces=np.array(faces, np.int32))


def test_box() -> None:
    mesh = box((0, 0, 0), (1, 2, 3))
    assert volume_m3(mesh) == pytest.approx(6)
    assert area_m2(mesh) == pytest.approx(22)
    assert closedness(mesh.faces).watertight


def test_open_and_flipped_meshes_are_not_watertight() -> None:
    mesh = box((0, 0, 0), (1, 1, 1))
    assert closedness(mesh.faces[:-1]).open_edges == 3
    flipped = mesh.faces.copy()
    flipped[0] = flipped[0, ::-1]
    assert not closedness(flipped).watertight
    assert not closedness(np.concatenate([mesh.faces, mesh.faces[:1]])).manifold


def test_components_and_overlapping_occupancy() -> None:
    pair = merged([box((0, 0, 0), (0.6, 1, 1)), box((0.4, 0, 0), (1, 1, 1))])
    assert components(len(pair.vertices), pair.faces)[0] == 2
    inside = occupancy(pair, np.array([-0.25, -0.25, -0.25]), 0.0625, (24, 24, 24))
    assert inside.sum() * 0.0625**3 == pytest.approx(1.0)
