"""The engine on a tiny network, loaded by the code that loads the released one; what is wrong with it is said."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import disc_png
from reconstruction_service.engines import GROUP
from reconstruction_service.engines.triposr.device import device_of, named_memory_errors, precision_of
from reconstruction_service.engines.triposr.engine import TripoSR
from reconstruction_service.errors import BadViews, NoSurface
from reconstruction_service.settings import Settings
from reconstruction_service.work import ReconstructWork
from scratch3d.contracts.meshes import ReconstructResult
from scratch3d.contracts.views import Camera, View
from scratch3d.geometry.glb import read_part
from scratch3d.geometry.measure import closedness
from scratch3d.servicekit import registry
from scratch3d.servicekit.artifacts import ArtifactStore
from scratch3d.servicekit.errors import Cancelled, NotAvailable, Unprocessable


def front_view(data_dir: Path, content: bytes, name: str = "front", azimuth: float = 0.0) -> dict[str, object]:
    ref = ArtifactStore(data_dir).put(f"inputs/test/1/{name}.png", content)
    view = View(name=name, ref=ref, camera=Camera(azimuth_deg=azimuth), alpha_trusted=True, calibrated=False)
    return view.model_dump(mode="json")


@pytest.fixture
def work(data_dir: Path) -> ReconstructWork:
    made = ReconstructWork("triposr", Settings(data_dir=data_dir, triposr_precision="fp32"))
    made.load()
    return made


def run(work: ReconstructWork, *views: dict[str, object], **more: object) -> ReconstructResult:
    request = {"views": list(views), "resolution": 48, "output_prefix": "outputs/test/1", **more}
    return ReconstructResult.model_validate(work.run(request, lambda *_: None))


def test_the_mesh_stands_where_the_picture_shows_it(work: ReconstructWork, data_dir: Path) -> None:
    """A disc of 0.4 m radius: the mesh is as wide, centred, closed and coloured."""
    made = run(work, front_view(data_dir, disc_png(0.4, 0.6)))
    mesh = read_part(work.artifacts.get(made.mesh)).mesh
    low, high = mesh.bounds
    np.testing.assert_allclose(max((high - low)[:2]), 0.8, atol=0.01)
    np.testing.assert_allclose((low + high) / 2, 0, atol=0.01)
    assert closedness(mesh.faces).watertight and mesh.colours_linear is not None
    assert made.engine_version == "1-fp32"


def test_a_picture_of_a_side_becomes_that_side(work: ReconstructWork, data_dir: Path) -> None:
    picture = disc_png(0.4, 0.6)
    front = run(work, front_view(data_dir, picture))
    front_mesh = read_part(work.artifacts.get(front.mesh)).mesh
    right = run(work, front_view(data_dir, picture, "right", 90.0))
    right_mesh = read_part(work.artifacts.get(right.mesh)).mesh
    # What was towards +Z, where the front's camera is, is now towards +X.
    np.testing.assert_allclose(right_mesh.vertices[:, 0], front_mesh.vertices[:, 2], atol=1e-6)
    np.testing.assert_allclose(right_mesh.vertices[:, 2], -front_mesh.vertices[:, 0], atol=1e-6)


def test_a_texture_in_place_of_vertex_colours(work: ReconstructWork, data_dir: Path) -> None:
    made = run(
        work, front_view(data_dir, disc_png(0.4, 0.6)), resolution=32, options={"colour": "texture", "texture_px": 256}
    )
    part = read_part(work.artifacts.get(made.mesh))
    assert part.mesh.uv is not None and part.mesh.colours_linear is None
    assert part.material.texture_png is not None
    texture = np.asarray(Image.open(io.BytesIO(part.material.texture_png)))
    assert texture.shape == (256, 256, 3) and texture.std() > 5


def test_the_best_front_is_taken_and_the_others_are_told(work: ReconstructWork, data_dir: Path) -> None:
    front, side = disc_png(0.4, 0.6), disc_png(0.2, 0.6)
    alone = run(work, front_view(data_dir, front))
    both = run(work, front_view(data_dir, side, "right", 90.0), front_view(data_dir, front))
    assert both.mesh.sha256 == alone.mesh.sha256
    assert both.warnings == ("view right is not used: triposr works from the front",)


def test_finer_lattices_give_more_faces(work: ReconstructWork, data_dir: Path) -> None:
    view = front_view(data_dir, disc_png(0.4, 0.6))
    coarse, fine = (run(work, view, resolution=resolution).faces for resolution in (32, 64))
    assert fine > 2 * coarse


def test_pictures_that_show_nothing_and_densities_nobody_reaches(work: ReconstructWork, data_dir: Path) -> None:
    empty = io.BytesIO()
    Image.new("RGBA", (64, 64)).save(empty, "PNG")
    with pytest.raises(BadViews, match="its alpha is empty"):
        run(work, front_view(data_dir, empty.getvalue()))
    line = np.zeros((64, 64, 4), np.uint8)
    line[10:50, 32] = 255
    thin = io.BytesIO()
    Image.fromarray(line).save(thin, "PNG")
    with pytest.raises(BadViews, match="view front"):
        run(work, front_view(data_dir, thin.getvalue()))
    with pytest.raises(NoSurface, match=r"lower engine_options\.threshold"):
        run(work, front_view(data_dir, disc_png(0.4, 0.6)), options={"threshold": 1e6})
    with pytest.raises(Unprocessable, match="greater than or equal"):
        run(work, front_view(data_dir, disc_png(0.4, 0.6)), options={"threshold": 0})


def test_a_picture_without_transparency_is_all_object(work: ReconstructWork, data_dir: Path) -> None:
    opaque = io.BytesIO()
    Image.new("RGBA", (64, 64), (200, 30, 30, 255)).save(opaque, "PNG")
    assert run(work, front_view(data_dir, opaque.getvalue())).faces > 0


def test_every_phase_is_told_and_can_be_the_last(work: ReconstructWork, data_dir: Path) -> None:
    request = {"views": [front_view(data_dir, disc_png(0.4, 0.6))], "resolution": 64}
    phases: list[str] = []
    work.run(request, lambda _, phase: phases.append(phase))
    assert list(dict.fromkeys(phases)) == ["seeing", "thinking", "decoding", "meshing", "colouring", "storing"]
    for last in set(phases):

        def stop(_: float, phase: str, last: str = last) -> None:
            if phase == last:
                raise Cancelled()

        with pytest.raises(Cancelled):
            work.run(request, stop)


def test_the_card_names_the_missing_file_and_the_command(tmp_path: Path) -> None:
    card = TripoSR(Settings(data_dir=tmp_path)).card()
    assert not card.available and card.reason is not None
    assert str(tmp_path / "models" / "triposr" / "model.ckpt") in card.reason
    assert "scratch3d models fetch triposr" in card.reason
    with pytest.raises(NotAvailable, match="models fetch triposr"):
        registry.create(GROUP, "triposr", Settings(data_dir=tmp_path))


def _truncated(directory: Path) -> None:
    content = (directory / "model.ckpt").read_bytes()
    (directory / "model.ckpt").write_bytes(content[: len(content) // 2])


def _of_another_network(directory: Path) -> None:
    torch.save({"layer.weight": torch.zeros(2)}, directory / "model.ckpt")


def _one_missing(directory: Path) -> None:
    state = torch.load(directory / "model.ckpt", weights_only=True)
    del state["backbone.norm.weight"]
    torch.save(state, directory / "model.ckpt")


def _a_program(directory: Path) -> None:
    """A pickle that would run something."""

    class Harm:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return (Path.touch, (directory / "harmed",))  # type: ignore[return-value]

    torch.save({"layer.weight": Harm()}, directory / "model.ckpt")


def _not_finite(directory: Path) -> None:
    state = torch.load(directory / "model.ckpt", weights_only=True)
    state["backbone.norm.weight"][0] = float("nan")
    torch.save(state, directory / "model.ckpt")


def _other_config(directory: Path) -> None:
    text = (directory / "config.yaml").read_text()
    (directory / "config.yaml").write_text(text.replace("num_layers: 2", "num_layers: 3"))


def _no_yaml(directory: Path) -> None:
    (directory / "config.yaml").write_text("{")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_truncated, "cannot be read"),
        (_of_another_network, "lacks image_tokenizer"),
        (_one_missing, r"lacks backbone\.norm\.weight"),
        (_a_program, "cannot be read"),
        (_not_finite, "not finite"),
        (_other_config, "lacks backbone"),
        (_no_yaml, "is not YAML"),
    ],
)
def test_weights_and_configurations_that_are_wrong_say_so(
    data_dir: Path, spoil: Callable[[Path], None], message: str
) -> None:
    directory = data_dir / "models" / "triposr"
    spoil(directory)
    work = ReconstructWork("triposr", Settings(data_dir=data_dir))
    with pytest.raises(ValueError, match=message):
        work.load()
    assert not (directory / "harmed").exists()


def test_devices_and_precisions() -> None:
    with pytest.raises(NotAvailable, match="TRIPOSR_DEVICE=nowhere"):
        device_of("nowhere")
    with pytest.raises(NotAvailable, match="one of cuda, mps, cpu"):
        device_of("meta")
    assert device_of("cpu").type == "cpu"
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert device_of("auto").type == best
    assert precision_of("fp32", torch.device("cpu")) == "fp32"
    narrow = torch.cpu._is_avx512_bf16_supported()
    assert precision_of("auto", torch.device("cpu")) == ("bf16" if narrow else "fp32")


def test_a_lack_of_memory_has_its_name() -> None:
    with pytest.raises(MemoryError, match="allocate"), named_memory_errors():
        torch.empty(1 << 60)
    with pytest.raises(RuntimeError, match="something else"), named_memory_errors():
        raise RuntimeError("something else")
