"""The network as a whole: a picture to scene codes, scene codes to pictures and meshes.

Frame: right-handed, z up, the seen side of the object faces +x; the box is [-0.87, 0.87]³.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from PIL import Image
from torch import Tensor, nn

from .cameras import orbit_rays
from .config import BadConfig, TSRConfig, read_config
from .field import Report, silent
from .isosurface import Interpolation, Method, Surface, surface_of
from .models.layers import narrow
from .models.nerf_renderer import TriplaneNeRFRenderer
from .models.network_utils import NeRFMLP, TriplaneUpsampleNetwork
from .models.tokenizers.image import DINOSingleImageTokenizer
from .models.tokenizers.triplane import Triplane1DTokenizer
from .models.transformer.transformer_1d import Transformer1D
from .weights import load_into

if TYPE_CHECKING:
    import trimesh

Picture = Image.Image | np.ndarray[Any, Any] | Tensor
PRECISIONS = ("fp32", "bf16")


class TSR(nn.Module):
    """TripoSR. Without a configuration it has the released dimensions."""

    def __init__(self, cfg: TSRConfig | Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.cfg = cfg if isinstance(cfg, TSRConfig) else read_config(cfg or {})
        self.image_tokenizer = DINOSingleImageTokenizer(self.cfg.image_tokenizer)
        self.tokenizer = Triplane1DTokenizer(self.cfg.tokenizer)
        self.backbone = Transformer1D(self.cfg.backbone)
        self.post_processor = TriplaneUpsampleNetwork(self.cfg.post_processor)
        self.decoder = NeRFMLP(self.cfg.decoder)
        self.renderer = TriplaneNeRFRenderer(self.cfg.renderer)
        self.requires_grad_(False)
        self.eval()

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        config_name: str = "config.yaml",
        weight_name: str = "model.ckpt",
    ) -> Self:
        """The network with its weights, from a directory or a repository of the Hugging Face hub.

        A `.safetensors` file of the same name beside the checkpoint is taken in its place.

        Raises
        ------
        FileNotFoundError : a file is not there
        BadConfig : the configuration is not this network's
        tsr.weights.BadWeights : the weights are truncated, or belong to another network
        """
        config_path = _located(pretrained_model_name_or_path, config_name)
        with torch.device("meta"):  # no values: the file's are taken as they are
            network = cls(_config_of(config_path))
        weight_path = _located(pretrained_model_name_or_path, weight_name)
        converted = weight_path.with_suffix(".safetensors")
        load_into(network, converted if converted.is_file() else weight_path)
        return network

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.tokenizer.embeddings.device

    def set_precision(self, precision: str) -> None:
        """`fp32` as released, or `bf16`: linear layers of encoder and backbone in bfloat16, sums and norms in float32.

        Rounding is not undone by going back to fp32. ValueError for another word.
        """
        if precision not in PRECISIONS:
            raise ValueError(f"precision is one of {', '.join(PRECISIONS)}, not {precision!r}")
        for part in (self.image_tokenizer, self.backbone):
            narrow(part, torch.bfloat16 if precision == "bf16" else torch.float32)

    def preprocess(self, pictures: Picture | Sequence[Picture]) -> Tensor:
        """Pictures as the network reads them: (B, size, size, 3) float32 in [0, 1].

        PIL pictures in any mode (made RGB), uint8 or float arrays and tensors (H, W, 3) or (B, H, W, 3), or a list of
        them. They are stretched to a square, bilinear with antialiasing.
        """
        many = pictures if isinstance(pictures, Sequence) else [pictures]
        if not many:
            raise ValueError("there is no picture")
        # On the CPU, where antialiasing is the same for every device.
        resized = [_resized(_as_tensor(one).cpu(), self.cfg.cond_image_size) for one in many]
        return torch.cat(resized).to(self.device)

    @torch.no_grad()
    def forward(
        self, image: Picture | Sequence[Picture], device: str | torch.device | None = None, report: Report = silent
    ) -> Tensor:
        """Scene codes (B, 3, C, S, S) of pictures whose background is grey; `device` may only name the weights' own."""
        if device is not None and torch.device(device).type != self.device.type:
            raise ValueError(f"the weights are on {self.device}: call .to({str(device)!r}) first")
        pictures = self.preprocess(image)[:, None].permute(0, 1, 4, 2, 3)
        report(0.0, "seeing")
        seen: Tensor = self.image_tokenizer(pictures)
        context = seen.transpose(2, 3).flatten(1, 2)
        report(0.1, "thinking")
        tokens = self.backbone(
            self.tokenizer(len(pictures)), context, report=lambda f: report(0.1 + 0.9 * f, "thinking")
        )
        codes: Tensor = self.post_processor(self.tokenizer.detokenize(tokens))
        return codes

    @torch.no_grad()
    def render(
        self,
        scene_codes: Tensor,
        n_views: int,
        elevation_deg: float = 0.0,
        camera_distance: float = 1.9,
        fovy_deg: float = 40.0,
        height: int = 256,
        width: int = 256,
        return_type: str = "pil",
    ) -> list[list[Any]]:
        """Pictures around each scene, over white: `pil`, `np` (H, W, 3 float in [0, 1]) or `pt`."""
        if return_type not in {"pil", "np", "pt"}:
            raise ValueError(f"return_type is pil, np or pt, not {return_type!r}")
        rays = orbit_rays(n_views, elevation_deg, camera_distance, fovy_deg, height, width)
        origins, directions = (one.to(scene_codes.device) for one in rays)
        return [
            [
                _as(return_type, self.renderer(self.decoder, code, o, d))
                for o, d in zip(origins, directions, strict=True)
            ]
            for code in scene_codes
        ]

    @torch.no_grad()
    def surface(
        self,
        scene_code: Tensor,
        resolution: int = 256,
        threshold: float = 25.0,
        *,
        interpolation: Interpolation = "log",
        method: Method = "sparse",
        colour: bool = True,
        report: Report = silent,
    ) -> Surface:
        """The surface of one scene (3, C, S, S); see `isosurface.surface_of`. Without one, it has no faces."""
        return surface_of(
            self.renderer,
            self.decoder,
            scene_code,
            resolution,
            threshold,
            interpolation=interpolation,
            method=method,
            colour=colour,
            report=report,
        )

    def extract_mesh(
        self,
        scene_codes: Tensor,
        has_vertex_color: bool,
        resolution: int = 256,
        threshold: float = 25.0,
        interpolation: Interpolation = "log",
    ) -> "list[trimesh.Trimesh]":
        """One mesh per scene. `interpolation="density"` places vertices as the original does, with its terraces."""
        import trimesh

        meshes = []
        for code in scene_codes:
            found = self.surface(code, resolution, threshold, interpolation=interpolation, colour=has_vertex_color)
            colours = None if found.colours is None else found.colours.cpu().numpy()
            meshes.append(
                trimesh.Trimesh(found.vertices.cpu().numpy(), found.faces.cpu().numpy(), vertex_colors=colours)
            )
        return meshes


def _located(name_or_path: str | Path, file_name: str) -> Path:
    """A file of a local directory, or of a repository on the hub."""
    directory = Path(name_or_path)
    if directory.is_dir():
        found = directory / file_name
        if not found.is_file() and not found.with_suffix(".safetensors").is_file():
            raise FileNotFoundError(f"{found} is not there")
        return found
    if directory.is_absolute() or str(name_or_path).count("/") != 1:
        raise FileNotFoundError(f"{name_or_path} is neither a directory nor the name of a repository")
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise FileNotFoundError(
            f"{name_or_path} is not a directory; to fetch it from the hub: pip install huggingface-hub"
        ) from None
    return Path(hf_hub_download(repo_id=str(name_or_path), filename=file_name))


def _config_of(path: Path) -> TSRConfig:
    try:
        parsed = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path} is not YAML: {error}") from error
    if not isinstance(parsed, Mapping):
        raise BadConfig(f"{path} holds no mapping")
    return read_config(parsed)


def _as_tensor(picture: Picture) -> Tensor:
    """(B, H, W, 3) float32 in [0, 1]."""
    if isinstance(picture, Image.Image):
        picture = np.asarray(picture.convert("RGB"))
    tensor = torch.from_numpy(np.array(picture)) if isinstance(picture, np.ndarray) else picture
    if tensor.ndim not in (3, 4) or tensor.shape[-1] != 3:
        raise ValueError(f"a picture is (height, width, 3), not {tuple(tensor.shape)}")
    scaled = tensor.to(torch.float32) / 255.0 if tensor.dtype == torch.uint8 else tensor.to(torch.float32)
    return scaled if tensor.ndim == 4 else scaled[None]


def _resized(pictures: Tensor, size: int) -> Tensor:
    channels_first = pictures.permute(0, 3, 1, 2)
    resized = F.interpolate(channels_first, (size, size), mode="bilinear", align_corners=False, antialias=True)
    return resized.permute(0, 2, 3, 1)


def _as(return_type: str, picture: Tensor) -> Any:
    if return_type == "pt":
        return picture
    array = picture.cpu().numpy()
    return array if return_type == "np" else Image.fromarray((array * 255.0).astype(np.uint8))
