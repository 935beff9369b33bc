"""Marching cubes: closed, outward, and right, on fields made to break it."""

import itertools

import numpy as np
import pytest

from scratch3d.geometry.march import BLOCK, EDGES, case_table, extract
from scratch3d.geometry.measure import closedness, components, volume_m3
from scratch3d.geometry.mesh import Array, Mesh


def surface(field: Array, spacing_m: float = 1.0) -> Mesh:
    """Extract with every block listed; the field must be negative on its border."""
    shape = np.array(field.shape) // BLOCK
    padded = np.full(np.array(field.shape) + 1, -1.0, np.float32)
    padded[:-1, :-1, :-1] = field
    blocks = np.array(list(itertools.product(*(range(n) for n in shape))), np.int32)
    cuts = [tuple(slice(BLOCK * n, BLOCK * n + BLOCK + 1) for n in block) for block in blocks]
    index = np.arange(len(blocks), dtype=np.int32).reshape(shape)
    return extract(np.stack([padded[c] for c in cuts]), blocks, index, origin=np.zeros(3), spacing_m=spacing_m)


@pytest.mark.parametrize("seed", range(4))
def test_noise_gives_a_closed_manifold_surface(seed: int) -> None:
    field = np.random.default_rng(seed).standard_normal((24, 24, 24)).astype(np.float32)
    for axis in range(3):
        border = np.moveaxis(field, axis, 0)
        border[0] = border[-1] = -1.0
    mesh = surface(field)
    judged = closedness(mesh.faces)
    assert judged.watertight and judged.manifold
    assert volume_m3(mesh) > 0


def test_sphere_has_its_volume_and_one_component() -> None:
    grid = np.mgrid[:64, :64, :64] - 31.7
    mesh = surface((20 - np.sqrt((grid**2).sum(axis=0))).astype(np.float32))
    assert volume_m3(mesh) == pytest.approx(4 / 3 * np.pi * 20**3, rel=0.002)
    assert components(len(mesh.vertices), mesh.faces)[0] == 1
    radius = np.linalg.norm(mesh.vertices - 31.7, axis=1)
    assert abs(radius - 20).max() < 0.02


def test_plane_is_exact() -> None:
    grid = np.mgrid[:32, :32, :32].astype(np.float32)
    slab = np.minimum.reduce([grid[1] - 5.25, 20.5 - grid[1], grid[0] - 4, 25 - grid[0], grid[2] - 4, 25 - grid[2]])
    mesh = surface(slab)
    # The lowest and highest vertices lie between lattice points, where the linear field says.
    assert mesh.vertices[:, 1].min() == pytest.approx(5.25, abs=1e-5)
    assert mesh.vertices[:, 1].max() == pytest.approx(20.5, abs=1e-5)


def test_every_case_uses_exactly_the_crossed_edges() -> None:
    count, table = case_table()
    for case in range(256):
        inside = {c for c in itertools.product((0, 1), repeat=3) if case >> (c[0] + 2 * c[1] + 4 * c[2]) & 1}
        crossed = {i for i, (a, b) in enumerate(EDGES) if (a in inside) != (b in inside)}
        assert set(table[case, : 3 * count[case]].tolist()) == crossed
