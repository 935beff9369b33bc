"""Baking: every texel has the colour of its place, and no seam shows."""

import sys
import tracemalloc
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from tsr import bake_texture as baking
from tsr import isosurface
from tsr.bake_texture import bake_texture, dilated, make_atlas, padding, rasterise_positions
from tsr.config import RendererConfig
from tsr.models.nerf_renderer import TriplaneNeRFRenderer

RADIUS = 0.87
#: Colour at (x, y, z) is MIX @ (x, y, z) + 0.5: between 0 and 1 in the whole box, all axes in all channels.
MIX = np.array([[0.4, 0.1, 0.05], [-0.1, 0.35, 0.1], [0.05, -0.15, 0.35]], np.float32)


def colour_at(places: np.ndarray) -> np.ndarray:
    return places @ MIX.T + 0.5


class AffineDecoder:
    """Colour that is affine in position, read from planes that hold their own coordinates."""

    def __call__(self, features: Tensor) -> dict[str, Tensor]:
        places = features[:, [0, 1, 3]]  # planes xy, xz, yz with two channels each
        return {"density": features[:, :1], "features": torch.logit(places @ torch.from_numpy(MIX).T + 0.5)}


def affine_model() -> tuple[Any, Tensor]:
    """A model and a scene code (3, 2, 64, 64): at a texel's centre, each plane has the coordinates of its two axes."""
    centres = ((torch.arange(64) + 0.5) / 64 * 2 - 1) * RADIUS
    down, across = torch.meshgrid(centres, centres, indexing="ij")
    return (
        SimpleNamespace(renderer=TriplaneNeRFRenderer(RendererConfig()), decoder=AffineDecoder()),
        torch.stack([across, down]).repeat(3, 1, 1, 1),
    )


def torus() -> trimesh.Trimesh:
    return trimesh.creation.torus(0.5, 0.2, major_sections=60, minor_sections=30)


def sharp() -> trimesh.Trimesh:
    """Few, large faces, a thin plate among them."""
    parts = [trimesh.creation.box((0.9, 0.5, 0.7)), trimesh.creation.box((0.004, 1.2, 0.3))]
    parts[1].apply_translation((0.6, 0.0, 0.1))
    return trimesh.util.concatenate(parts)


def dust() -> trimesh.Trimesh:
    """Faces of single charts, many of them smaller than a texel."""
    generator = np.random.default_rng(5)
    centres = generator.uniform(-0.6, 0.6, (300, 1, 3))
    corners = centres + generator.normal(size=(300, 3, 3)) * generator.uniform(0.0005, 0.02, (300, 1, 1))
    return trimesh.Trimesh(corners.reshape(-1, 3), np.arange(900).reshape(-1, 3), process=False)


MESHES = pytest.mark.parametrize("mesh", [torus(), sharp(), dust()], ids=["torus", "sharp", "dust"])


def on_faces(out: dict[str, np.ndarray], values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random places on the atlas' faces, borders and corners among them: (n, 2) uv and (n, c) values."""
    generator = np.random.default_rng(3)
    face = generator.integers(0, len(out["indices"]), count)
    weights = generator.dirichlet((0.4, 0.4, 0.4), count)
    weights[: count // 4, 0] = 0.0  # a quarter of them on edges
    weights /= weights.sum(axis=1, keepdims=True)
    corners = out["indices"][face]
    uv = (out["uvs"][corners].astype(float) * weights[..., None]).sum(axis=1)
    return uv, (values[corners] * weights[..., None]).sum(axis=1)


def bilinear(texture: np.ndarray, uv: np.ndarray) -> np.ndarray:
    side = len(texture)
    place = uv * side - 0.5
    low = np.floor(place).astype(int)
    share = place - low
    result = np.zeros((len(uv), texture.shape[2]))
    for right in (0, 1):
        for up in (0, 1):
            weight = np.abs(1 - right - share[:, 0]) * np.abs(1 - up - share[:, 1])
            column, row = np.clip(low[:, 0] + right, 0, side - 1), np.clip(low[:, 1] + up, 0, side - 1)
            result += weight[:, None] * texture[row, column]
    return result


def face_by_face(uvs: np.ndarray, indices: np.ndarray, values: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """(side, side, c) values at texel centres that lie in a face, and in how many faces each lies."""
    places, count = np.zeros((side, side, values.shape[1])), np.zeros((side, side), int)
    for corners in indices:
        (ax, ay), (bx, by), (cx, cy) = uvs[corners].astype(float) * side - 0.5
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-9:
            continue
        rows = np.arange(max(0, int(min(ay, by, cy))), min(side, int(max(ay, by, cy)) + 2))
        columns = np.arange(max(0, int(min(ax, bx, cx))), min(side, int(max(ax, bx, cx)) + 2))
        y, x = np.meshgrid(rows, columns, indexing="ij")
        second = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area
        third = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area
        inside = (second > 1e-6) & (third > 1e-6) & (second + third < 1 - 1e-6)
        weights = np.stack([1 - second - third, second, third], axis=-1)[inside]
        places[y[inside], x[inside]] = weights @ values[corners]
        count[y[inside], x[inside]] += 1
    return places, count


@MESHES
@pytest.mark.parametrize("side", [256, 512])
def test_texels_have_the_colour_of_their_place(mesh: trimesh.Trimesh, side: int) -> None:
    model, code = affine_model()
    out = bake_texture(mesh, model, code, side)
    places, faces = face_by_face(out["uvs"], out["indices"], mesh.vertices[out["vmapping"]], side)
    inside = faces > 0
    assert inside.sum() > 50
    assert faces.max() == 1  # charts do not overlap
    assert (out["colors"][inside, 3] == 1.0).all()
    assert np.abs(out["colors"][inside, :3] - colour_at(places[inside])).max() < 1e-3


@MESHES
@pytest.mark.parametrize("side", [256, 512])
def test_no_seam_shows_in_bilinear_sampling(mesh: trimesh.Trimesh, side: int) -> None:
    model, code = affine_model()
    out = bake_texture(mesh, model, code, side)
    uv, places = on_faces(out, mesh.vertices[out["vmapping"]], 20_000)
    sampled = bilinear(out["colors"], uv)
    assert np.abs(sampled[:, :3] - colour_at(places)).max() <= 4 / 255
    assert sampled[:, 3].min() > 1 - 1e-6


def test_row_0_lies_at_v_0_and_the_dictionary_is_what_callers_unpack() -> None:
    model, code = affine_model()
    mesh = torus()
    out = bake_texture(mesh, model, code, 128)
    assert list(out) == ["vmapping", "indices", "uvs", "colors"]
    assert out["colors"].shape == (128, 128, 4)
    assert out["colors"].dtype == out["uvs"].dtype == np.float32
    assert out["indices"].dtype == out["vmapping"].dtype == np.uint32
    assert set(np.unique(out["colors"][..., 3])) == {0.0, 1.0}
    assert out["colors"].min() == 0.0
    assert out["colors"].max() == 1.0
    assert not out["colors"][out["colors"][..., 3] == 0].any()
    assert np.array_equal(out["vmapping"][out["indices"]], mesh.faces)


def test_the_margin_has_the_colour_of_its_chart() -> None:
    model, code = affine_model()
    mesh = torus()
    out = bake_texture(mesh, model, code, 256)
    _, covered = rasterise_positions(out["uvs"], out["indices"], mesh.vertices[out["vmapping"]], 256)
    bare = np.where(covered[..., None], out["colors"], np.float32(0))
    assert np.array_equal(out["colors"], dilated(bare, covered, padding(256)))
    assert (out["colors"][..., 3] > 0).sum() > covered.sum() * 1.05


def test_colours_are_asked_for_in_chunks_and_without_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    model, code = affine_model()
    whole = bake_texture(torus(), model, code, 128)["colors"]
    sizes = []
    query = model.renderer.query_triplane

    def counting(decoder: Any, positions: Tensor, triplane: Tensor) -> dict[str, Tensor]:
        assert positions.dtype == torch.float32
        assert not torch.is_grad_enabled()
        sizes.append(len(positions))
        return query(decoder, positions, triplane)  # type: ignore[no-any-return]

    monkeypatch.setattr(model.renderer, "query_triplane", counting)
    monkeypatch.setattr(isosurface, "chunk_of", lambda _: 1000)
    chunked = bake_texture(torus(), model, code.clone().requires_grad_(), 128)["colors"]
    assert max(sizes) == 1000
    assert sum(sizes) > 5000
    assert np.abs(chunked - whole).max() < 1e-6


def test_colours_out_of_range_are_cut_off() -> None:
    model, code = affine_model()
    model.renderer.query_triplane = lambda _decoder, positions, _code: {"color": positions * 100}
    colours = bake_texture(torus(), model, code, 64)["colors"]
    assert colours.min() == 0.0
    assert colours.max() == 1.0


def test_an_atlas_keeps_every_face_in_order_whatever_the_size_of_the_mesh() -> None:
    mesh = trimesh.creation.icosphere(4, 1.0)  # 5,120 faces: several pieces
    for size in (1e-4, 1.0, 1e4):
        atlas = make_atlas(mesh.vertices * size + 3 * size, mesh.faces, 512)
        assert np.array_equal(atlas.vmapping[atlas.indices], mesh.faces)
        assert atlas.uvs.min() >= 0
        assert atlas.uvs.max() <= 1
        area = np.abs(np.linalg.det(np.diff(atlas.uvs[atlas.indices].astype(float), axis=1))) / 2
        assert area.min() > 0
        assert 0.4 < area.sum() < 1


def test_pieces_are_whole_and_bounded() -> None:
    centres = np.random.default_rng(0).random((5000, 3))
    pieces = baking._pieces(centres, 300)
    assert max(map(len, pieces)) <= 300
    assert np.array_equal(np.sort(np.concatenate(pieces)), np.arange(5000))


def test_a_mesh_that_cannot_be_charted_is_refused_in_words() -> None:
    corners, faces = np.eye(3), np.array([[0, 1, 2]])
    with pytest.raises(ValueError, match="needs faces"):
        make_atlas(corners, faces[:0], 64)
    with pytest.raises(ValueError, match="finite"):
        make_atlas(np.where(corners == 1, np.nan, corners), faces, 64)
    with pytest.raises(ValueError, match="texture_resolution"):
        make_atlas(corners, faces, 0)


def test_without_xatlas_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xatlas", None)
    with pytest.raises(ImportError, match="pip install xatlas"):
        make_atlas(np.eye(3), np.array([[0, 1, 2]]), 64)


def test_positions_do_not_depend_on_the_size_of_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = torus()
    atlas = make_atlas(mesh.vertices, mesh.faces, 128)
    given = (atlas.uvs, atlas.indices, mesh.vertices[atlas.vmapping], 128)
    places, covered = rasterise_positions(*given)
    monkeypatch.setattr(baking, "BATCH", 37)
    again, covered_again = rasterise_positions(*given)
    assert np.array_equal(covered_again, covered)
    assert np.abs(again - places).max() < 1e-6


def test_positions_are_interpolated_inside_and_clamped_beside() -> None:
    uvs = np.array([[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]])
    places, covered = rasterise_positions(uvs, np.array([[0, 1, 2], [0, 2, 3]]), np.pad(uvs, ((0, 0), (0, 1))), 16)
    assert places.dtype == np.float32
    row, column = np.nonzero(covered)
    assert (row.min(), row.max(), column.min(), column.max()) == (3, 12, 3, 12)
    assert covered.sum() == 100  # 8 × 8 inside and a ring of one texel
    centre = (np.stack([column, row], axis=1) + 0.5) / 16
    assert np.abs(places[covered][:, :2] - np.clip(centre, 0.25, 0.75)).max() < 1e-6
    assert not places[~covered].any()


def test_a_chart_thinner_than_a_texel_keeps_its_own_position() -> None:
    uvs = np.array([[0.30, 0.301], [0.70, 0.301], [0.70, 0.302], [0.5, 0.8], [0.5, 0.8], [0.5, 0.8]])
    positions = np.array([[1, 0, 0], [2, 0, 0], [2, 0, 0], [9, 9, 9], [9, 9, 9], [9, 9, 9]])
    places, covered = rasterise_positions(uvs, np.array([[0, 1, 2], [3, 4, 5]]), positions, 10)
    assert covered[3, 3:7].all()
    assert np.allclose(places[3, 3:7, 0], 1 + (np.arange(3, 7) + 0.5 - 3) / 4, atol=1e-3)
    assert (places[8, 5] == 9).all()


def test_memory_is_bounded_by_the_texture_not_by_the_area_of_faces() -> None:
    uvs = np.array([[0.01, 0.01], [0.99, 0.01], [0.99, 0.99], [0.01, 0.99]])
    faces = np.tile([[0, 1, 2], [0, 2, 3]], (20, 1))  # 20 layers: 20 million texels are written
    tracemalloc.start()
    try:
        rasterise_positions(uvs, faces, np.pad(uvs, ((0, 0), (0, 1))), 1024)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1024 * 1024 * 16 + (48 << 20)


@pytest.mark.parametrize(("shape", "radius", "share"), [((40, 60), 3, 0.02), ((5, 7), 9, 0.06), ((33, 20), 1, 0.2)])
def test_dilation_takes_the_nearest_within_its_radius(shape: tuple[int, int], radius: int, share: float) -> None:
    generator = np.random.default_rng(7)
    covered = generator.random(shape) < share
    colours = generator.random((*shape, 4)).astype(np.float32)
    before = colours.copy()
    grown = dilated(colours, covered, radius)
    rows, columns = np.nonzero(covered)
    assert len(rows) > 0
    for row, column in np.ndindex(shape):
        distance2 = (rows - row) ** 2 + (columns - column) ** 2
        nearest = np.flatnonzero(distance2 == distance2.min())
        near = distance2.min() <= radius**2
        allowed = colours[rows[nearest], columns[nearest]] if near else colours[row, column][None]
        assert (grown[row, column] == allowed).all(axis=1).any()
    assert np.array_equal(colours, before)


def test_dilation_of_nothing_is_nothing() -> None:
    colours = np.random.default_rng(1).random((9, 9, 4)).astype(np.float32)
    assert np.array_equal(dilated(colours, np.zeros((9, 9), bool), 3), colours)


def test_padding_grows_with_the_texture() -> None:
    assert [padding(side) for side in (64, 512, 1024, 2048, 4096)] == [2, 2, 4, 8, 16]
