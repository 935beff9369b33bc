"""The sparse lattice gives the dense lattice's surface, and both give the solids that are there."""

import itertools
import threading

import inputs
import numpy as np
import pytest
import torch

from conftest import Golden, Scene
from tsr.field import LatticeField, TriplaneField, silent
from tsr.isosurface import Surface, dense_lattice, sparse_lattice, surface_of
from tsr.marching import case_table, crossings, marched
from tsr.system import TSR


def surface(scene: Scene, resolution: int, **how: object) -> Surface:
    return surface_of(scene.renderer, scene.decoder, scene.code, resolution, 25.0, **{"colour": False, **how})  # type: ignore[arg-type]


def same(one: Surface, other: Surface) -> bool:
    return torch.equal(one.vertices, other.vertices) and torch.equal(one.faces, other.faces)


def volume_and_area(found: Surface) -> tuple[float, float]:
    corners = found.vertices.double()[found.faces]
    cross = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    volume = (corners[:, 0] * torch.linalg.cross(corners[:, 1], corners[:, 2])).sum() / 6
    return float(volume), float(cross.norm(dim=1).sum() / 2)


def open_edges(faces: torch.Tensor) -> int:
    """Directed edges without exactly one opposite."""
    directed = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    size = int(faces.max()) + 1
    forth, back = directed[:, 0] * size + directed[:, 1], directed[:, 1] * size + directed[:, 0]
    return int((torch.sort(forth)[0] != torch.sort(back)[0]).sum()) + len(forth) - len(torch.unique(forth))


@pytest.mark.parametrize("resolution", [32, 64, 128])
def test_the_references_meshes(fitted: Scene, golden: Golden, resolution: int) -> None:
    """Vertices, faces, volume, area, bounds, mean triangle centre and mean colour, placed as the original places them."""
    found = surface(fitted, resolution, interpolation="density", colour=True)
    expected = golden[f"fitted_mc{resolution}"]
    assert (len(found.vertices), len(found.faces)) == tuple(expected[:2])
    np.testing.assert_allclose(volume_and_area(found), expected[2:4], rtol=5e-4)
    low, high = found.vertices.min(dim=0)[0], found.vertices.max(dim=0)[0]
    np.testing.assert_allclose(torch.cat([low, high]), expected[4:10], atol=1e-5)
    np.testing.assert_allclose(found.vertices[found.faces].mean(dim=(0, 1)), expected[10:13], atol=2e-3)
    assert found.colours is not None
    np.testing.assert_allclose(found.colours.mean(dim=0), expected[13:16], atol=2e-3)


def test_density_of_the_whole_lattice(fitted: Scene, tiny: TSR, golden: Golden) -> None:
    code, decoder, renderer = fitted.code, fitted.decoder, fitted.renderer
    points = torch.from_numpy(inputs.points_in())
    found = renderer.query_triplane(decoder, points, code)
    assert golden.off("fitted_q_density", found["density"]) < inputs.TOL["density"]
    assert golden.off("fitted_q_color", found["color"]) < inputs.TOL["color"]
    field = TriplaneField(renderer, decoder, code, 32, silent)
    assert golden.off("fitted_grid32_density", field.whole()) < inputs.TOL["density"]
    codes = tiny(inputs.image_u8())[0]
    field = TriplaneField(tiny.renderer, tiny.decoder, codes, 24, silent)
    np.testing.assert_allclose(
        torch.exp(field.whole() - 1), golden["tiny_grid24_density_act"], rtol=inputs.RTOL_DENSITY_ACT
    )
    line = field.positions
    first_last = torch.stack([torch.stack(p) for p in itertools.product(*[(line[0], line[-1])] * 3)])
    assert float((first_last.abs() - tiny.renderer.cfg.radius).abs().max()) < 1e-6


def test_sparse_is_dense_at_256_for_a_fifteenth_of_the_points(fitted: Scene) -> None:
    sparse, dense = surface(fitted, 256), surface(fitted, 256, method="dense")
    assert same(sparse, dense)
    assert sparse.decoded <= 0.07 * sparse.lattice == 0.07 * 256**3
    assert open_edges(sparse.faces) == 0 and volume_and_area(sparse)[0] > 0


@pytest.mark.parametrize("resolution", [100, 129, 160])
def test_sparse_is_dense_at_any_resolution(fitted: Scene, resolution: int) -> None:
    assert same(surface(fitted, resolution), surface(fitted, resolution, method="dense"))


def test_tables_change_no_sign(fitted: Scene) -> None:
    tables, sampled = surface(fitted, 64, method="dense"), surface(fitted, 64, method="reference")
    assert torch.equal(tables.faces, sampled.faces)
    assert float((tables.vertices - sampled.vertices).abs().max()) < 1e-5


class Solids(LatticeField):
    """Balls and rods whose log density falls by `slope` per unit across their surfaces."""

    def __init__(self, resolution: int, slope: float) -> None:
        super().__init__(resolution, 0.87, torch.device("cpu"))
        self.slope = slope
        draw = np.random.default_rng(7)
        self.centres = torch.from_numpy(draw.uniform(-0.75, 0.75, (240, 3)).astype(np.float32))
        self.radii = torch.from_numpy(draw.uniform(0.006, 0.026, 240).astype(np.float32))
        self.ends = torch.from_numpy(draw.uniform(-0.7, 0.7, (30, 2, 3)).astype(np.float32))
        self.thickness = torch.from_numpy(draw.uniform(0.006, 0.02, 30).astype(np.float32))

    def decode(self, points: torch.Tensor) -> torch.Tensor:
        places = torch.stack([self.positions[axis] for axis in self.places(points)[:3]], dim=-1)
        inside = (self.radii - torch.cdist(places, self.centres)).amax(dim=1)
        for (start, end), radius in zip(self.ends, self.thickness, strict=True):
            along = end - start
            share = (((places - start) @ along) / along.dot(along)).clamp(0, 1)
            inside = torch.maximum(inside, radius - (places - start - share[:, None] * along).norm(dim=1))
        return self.slope * inside


@pytest.mark.parametrize("slope", [44.0, 70.0, 140.0])
def test_nothing_is_lost_among_hundreds_of_floaters_and_rods(slope: float) -> None:
    """Their radii are a fifth to a whole of a coarse cell."""
    sparse, dense = sparse_lattice(Solids(128, slope), 0.0), dense_lattice(Solids(128, slope), 0.0)
    assert torch.equal(sparse.inside, dense.inside)
    assert all(torch.equal(a, b) for a, b in zip(sparse.crossings, dense.crossings, strict=True))
    for one, other in zip(
        marched(sparse.inside, sparse.crossings, sparse.raw, 0.0),
        marched(dense.inside, dense.crossings, dense.raw, 0.0),
        strict=True,
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_no_value_and_leave_no_trace(fitted: Scene, threads: int) -> None:
    alone = surface(fitted, 100)
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            assert same(surface(fitted, 100), alone)
        assert torch.get_num_threads() == threads
        seen: list[int] = []
        newcomer = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        newcomer.start()
        newcomer.join()
        assert seen == [threads]
    finally:
        torch.set_num_threads(1)


class Noise(LatticeField):
    """A surface everywhere."""

    def decode(self, points: torch.Tensor) -> torch.Tensor:
        return torch.sin(points.to(torch.float64) * 12.9898).to(torch.float32)


class Bridge(LatticeField):
    """Two slabs whose inner parts are joined by a bar as thin as two fine cells: nothing coarse sees the bar."""

    def decode(self, points: torch.Tensor) -> torch.Tensor:
        x, y, z, _ = self.places(points)
        middle = self.resolution // 2 + 1
        bar = (torch.maximum((y - middle).abs(), (z - middle).abs()) < 2).float()
        slab = ((x - self.resolution // 2).abs() > self.resolution // 3).float()
        return torch.maximum(slab, bar) * 200 - 100


@pytest.mark.parametrize(("kind", "share"), [(Noise, 1.0), (Bridge, 0.5)])
def test_fields_that_are_hard_to_skip_in(kind: type[LatticeField], share: float) -> None:
    """Noise is decoded whole; a part that no coarse cell sees is followed from where it is seen."""
    field = kind(130, 0.87, torch.device("cpu"))
    sparse, dense = sparse_lattice(field, 0.0), dense_lattice(kind(130, 0.87, torch.device("cpu")), 0.0)
    assert torch.equal(sparse.inside, dense.inside)
    assert all(torch.equal(a, b) for a, b in zip(sparse.crossings, dense.crossings, strict=True))
    assert field.done <= share * 130**3 * 1.2


def test_a_sphere_is_round() -> None:
    """Facet normals of a sphere against the true ones: interpolation in log density beats the original's."""

    class Sphere(LatticeField):
        def decode(self, points: torch.Tensor) -> torch.Tensor:
            places = torch.stack([self.positions[axis] for axis in self.places(points)[:3]], dim=-1)
            return 1 + float(np.log(25.0)) + 44 * (0.5 - places.norm(dim=-1))

    iso = 1 + float(np.log(25.0))
    lattice = sparse_lattice(Sphere(128, 0.87, torch.device("cpu")), iso)
    errors = {}
    for name, values, level in (("log", lattice.raw, iso), ("density", torch.exp(lattice.raw - 1), 25.0)):
        places, faces = marched(lattice.inside, lattice.crossings, values, level)
        corners = (places / 127 * 1.74 - 0.87)[faces]
        normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        cosine = torch.nn.functional.cosine_similarity(normals, corners.mean(dim=1))
        errors[name] = float(torch.rad2deg(torch.arccos(cosine.clamp(-1, 1))).median())
    assert errors["log"] <= 1.8 < errors["density"]


def test_every_case_of_a_cube_is_closed_with_its_neighbours() -> None:
    """Random signs: each edge of the surface has two faces that pass it in opposite directions."""
    draw = torch.Generator().manual_seed(3)
    values = torch.zeros(14, 14, 14) - 1
    values[1:-1, 1:-1, 1:-1] = torch.rand(12, 12, 12, generator=draw) - 0.5
    inside = values > 0
    vertices, faces = marched(inside, [crossings(inside, axis) for axis in range(3)], values, 0.0)
    assert open_edges(faces) == 0
    corners = vertices.double()[faces]
    assert float((corners[:, 0] * torch.linalg.cross(corners[:, 1], corners[:, 2])).sum()) > 0
    assert (case_table()[0] == -1).all() and (case_table()[255] == -1).all()


def test_progress_is_told_and_can_end_the_work(fitted: Scene) -> None:
    told: list[tuple[float, str]] = []
    surface(fitted, 200, report=lambda share, phase: told.append((share, phase)))
    assert [share for share, _ in told] == sorted(share for share, _ in told)
    assert {"decoding", "meshing"} <= {phase for _, phase in told}

    def stop(_: float, __: str) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        surface(fitted, 200, report=stop)


def test_nothing_above_the_threshold_is_an_empty_surface(fitted: Scene) -> None:
    found = surface_of(fitted.renderer, fitted.decoder, fitted.code, 64, 1e9)
    assert found.faces.shape == (0, 3) and found.vertices.shape == (0, 3)


@pytest.mark.parametrize(("resolution", "threshold"), [(4, 25.0), (5000, 25.0), (64, 0.0), (64, float("nan"))])
def test_what_cannot_be_is_refused(fitted: Scene, resolution: int, threshold: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        surface_of(fitted.renderer, fitted.decoder, fitted.code, resolution, threshold)
