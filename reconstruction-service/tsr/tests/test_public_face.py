"""Programs written for the original run unchanged: its imports, its calls, its names and defaults."""

import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import inputs
import numpy as np
import pytest
import torch
import trimesh
import xatlas
import yaml
from PIL import Image

from tsr.bake_texture import bake_texture
from tsr.models.nerf_renderer import TriplaneNeRFRenderer
from tsr.system import TSR
from tsr.utils import remove_background, resize_foreground, save_video, to_gradio_3d_orientation

#: The released config.yaml in its own words, with small numbers and four samples a ray.
CONFIG = """
cond_image_size: {cond_image_size}
image_tokenizer_cls: tsr.models.tokenizers.image.DINOSingleImageTokenizer
image_tokenizer:
  pretrained_model_name_or_path: "facebook/dino-vitb16"
  vit: {vit}
tokenizer_cls: tsr.models.tokenizers.triplane.Triplane1DTokenizer
tokenizer: {tokenizer}
backbone_cls: tsr.models.transformer.transformer_1d.Transformer1D
backbone:
  in_channels: ${{tokenizer.num_channels}}
  num_attention_heads: {backbone[num_attention_heads]}
  attention_head_dim: {backbone[attention_head_dim]}
  num_layers: {backbone[num_layers]}
  cross_attention_dim: {backbone[cross_attention_dim]}
post_processor_cls: tsr.models.network_utils.TriplaneUpsampleNetwork
post_processor:
  in_channels: ${{tokenizer.num_channels}}
  out_channels: {post_processor[out_channels]}
decoder_cls: tsr.models.network_utils.NeRFMLP
decoder: {decoder}
renderer_cls: tsr.models.nerf_renderer.TriplaneNeRFRenderer
renderer: {renderer}
"""

REQUIRED = inspect.Parameter.empty
ORIGINAL: dict[Callable[..., Any], dict[str, Any]] = {
    TSR.from_pretrained: {
        "pretrained_model_name_or_path": REQUIRED,
        "config_name": REQUIRED,
        "weight_name": REQUIRED,
    },
    TSR.forward: {"self": REQUIRED, "image": REQUIRED, "device": REQUIRED},
    TSR.render: {
        "self": REQUIRED,
        "scene_codes": REQUIRED,
        "n_views": REQUIRED,
        "elevation_deg": 0.0,
        "camera_distance": 1.9,
        "fovy_deg": 40.0,
        "height": 256,
        "width": 256,
        "return_type": "pil",
    },
    TSR.extract_mesh: {
        "self": REQUIRED,
        "scene_codes": REQUIRED,
        "has_vertex_color": REQUIRED,
        "resolution": 256,
        "threshold": 25.0,
    },
    TriplaneNeRFRenderer.set_chunk_size: {"self": REQUIRED, "chunk_size": REQUIRED},
    TriplaneNeRFRenderer.query_triplane: {
        "self": REQUIRED,
        "decoder": REQUIRED,
        "positions": REQUIRED,
        "triplane": REQUIRED,
    },
    remove_background: {"image": REQUIRED, "rembg_session": None, "force": False, "rembg_kwargs": REQUIRED},
    resize_foreground: {"image": REQUIRED, "ratio": REQUIRED},
    save_video: {"frames": REQUIRED, "output_path": REQUIRED, "fps": 30},
    to_gradio_3d_orientation: {"mesh": REQUIRED},
    bake_texture: {"mesh": REQUIRED, "model": REQUIRED, "scene_code": REQUIRED, "texture_resolution": REQUIRED},
}


@pytest.fixture(scope="module")
def model_directory(tmp_path_factory: pytest.TempPathFactory, tiny: TSR) -> Path:
    """config.yaml and model.ckpt of a tiny network, as the released ones lie on a disk."""
    directory = tmp_path_factory.mktemp("TripoSR")
    parts = {**inputs.TINY, "renderer": {**inputs.TINY["renderer"], "num_samples_per_ray": 4}}
    in_a_line = {
        name: yaml.safe_dump(parts[name], default_flow_style=True, width=10_000).strip()
        for name in ("vit", "tokenizer", "decoder", "renderer")
    }
    (directory / "config.yaml").write_text(CONFIG.format_map({**parts, **in_a_line}))
    torch.save(tiny.state_dict(), directory / "model.ckpt")
    return directory


@pytest.fixture
def model(model_directory: Path) -> TSR:
    return TSR.from_pretrained(str(model_directory), config_name="config.yaml", weight_name="model.ckpt")


def filled_with_grey(image: Image.Image) -> Image.Image:
    pixels = np.array(image).astype(np.float32) / 255.0
    pixels = pixels[:, :, :3] * pixels[:, :, 3:4] + (1 - pixels[:, :, 3:4]) * 0.5
    return Image.fromarray((pixels * 255.0).astype(np.uint8))


def test_the_command_line_programs_calls_run(model: TSR, tmp_path: Path) -> None:
    device = "cpu"
    model.renderer.set_chunk_size(8192)
    model.to(device)
    image = filled_with_grey(resize_foreground(remove_background(Image.fromarray(inputs.rgba_u8()), None), 0.85))
    with torch.no_grad():
        scene_codes = model([image], device=device)
    assert scene_codes.shape == (1, 3, 8, 16, 16)

    render_images = model.render(scene_codes, n_views=3, return_type="pil")
    assert [frame.size for frame in render_images[0]] == [(256, 256)] * 3
    for number, frame in enumerate(render_images[0]):
        frame.save(tmp_path / f"render_{number:03d}.png")
    save_video(render_images[0], str(tmp_path / "render.gif"), fps=30)
    with Image.open(tmp_path / "render.gif") as read:
        assert read.n_frames == 3

    meshes = model.extract_mesh(scene_codes, True, resolution=24)
    assert len(meshes) == 1
    meshes[0].export(str(tmp_path / "mesh.obj"))
    again = trimesh.load_mesh(tmp_path / "mesh.obj", process=False)
    assert again.faces.shape == meshes[0].faces.shape
    assert np.abs(again.visual.vertex_colors.astype(int) - meshes[0].visual.vertex_colors).max() <= 1


def test_the_command_line_programs_texture_lies_on_the_mesh(model: TSR, tmp_path: Path) -> None:
    with torch.no_grad():
        scene_codes = model([Image.fromarray(inputs.image_u8())], device="cpu")
    meshes = model.extract_mesh(scene_codes, has_vertex_color=False, resolution=12)
    bake_output = bake_texture(meshes[0], model, scene_codes[0], 256)
    xatlas.export(
        str(tmp_path / "mesh.obj"),
        meshes[0].vertices[bake_output["vmapping"]],
        bake_output["indices"],
        bake_output["uvs"],
        meshes[0].vertex_normals[bake_output["vmapping"]],
    )
    Image.fromarray((bake_output["colors"] * 255.0).astype(np.uint8)).transpose(Image.FLIP_TOP_BOTTOM).save(
        tmp_path / "texture.png"
    )

    read = trimesh.load_mesh(tmp_path / "mesh.obj", process=False)
    assert len(read.faces) == len(meshes[0].faces)
    corners = read.faces[:, 0]
    with Image.open(tmp_path / "texture.png") as texture:
        seen = trimesh.visual.color.uv_to_interpolated_color(read.visual.uv[corners], texture)
    found = model.renderer.query_triplane(
        model.decoder, torch.tensor(read.vertices[corners], dtype=torch.float32), scene_codes[0]
    )
    difference = np.abs(seen[:, :3] / 255.0 - found["color"].numpy())
    # Colours of random weights change within a few texels: the median tells, not the worst.
    assert np.median(difference) < 6 / 255
    assert (seen[:, 3] == 255).all()


def test_the_demos_calls_run(model: TSR, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    removed: list[str] = []

    class Remover:
        @staticmethod
        def remove(image: Image.Image, session: Any = None) -> Image.Image:
            removed.append(image.mode)
            return Image.fromarray(inputs.rgba_u8())

    monkeypatch.setitem(sys.modules, "rembg", Remover)
    model.renderer.set_chunk_size(8192)
    model.to("cpu")
    session = object()
    given = Image.fromarray(inputs.rgba_u8()).convert("RGB")
    image = filled_with_grey(resize_foreground(remove_background(given, session), 0.85))
    assert removed == ["RGB"]
    scene_codes = model(image, device="cpu")
    mesh = model.extract_mesh(scene_codes, True, resolution=20)[0]
    size = np.ptp(mesh.vertices, axis=0)
    mesh = to_gradio_3d_orientation(mesh)
    assert np.allclose(np.ptp(mesh.vertices, axis=0), size[[1, 2, 0]])
    for kind in ("obj", "glb"):
        mesh.export(str(tmp_path / f"mesh.{kind}"))
        assert len(trimesh.load_mesh(tmp_path / f"mesh.{kind}").faces) > 0


@pytest.mark.parametrize("ours", ORIGINAL, ids=lambda function: function.__qualname__)
def test_names_order_and_defaults_are_the_originals(ours: Callable[..., Any]) -> None:
    """What came after may only be added behind, with defaults; what was required may have become optional."""
    parameters = inspect.signature(ours).parameters
    original = ORIGINAL[ours]
    assert list(parameters)[: len(original)] == list(original)
    for name, default in original.items():
        assert default is REQUIRED or parameters[name].default == default
    for name in list(parameters)[len(original) :]:
        assert parameters[name].default is not REQUIRED
    variadic = [name for name, one in parameters.items() if one.kind is inspect.Parameter.VAR_KEYWORD]
    assert variadic == (["rembg_kwargs"] if ours is remove_background else [])
    positional = [name for name in original if name not in variadic]
    assert all(parameters[name].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for name in positional)


def test_what_a_network_has_is_what_programs_reach_into(model: TSR) -> None:
    assert model.renderer.cfg.radius == 0.87
    positions = torch.from_numpy(inputs.points_in(12)).view(2, 6, 3)
    code = torch.zeros(3, 8, 16, 16)
    found = model.renderer.query_triplane(model.decoder, positions, code)
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "density": (2, 6, 1),
        "features": (2, 6, 3),
        "density_act": (2, 6, 1),
        "color": (2, 6, 3),
    }


def test_importing_takes_none_of_the_originals_heavy_requirements() -> None:
    program = (
        "import sys, tsr.system, tsr.utils, tsr.bake_texture\n"
        "names = 'transformers omegaconf einops torchmcubes rembg imageio xatlas huggingface_hub trimesh skimage'\n"
        "print(*[name for name in names.split() if name in sys.modules])"
    )
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
