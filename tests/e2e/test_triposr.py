"""A picture through the TripoSR engine: the whole road, with a tiny network in the place of the released weights."""

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image, ImageDraw

from conftest import Mesh, MeshThread, ended, validate
from scratch3d.client import ApiError, Client
from scratch3d.contracts.jobs import JobStatus, State
from scratch3d.geometry.glb import read_glb
from scratch3d.geometry.measure import closedness

sys.path.insert(0, str(Path(__file__).parents[2] / "reconstruction-service" / "tsr" / "tests"))

from tiny_checkpoint import write_tiny_checkpoint

#: Those that are asked for here: each is a process that loads.
ENGINES = {"RECONSTRUCTION_ENGINES": '["triposr","inflate"]'}


@pytest.fixture(scope="module")
def with_weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A mesh whose reconstruction has a network."""
    data_dir = tmp_path_factory.mktemp("volumes-with-weights")
    write_tiny_checkpoint(data_dir / "models" / "triposr")
    with MeshThread(data_dir, settings=ENGINES) as running:
        yield running


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A red mushroom on white."""
    image = Image.new("RGB", (300, 260), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((130, 120, 170, 230), fill=(220, 200, 170))
    draw.pieslice((60, 30, 240, 210), 180, 360, fill=(200, 30, 30))
    path = tmp_path / "mushroom.png"
    image.save(path)
    return path


def raw_mesh(mesh: Mesh, job: JobStatus) -> bytes:
    """What reconstruction gave to post-processing."""
    name = next(output.name for output in job.outputs if output.role == "raw_mesh")
    return mesh.path(f"outputs/{job.job_id}/1/{name}").read_bytes()


def test_pictures_go_to_the_network_when_its_weights_are_there(with_weights: Mesh, picture: Path) -> None:
    with Client(with_weights.url) as client:
        job = ended(client, client.from_image([picture], quality_tier="fast").job_id, 120)
    assert job.state is State.COMPLETED, job.problem
    assert job.engines["reconstructing_3d"] == "triposr"
    path = with_weights.path(str(job.asset_path))
    (report,) = validate(path)
    assert (report["errors"], report["warnings"]) == (0, 0), report
    mesh = read_glb(raw_mesh(with_weights, job)).parts[0].mesh
    assert closedness(mesh.faces).watertight and mesh.colours_linear is not None
    assert float(np.ptp(mesh.colours_linear, axis=0).max()) > 0.1


def test_its_options_reach_it(with_weights: Mesh, picture: Path) -> None:
    options = {"engine": "triposr", "quality_tier": "fast"}
    with Client(with_weights.url) as client:
        asked = {**options, "engine_options": {"colour": "texture", "texture_px": 256}}
        textured = ended(client, client.from_image([picture], **asked).job_id, 120)
        assert textured.state is State.COMPLETED, textured.problem
        assert read_glb(raw_mesh(with_weights, textured)).parts[0].material.texture_png
        with pytest.raises(ApiError, match=r"less than the minimum of 1\.0") as refused:
            client.from_image([picture], **options, engine_options={"threshold": 0})
        assert refused.value.problem.errors[0].field == "engine_options.threshold"
        unseen = {**options, "engine_options": {"threshold": 1e6}}
        failed = ended(client, client.from_image([picture], **unseen).job_id, 120)
        assert failed.state is State.FAILED and failed.problem is not None
        assert failed.problem.code == "no_surface" and "threshold" in failed.problem.detail
        named = client.generate("a red cube", engine="triposr", views=1, quality_tier="fast")
        assert ended(client, named.job_id, 120).engines["reconstructing_3d"] == "triposr"


def test_without_weights_the_refusal_names_the_file_and_the_command(mesh: Mesh, picture: Path) -> None:
    missing = str(mesh.data_dir / "models" / "triposr" / "model.ckpt")
    with Client(mesh.url) as client:
        with pytest.raises(ApiError, match="scratch3d models fetch triposr") as refused:
            client.from_image([picture], engine="triposr")
        assert missing in str(refused.value)
    rows = httpx.get(f"{mesh.url}/3d/engines").json()["reconstruction"]
    (row,) = (row for row in rows if row["id"] == "triposr")
    assert not row["available"] and missing in row["reason"]


def test_weights_that_are_broken_leave_the_other_engines_alone(
    tmp_path_factory: pytest.TempPathFactory, picture: Path
) -> None:
    data_dir = tmp_path_factory.mktemp("volumes-broken")
    write_tiny_checkpoint(data_dir / "models" / "triposr")
    checkpoint = data_dir / "models" / "triposr" / "model.ckpt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
    with MeshThread(data_dir, settings=ENGINES) as running, Client(running.url) as client:
        job = ended(client, client.from_image([picture], quality_tier="fast").job_id, 120)
        assert job.state is State.COMPLETED and job.engines["reconstructing_3d"] == "inflate"
        with pytest.raises(ApiError, match=r"model\.ckpt cannot be read"):
            client.from_image([picture], engine="triposr")
