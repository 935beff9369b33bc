"""Clean, decimate, unwrap, bake, export: on meshes whose right answer is known."""

import io
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from postprocess_service import export
from postprocess_service.engines.base import Wish
from postprocess_service.engines.light.bake import bake
from postprocess_service.engines.light.charts import cut, neighbours_of
from postprocess_service.engines.light.clean import clean
from postprocess_service.engines.light.decimate import decimate
from postprocess_service.engines.light.engine import Light
from postprocess_service.engines.light.unwrap import unwrap
from postprocess_service.settings import Settings
from postprocess_service.work import CleanWork
from scratch3d.contracts.meshes import CleanResult
from scratch3d.geometry.glb import Material, Part, read_glb, write_glb
from scratch3d.geometry.measure import closedness, components, volume_m3
from scratch3d.geometry.mesh import Mesh, merged, srgb_to_linear
from scratch3d.geometry.raster import rasterise
from scratch3d.servicekit import registry
from scratch3d.servicekit.artifacts import ArtifactStore
from scratch3d.servicekit.errors import NotAvailable, ServiceError


def of(body: trimesh.Trimesh, colour: tuple[float, float, float] = (0.8, 0.2, 0.1)) -> Mesh:
    vertices = np.asarray(body.vertices, np.float32)
    return Mesh(
        vertices=vertices,
        faces=np.asarray(body.faces, np.int32),
        colours_linear=np.tile(np.array(colour, np.float32), (len(vertices), 1)),
    )


def ball(subdivisions: int = 5, radius: float = 0.5, at: tuple[float, float, float] = (0, 0, 0)) -> Mesh:
    body = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)
    body.apply_translation(at)
    return of(body)


def striped(mesh: Mesh) -> Mesh:
    bright = (np.floor(mesh.vertices[:, 1] * 6) % 2).astype(bool)
    return mesh.evolve(colours_linear=np.where(bright[:, None], (0.9, 0.1, 0.1), (0.05, 0.1, 0.8)).astype(np.float32))


def test_clean_counts_what_it_removes() -> None:
    whole = ball()
    doubled = merged([whole, whole.evolve(faces=whole.faces[:10])])
    degenerate = doubled.evolve(faces=np.concatenate([doubled.faces, [[0, 0, 1]]]).astype(np.int32))
    crumb = merged([degenerate, ball(1, 0.01, (2, 0, 0))])
    found = clean(crumb)
    assert closedness(found.mesh.faces).watertight
    assert (found.removed_components, found.removed_faces) == (1, 10 + 1 + 80)
    assert len(found.mesh.faces) == len(whole.faces)


def test_clean_keeps_every_part_of_a_scene() -> None:
    scene = merged([ball(4, 0.5), ball(3, 0.1, (1, 0, 0))])
    assert components(len(scene.vertices), clean(scene).mesh.faces)[0] == 2


def test_small_holes_are_closed_and_counted() -> None:
    whole = ball(4)
    found = clean(whole.evolve(faces=np.delete(whole.faces, [5, 900], axis=0)))
    assert found.filled_holes == 2 and closedness(found.mesh.faces).watertight
    assert found.mesh.colours_linear is not None


@pytest.mark.parametrize("target", [10_000, 2_000, 500])
def test_decimation_hits_its_target_closed_and_coloured(target: int) -> None:
    source = striped(ball(6))
    small = decimate(source, target).mesh
    assert 0.98 * target <= len(small.faces) <= target
    assert closedness(small.faces).watertight
    assert volume_m3(small) == pytest.approx(volume_m3(source), rel=0.02)
    assert small.colours_linear is not None


def test_small_meshes_are_left_alone() -> None:
    mesh = ball(2)
    assert decimate(mesh, 20_000).mesh is mesh


@pytest.mark.parametrize("name", ["ball", "torus", "box", "two"])
def test_charts_cover_the_mesh_without_overlap(name: str) -> None:
    mesh = {
        "ball": lambda: ball(5),
        "torus": lambda: of(trimesh.creation.torus(0.4, 0.15, major_sections=96, minor_sections=48)),
        "box": lambda: of(trimesh.creation.box((1, 2, 3)).subdivide().subdivide().subdivide()),
        "two": lambda: merged([ball(4), ball(4, 0.2, (1, 0, 0))]),
    }[name]()
    opened = unwrap(mesh, 1024).mesh
    assert opened.uv is not None and len(opened.faces) == len(mesh.faces)
    assert np.abs(opened.vertices[opened.faces] - mesh.vertices[mesh.faces]).max() == 0
    uv = opened.uv[opened.faces].astype(float)
    assert uv.min() >= 0 and uv.max() <= 1
    a, b = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
    area = np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / 2
    screen = np.concatenate([opened.uv * 2048.0, np.zeros((len(opened.uv), 1))], axis=1)
    covered = rasterise(screen, opened.faces, 2048, 2048).mask.mean()
    assert covered > 0.5
    assert area == pytest.approx(covered, rel=0.02), "charts lie on each other"


def test_every_chart_is_connected_and_seen_from_its_axis() -> None:
    mesh = ball(5)
    charts = cut(mesh)
    assert 10 < charts.label.max() + 1 < 80
    normals = np.cross(
        mesh.vertices[mesh.faces[:, 1]] - mesh.vertices[mesh.faces[:, 0]],
        mesh.vertices[mesh.faces[:, 2]] - mesh.vertices[mesh.faces[:, 0]],
    )
    assert ((normals * charts.axis[charts.label]).sum(1) > 0).all()
    assert (neighbours_of(mesh.faces) >= 0).all()


def test_baked_texture_has_the_surface_colours_and_dilated_seams() -> None:
    source = striped(ball(6))
    opened = unwrap(decimate(source, 5_000).mesh, 512).mesh
    texture, covered = bake(opened, source, 512)
    red, blue = (np.array([244, 89, 89]), np.array([63, 89, 231]))
    near = np.minimum(np.abs(texture.astype(int) - red).sum(-1), np.abs(texture.astype(int) - blue).sum(-1))
    assert (near[covered] < 12).mean() > 0.85
    assert (near[~covered] < 12).mean() > 0.8, "the gutter carries the colours of its charts"


def test_engine_repeats_itself_to_the_byte() -> None:
    wish = Wish(target_faces=3_000, texture=True, texture_px=256)
    one, two = (Light(None).process(striped(ball(6)), wish, lambda *_: None) for _ in range(2))
    assert one.texture is not None and two.texture is not None
    assert one.texture.tobytes() == two.texture.tobytes()
    assert one.welded.vertices.tobytes() == two.welded.vertices.tobytes()
    assert one.unwrapped.uv.tobytes() == two.unwrapped.uv.tobytes()  # type: ignore[union-attr]


def finished(texture: bool = True) -> export.Model:
    done = Light(None).process(
        striped(ball(5)), Wish(target_faces=2_000, texture=texture, texture_px=256), lambda *_: None
    )
    return export.Model(welded=done.welded, unwrapped=done.unwrapped, texture=done.texture)


def test_normalised_is_the_unit_cube_on_the_ground() -> None:
    mesh = ball(4, 3.0, (5, 6, 7))
    low, high = export.moved(mesh, *export.normalised(mesh)).bounds
    assert (high - low).max() == pytest.approx(1) and low[1] == pytest.approx(0)
    assert (low + high)[[0, 2]] == pytest.approx(0, abs=1e-6)


def test_glb_has_texture_and_is_never_dark() -> None:
    part = read_glb(export.glb(finished())["model.glb"]).parts[0]
    assert part.material.metallic == 0 and part.material.texture_png
    bare = read_glb(export.glb(finished(texture=False))["model.glb"]).parts[0]
    assert bare.material.texture_png is None and bare.mesh.colours_linear is not None


@pytest.mark.parametrize("form", ["obj", "stl", "ply"])
def test_files_are_read_back_by_other_software(form: str, tmp_path: Path) -> None:
    model = finished()
    for name, content in export.WRITERS[form](model).items():
        (tmp_path / name).write_bytes(content)
    back = trimesh.load_mesh(tmp_path / f"model.{form}")
    assert len(back.faces) == len(model.welded.faces)
    scale = export.STL_MM_PER_M if form == "stl" else 1.0
    assert back.volume == pytest.approx(volume_m3(model.welded) * scale**3, rel=1e-3)
    if form == "obj":
        found = back.visual.material.image.convert("RGB")
        assert np.array_equal(np.asarray(found), model.texture)


def test_obj_texture_is_the_right_way_up(tmp_path: Path) -> None:
    model = finished()
    for name, content in export.obj(model).items():
        (tmp_path / name).write_bytes(content)
    back = trimesh.load_mesh(tmp_path / "model.obj")
    colours = back.visual.to_color().vertex_colors[:, :3].astype(int)
    middle = np.abs(back.vertices[:, 1] * 6 % 1 - 0.5) < 0.25
    bright = (np.floor(back.vertices[:, 1] * 6) % 2).astype(bool)
    assert (colours[middle & bright] @ [1, 0, -1] > 50).mean() > 0.9
    assert (colours[middle & ~bright] @ [-1, 0, 1] > 50).mean() > 0.9


# -- the service's work ------------------------------------------------------------------------------------------


@pytest.fixture
def work(tmp_path: Path) -> CleanWork:
    ArtifactStore(tmp_path).prepare()
    made = CleanWork("trimesh", Settings(data_dir=tmp_path))
    made.load()
    return made


def test_work_writes_files_pictures_report_and_recipe(work: CleanWork) -> None:
    glb = write_glb([Part(mesh=striped(ball(6)), material=Material())])
    ref = work.artifacts.put("outputs/job/1/raw.glb", glb)
    told: list[float] = []
    request = {
        "mesh": ref.model_dump(),
        "target_faces": 4000,
        "texture_px": 256,
        "output_prefix": "outputs/job/1",
        "recipe": {"plan": {"seed": 1}},
    }
    made = CleanResult.model_validate(work.run(request, lambda f, _: told.append(f)))
    assert told == sorted(told)
    roles = [o.role for o in made.outputs]
    assert roles == ["asset", "preview", "turntable", "report", "recipe"]
    assert [o.primary for o in made.outputs] == [True, False, False, False, False]
    assert made.report.watertight and made.report.faces == 4000 and made.report.faces_in == len(ball(6).faces)
    assert made.report.texture and made.report.texture.uv_coverage > 0.4
    preview = Image.open(io.BytesIO(work.artifacts.get(made.outputs[1].ref)))
    assert preview.size == (640, 640) and len(preview.getcolors(10**6) or ()) > 500
    turn = Image.open(io.BytesIO(work.artifacts.get(made.outputs[2].ref)))
    assert turn.n_frames == 24  # type: ignore[attr-defined]
    again = CleanResult.model_validate(work.run(request, lambda *_: None))
    assert again.outputs == made.outputs


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"not a glb", "bad_mesh"), (b"", "bad_mesh"), (b"glTF" + b"\0" * 40, "bad_mesh")],
)
def test_work_refuses_what_is_no_mesh(work: CleanWork, content: bytes, code: str) -> None:
    ref = work.artifacts.put("outputs/job/1/raw.glb", content)
    with pytest.raises(ServiceError) as caught:
        work.run({"mesh": ref.model_dump()}, lambda *_: None)
    assert caught.value.problem_code == code


def test_work_refuses_formats_that_have_not_landed(work: CleanWork) -> None:
    ref = work.artifacts.put("outputs/job/1/raw.glb", write_glb([Part(mesh=ball(2), material=Material())]))
    with pytest.raises(NotAvailable):
        work.run({"mesh": ref.model_dump(), "output_format": "fbx"}, lambda *_: None)


def test_bare_meshes_are_exported_grey(work: CleanWork) -> None:
    bare = ball(3).evolve(colours_linear=None)
    ref = work.artifacts.put("outputs/job/1/raw.glb", write_glb([Part(mesh=bare, material=Material())]))
    made = CleanResult.model_validate(work.run({"mesh_path": ref.public_path}, lambda *_: None))
    assert made.report.texture is None


def test_registry_lists_the_engine() -> None:
    assert "trimesh" in registry.names("scratch3d.postprocess")
    assert srgb_to_linear(np.array([1.0]))[0] == pytest.approx(1)
