"""Words become scenes, scenes become true views."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_service.engines.procedural.engine import Procedural
from image_service.engines.procedural.grammar import parse
from image_service.engines.procedural.scene import build
from image_service.engines.procedural.solids import SOLIDS
from image_service.engines.procedural.vocabulary import COLOURS, MATERIALS, THINGS, listed
from scratch3d.contracts.images import WantedView
from scratch3d.contracts.views import VIEW_SETS
from scratch3d.geometry.glb import read_glb
from scratch3d.geometry.measure import closedness, volume_m3
from scratch3d.servicekit.errors import Unprocessable

VOLUMES = {
    "cube": 1.0,
    "box": 1.4 * 0.8 * 0.9,
    "sphere": np.pi / 6,
    "ellipsoid": 4 / 3 * np.pi * 0.36**2 * 0.5,
    "hemisphere": 2 / 3 * np.pi * 0.125,
    "cylinder": np.pi * 0.16,
    "capsule": np.pi * 0.26**2 * 0.48 + 4 / 3 * np.pi * 0.26**3,
    "cone": np.pi * 0.45**2 / 3,
    "pyramid": 0.9 / 3,
    "prism": 0.86 * 1.1 / 2,
    "octahedron": 2 * (0.5 * 0.6 / 3),
    "torus": 2 * np.pi**2 * 0.36 * 0.14**2,
}


def test_there_are_twelve_solids_and_eight_materials() -> None:
    assert set(SOLIDS) == set(VOLUMES) and len(SOLIDS) == 12
    assert len(MATERIALS) == 8 and len(COLOURS) >= 140
    assert set(THINGS.values()) == set(SOLIDS)


@pytest.mark.parametrize("name", SOLIDS)
def test_each_solid_is_closed_outward_standing_and_of_its_volume(name: str) -> None:
    mesh = SOLIDS[name]()
    assert closedness(mesh.faces).watertight
    assert volume_m3(mesh) == pytest.approx(VOLUMES[name], rel=2e-3)
    low, high = mesh.bounds
    assert low[1] == pytest.approx(0, abs=1e-6)
    assert (low + high)[[0, 2]] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a red cube", [("cube", "red", None, None)]),
        ("a cube made of wood", [("cube", None, "wood", None)]),
        ("A DARK OLIVE GREEN ball!", [("sphere", "darkolivegreen", None, None)]),
        ("a red cube on a wooden cylinder", [("cube", "red", None, "on"), ("cylinder", None, "wood", None)]),
        ("cone next to a gold torus", [("cone", None, None, "beside"), ("torus", None, "gold", None)]),
        (
            "an egg on top of a box and a pill",
            [("ellipsoid", None, None, "on"), ("box", None, None, "beside"), ("capsule", None, None, None)],
        ),
        ("a cube, blue", [("cube", "blue", None, None)]),
        ("red cube blue sphere", [("cube", "red", None, None), ("sphere", "blue", None, None)]),
    ],
)
def test_grammar(prompt: str, expected: list[tuple[object, ...]]) -> None:
    items, warnings = parse(prompt)
    assert [(i.solid, i.colour, i.material, i.relation) for i in items] == expected
    assert warnings == []


def test_unknown_words_and_counts_are_told() -> None:
    _, warnings = parse("two fluffy red cubes")
    assert any("fluffy" in w and "two" in w for w in warnings) and any("cubes" in w for w in warnings)


@pytest.mark.parametrize("prompt", ["a dragon", "red", "on beside", "…", "猫"])
def test_prompt_without_a_thing_is_refused_with_the_vocabulary(prompt: str) -> None:
    with pytest.raises(Unprocessable, match=r"torus.*docs/engines.md") as caught:
        parse(prompt)
    assert caught.value.problem_code == "unknown_prompt"


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(max_size=200),
        st.lists(st.sampled_from([w for kind in listed().values() for w in kind]), max_size=20).map(" ".join),
    )
)
def test_any_text_is_drawn_or_refused(prompt: str) -> None:
    try:
        items, _ = parse(prompt)
    except Unprocessable:
        return
    scene = build(items)
    low, high = scene.mesh.bounds
    assert (high - low).max() == pytest.approx(1, abs=1e-5)
    assert np.isfinite(scene.mesh.vertices).all()


def test_things_stand_where_they_were_put() -> None:
    cube, cylinder = (p.mesh.bounds for p in build(parse("a cube on a cylinder")[0]).parts)
    assert cube[0][1] == pytest.approx(cylinder[1][1], abs=1e-5)
    left, right = (p.mesh.bounds for p in build(parse("a cube beside a cone")[0]).parts)
    assert left[1][0] < right[0][0] and left[0][1] == pytest.approx(right[0][1], abs=1e-5)
    ball, low_box, tall = (p.mesh.bounds for p in build(parse("a ball beside a cube on a huge box")[0]).parts)
    assert ball[0][1] == pytest.approx(tall[0][1], abs=1e-5), "nothing floats"
    assert low_box[0][1] > ball[0][1]


def test_views_show_the_scene_whole_with_true_alpha() -> None:
    wanted = [WantedView(name=n, azimuth_deg=a, elevation_deg=e) for n, a, e in VIEW_SETS["carve-8"]]
    told: list[float] = []
    made = Procedural(None).generate(["a red cube"], wanted, size_px=128, seed=0, report=lambda f, _: told.append(f))
    assert told == sorted(told) and len(told) == 8
    assert len({p.camera.half_width_m for p in made.pictures}) == 1
    for picture in made.pictures:
        alpha = picture.rgba[..., 3]
        assert alpha[[0, -1]].max() == 0 and alpha[:, [0, -1]].max() == 0 and alpha.max() == 255
        assert (picture.rgba[alpha == 0][:, :3] == 236).all()
        assert picture.unlit_rgba is not None
        assert (picture.unlit_rgba[alpha == 255][:, :3] == (255, 0, 0)).all()
    front = made.pictures[0]
    area = (front.rgba[..., 3] / 255).sum() * (2 * front.camera.half_width_m / 128) ** 2
    assert area == pytest.approx(1.0, rel=8e-3)  # an axis-aligned edge falls between four samples a pixel
    assert made.scene_glb is not None
    assert read_glb(made.scene_glb).parts[0].material.roughness == MATERIALS["plastic"].roughness
