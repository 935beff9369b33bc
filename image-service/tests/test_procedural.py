"""Words become scenes, scenes become true views."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from image_service.engines.procedural.engine import Procedural
from image_service.engines.procedural.grammar import Item, parse
from image_service.engines.procedural.scene import build
from image_service.engines.procedural.styles import STYLES
from image_service.engines.procedural.things import THINGS, solids
from image_service.engines.procedural.vocabulary import COLOURS, MATERIALS, listed, parts_of
from scratch3d.contracts.images import WantedView
from scratch3d.contracts.views import VIEW_SETS
from scratch3d.geometry.glb import Part, read_glb
from scratch3d.geometry.measure import closedness, components, volume_m3
from scratch3d.geometry.mesh import srgb_to_linear
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


def items(prompt: str) -> tuple[Item, ...]:
    return parse(prompt).items


def parts(prompt: str, style: str | None = None) -> dict[str, list[Part]]:
    """The scene's parts by the name of the piece."""
    found: dict[str, list[Part]] = {}
    for part in build(parse(prompt), style=style).parts:
        found.setdefault(part.name.split("-", 1)[1], []).append(part)
    return found


def bounds(found: list[Part]) -> tuple[np.ndarray, np.ndarray]:
    lows, highs = zip(*(part.mesh.bounds for part in found), strict=True)
    return np.min(lows, axis=0), np.max(highs, axis=0)


def test_there_are_twelve_solids_and_far_more_than_thirty_things() -> None:
    assert set(solids.THINGS) == set(VOLUMES)
    assert len(THINGS) - len(solids.THINGS) >= 100
    assert len(MATERIALS) >= 8 and len(COLOURS) >= 140 and len(STYLES) >= 5


@pytest.mark.parametrize("name", VOLUMES)
def test_each_solid_has_its_volume(name: str) -> None:
    (piece,) = THINGS[name].pieces(192)
    assert volume_m3(piece.mesh) == pytest.approx(VOLUMES[name], rel=2e-3)


@pytest.mark.parametrize("name", THINGS)
def test_every_piece_is_closed_in_one_piece_and_faces_outwards(name: str) -> None:
    for segments in (8, 48):
        for piece in THINGS[name].pieces(segments):
            assert closedness(piece.mesh.faces).watertight, piece.part
            assert components(len(piece.mesh.vertices), piece.mesh.faces)[0] == 1, piece.part
            assert volume_m3(piece.mesh) > 0, piece.part
            assert np.isfinite(piece.mesh.vertices).all()


@pytest.mark.parametrize("name", THINGS)
def test_every_thing_is_drawn_by_its_name(name: str) -> None:
    scene = build(parse(f"a {name}"))
    low, high = scene.mesh.bounds
    assert (high - low).max() == pytest.approx(1, abs=1e-5)
    assert low + high == pytest.approx(0, abs=1e-5)
    assert not scene.warnings


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a red cube", [("cube", ("red",), None, None)]),
        ("a cube made of wood", [("cube", (), "wood", None)]),
        ("A DARK OLIVE GREEN ball!", [("sphere", ("darkolivegreen",), None, None)]),
        ("a red cube on a wooden cylinder", [("cube", ("red",), None, "on"), ("cylinder", (), "wood", None)]),
        ("cone next to a gold torus", [("cone", (), None, "beside"), ("torus", (), "gold", None)]),
        ("a cube, blue", [("cube", ("blue",), None, None)]),
        ("a cube in red", [("cube", ("red",), None, None)]),
        ("an apple in a red bowl", [("apple", (), None, "inside"), ("bowl", ("red",), None, None)]),
        ("red cube blue sphere", [("cube", ("red",), None, None), ("sphere", ("blue",), None, None)]),
        ("a red and blue rocket", [("rocket", ("red", "blue"), None, None)]),
        ("a red and a blue cube", [("cube", ("red",), None, None), ("cube", ("blue",), None, None)]),
        ("a cube, blue, and a ball", [("cube", ("blue",), None, None), ("sphere", (), None, None)]),
        ("an orange", [("orange", (), None, None)]),
        ("an orange cat", [("cat", ("orange",), None, None)]),
        ("a brick house", [("house", (), "brick", None)]),
        ("a boat behind a lighthouse", [("boat", (), None, "behind"), ("lighthouse", (), None, None)]),
        ("a house surrounded by trees", [("house", (), None, None), ("tree", (), None, "around")]),
        ("a bowl full of apples", [("bowl", (), None, None), ("apple", (), None, "inside")]),
    ],
)
def test_grammar(prompt: str, expected: list[tuple[object, ...]]) -> None:
    assert [(i.thing, i.colours, i.material, i.relation) for i in items(prompt)] == expected


@pytest.mark.parametrize(
    ("prompt", "counts"),
    [
        ("three cubes", [3]),
        ("a dozen eggs in a basket", [12, 1]),
        ("12 red balls", [12]),
        ("a pair of shields", [2]),
        ("a cat and two dogs", [1, 2]),
        ("99 pine trees", [12]),
        ("some mushrooms", [3]),
        ("two fish", [2]),
    ],
)
def test_counts(prompt: str, counts: list[int]) -> None:
    assert [item.count for item in items(prompt)] == counts


def test_whom_a_relation_binds() -> None:
    cup, plate, table = items("a cup and a plate on a table")
    assert cup.target == plate.target == 2 and table.target is None
    cat, table, dog, chair = items("a cat on a table and a dog under a chair")
    assert (cat.target, table.target, dog.target, chair.target) == (1, None, 3, None)
    ball, box, table = items("a ball on a box on a table")
    assert (ball.target, box.target, table.target) == (1, 2, None)


def test_parts_have_colours_of_their_own() -> None:
    mug = parts("a blue mug with a white handle")
    assert mug["cup"][0].mesh.colours_linear[0] == pytest.approx(srgb_to_linear(np.array([0, 0, 1.0])))
    assert mug["handle"][0].mesh.colours_linear[0] == pytest.approx([1, 1, 1])
    assert "handle" not in parts("a mug without a handle")
    sword = parts("a sword with a golden blade")
    assert sword["blade"][0].material.metallic == 1
    assert all(len(parts_of(name)) >= 1 for name in THINGS)


def test_unknown_words_and_unsaid_numbers_are_told() -> None:
    warnings = parse("a fluffy red cube and trees").warnings
    assert any("fluffy" in w for w in warnings) and any("no number" in w for w in warnings)
    assert any("12 are drawn" in w for w in parse("fifty 50 cubes").warnings)
    assert any("no opening" in w for w in build(parse("an apple in a cube")).warnings)


@pytest.mark.parametrize("prompt", ["a dragon", "²", "red", "on beside", "…", "猫", "with a handle", "in in in and"])
def test_prompt_without_a_thing_is_refused_with_the_vocabulary(prompt: str) -> None:
    with pytest.raises(Unprocessable, match=r"torus.*docs/engines.md") as caught:
        parse(prompt)
    assert caught.value.problem_code == "unknown_prompt"


WORDS = [w for kind in listed().values() for w in kind] + ["and", "with", "without", "a", "the", ",", "of"]


@settings(max_examples=120, deadline=None)
@example("plane:plane:voxel")
@example("12 planes voxel")
@given(st.one_of(st.text(max_size=200), st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join)))
def test_any_text_is_drawn_or_refused(prompt: str) -> None:
    try:
        said = parse(prompt)
    except Unprocessable:
        return
    scene = build(said)
    low, high = scene.mesh.bounds
    assert (high - low).max() == pytest.approx(1, abs=1e-4)
    assert np.isfinite(scene.mesh.vertices).all()


def test_things_stand_where_they_were_put() -> None:
    cylinder, cube = (p.mesh.bounds for p in build(parse("a cube on a cylinder")).parts)
    assert cube[0][1] == pytest.approx(cylinder[1][1], abs=1e-5)
    right, left = (p.mesh.bounds for p in build(parse("a cube left of a cone")).parts)
    assert left[1][0] < right[0][0] and left[0][1] == pytest.approx(right[0][1], abs=1e-5)
    front, back = (p.mesh.bounds for p in build(parse("a cone behind a cube")).parts)
    assert back[1][2] < front[0][2]
    box, ball = bounds(parts("an orange in a box")["body"]), bounds(parts("an orange in a box")["orange"])
    assert (ball[0][[0, 2]] > box[0][[0, 2]]).all() and (ball[1][[0, 2]] < box[1][[0, 2]]).all()
    assert box[0][1] < ball[0][1] < box[1][1] < ball[1][1], "it lies in the box, and can be seen"
    scene = parts("a chest under a table")
    assert bounds(scene["chest"])[1][1] < bounds(scene["top"])[0][1]
    around = parts("four cubes around a sphere")["body"]
    assert len(around) == 5


@pytest.mark.parametrize("prompt", ["a cube on a stool", "a cat on a chair", "a book on a bed", "a lamp on a table"])
def test_things_rest_on_the_seat_not_on_the_back(prompt: str) -> None:
    scene = build(parse(prompt))
    host = items(prompt)[1].thing
    own = build(parse(f"a {host}")).parts
    carried = scene.parts[len(own) :]
    low, _ = bounds(list(carried))
    below = np.concatenate([p.mesh.vertices for p in scene.parts[: len(own)]])
    under = below[(np.abs(below[:, 0] - np.mean([p.mesh.bounds[0][0] for p in carried])) < 0.5)]
    assert low[1] < under[:, 1].max() + 1e-5
    assert low[1] > scene.mesh.bounds[0][1] + 0.05


def test_styles_change_shape_or_colour() -> None:
    plain, low = build(parse("a tree")), build(parse("a low poly tree"))
    assert len(low.mesh.faces) < len(plain.mesh.faces) / 20
    cubes = build(parse("a voxel heart")).mesh
    assert closedness(cubes.faces).manifold or closedness(cubes.faces).watertight
    edge = np.diff(np.unique(np.round(cubes.vertices[:, 1], 4))).min()
    steps = (cubes.vertices - cubes.bounds[0]) / edge
    assert np.abs(steps - np.round(steps)).max() < 0.05, "every corner lies on the lattice"
    pale, strong = (build(parse("a red cube"), style=s).mesh.colours_linear[0] for s in ("pastel", "vivid"))
    assert pale[1] > 0.1 > strong[1]
    assert len(np.unique(build(parse("a castle"), style="clay").mesh.colours_linear, axis=0)) == 1


def test_views_show_the_scene_whole_with_true_alpha() -> None:
    wanted = [WantedView(name=n, azimuth_deg=a, elevation_deg=e) for n, a, e in VIEW_SETS["carve-8"]]
    told: list[float] = []
    made = Procedural(None).generate(
        ["a red cube"], wanted, size_px=128, seed=0, style=None, report=lambda f, _: told.append(f)
    )
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


def test_a_style_that_is_not_there_is_refused() -> None:
    with pytest.raises(Unprocessable, match="low-poly"):
        Procedural(None).generate(["a cube"], [], size_px=64, seed=0, style="baroque", report=lambda *_: None)
