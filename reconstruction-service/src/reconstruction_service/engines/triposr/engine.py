"""Engine `triposr`: picture, planes, surface, colour."""

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from scratch3d.contracts.engines import EngineCard
from scratch3d.geometry.camera import basis, pixel_size_m
from scratch3d.geometry.mesh import F32, U8, Mesh, srgb_to_linear
from scratch3d.servicekit.runner import Report

from ...errors import BadViews, NoSurface
from ..base import Reconstruction, Sight, front_of, options_of

if TYPE_CHECKING:
    import torch

    from tsr.isosurface import Surface
    from tsr.system import TSR

#: Files of `models/triposr/`; the second one is any of these.
CONFIG, WEIGHTS = "config.yaml", ("model.safetensors", "model.ckpt")
#: The grey the network knows as background.
BACKGROUND = 0.5
#: The network's axes in the order of ours: x of ours is its y, y its z, z its x.
_OUR_AXES = [1, 2, 0]
_FETCH = "scratch3d models fetch triposr"


class Options(BaseModel):
    """What can be asked of the engine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    foreground_ratio: float = Field(
        0.85, ge=0.5, le=1.0, description="share of the picture that the object fills before the network sees it"
    )
    threshold: float = Field(25.0, ge=1.0, le=1e6, description="density at the surface; more makes things thinner")
    interpolation: Literal["log", "density"] = Field(
        "log", description="how vertices are placed; density is the original's way, with its terraces"
    )
    colour: Literal["vertices", "texture"] = Field("vertices", description="where the colour lies")
    texture_px: int = Field(1024, ge=256, le=4096, description="edge of the texture, with colour = texture")


class TripoSR:
    """TripoSR with the released weights, on a GPU or a CPU."""

    def __init__(self, settings: Any) -> None:
        self.directory = Path(settings.data_dir) / "models" / "triposr"
        self.wanted_device, self.wanted_precision = settings.triposr_device, settings.triposr_precision
        self.network: TSR | None = None
        self.precision = ""

    def card(self) -> EngineCard:
        """Available when the packages and the weights are there."""
        reason = _missing_package() or self._missing_file()
        return EngineCard(
            id="triposr",
            version=f"1-{self.precision}" if self.precision else "1",
            available=reason is None,
            reason=reason,
            summary="One picture to a coloured mesh with TripoSR; knows what the hidden sides of things look like",
            licence_code="Apache-2.0",
            licence_weights="MIT",
            vram_gb=6.0,
            inputs=("picture", "named_views"),
            view_sets={"1": "front"},
            options=Options.model_json_schema(),
            output_formats=("glb",),
        )

    def load(self) -> None:
        """Read the weights, and run a grey picture through every kernel once."""
        import torch

        from tsr.system import TSR

        from .device import device_of, named_memory_errors, precision_of

        device = device_of(self.wanted_device)
        self.precision = precision_of(self.wanted_precision, device)
        # Else convolutions round where fp32 is asked for.
        torch.backends.cudnn.allow_tf32 = self.precision != "fp32"
        network = TSR.from_pretrained(self.directory, CONFIG, "model.ckpt")
        network.set_precision(self.precision)
        self.network = network.to(device)
        with named_memory_errors():
            code = self.network(np.full((64, 64, 3), 127, np.uint8))[0]
            points = torch.rand(4096, 3, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8
            found = self.network.renderer.query_triplane(self.network.decoder, points.to(device), code)
            # Half of the box is denser than that, so that there is a surface to find, to connect and to colour.
            self.network.surface(code, 128, max(1e-3, float(found["density_act"].median())))

    def reconstruct(
        self,
        sights: Sequence[Sight],
        *,
        resolution: int,
        seed: int,
        options: Mapping[str, JsonValue],
        report: Report,
    ) -> Reconstruction:
        """Deterministic; the seed has nothing to decide. `resolution` is that of the lattice over the network's box."""
        wish = options_of(Options, options)
        front = front_of(sights)
        warnings = [f"view {s.name} is not used: triposr works from the front" for s in sights if s is not front]
        if not front.alpha_trusted:
            warnings.append(f"view {front.name}: its outline is a guess")
        from .device import named_memory_errors

        with named_memory_errors():
            return self._reconstructed(front, resolution, wish, tuple(warnings), report)

    def close(self) -> None:
        """Let the weights go."""
        self.network = None

    def _reconstructed(
        self, front: Sight, resolution: int, wish: Options, warnings: tuple[str, ...], report: Report
    ) -> Reconstruction:
        assert self.network is not None, "load() comes first"
        picture = _picture_of(front, wish.foreground_ratio)
        code = self.network(picture, report=_part(report, 0.0, 0.7))[0]
        found = self.network.surface(
            code,
            resolution,
            wish.threshold,
            interpolation=wish.interpolation,
            colour=wish.colour == "vertices",
            report=_part(report, 0.7, 0.95 if wish.colour == "vertices" else 0.8),
        )
        if not len(found.faces):
            raise NoSurface(
                f"the network sees nothing as dense as {wish.threshold:g}; lower engine_options.threshold, or give a "
                "picture in which the object stands out",
                field="options.threshold",
            )
        if wish.colour == "texture":
            return self._textured(code, found, front, wish.texture_px, _part(report, 0.8, 1.0), warnings)
        assert found.colours is not None, "colour was asked for"
        colours = srgb_to_linear(found.colours.cpu().numpy())
        mesh = Mesh(
            vertices=_placed(found.vertices.cpu().numpy(), front),
            faces=found.faces.cpu().numpy().astype(np.int32),
            colours_linear=colours,
        )
        return Reconstruction(mesh=mesh, warnings=warnings)

    def _textured(
        self,
        code: "torch.Tensor",
        found: "Surface",
        front: Sight,
        texture_px: int,
        report: Report,
        warnings: tuple[str, ...],
    ) -> Reconstruction:
        from .texture import textured

        assert self.network is not None, "load() comes first"
        mesh, texture = textured(self.network, code, found, texture_px, report)
        return Reconstruction(
            mesh=mesh.evolve(vertices=_placed(mesh.vertices, front)), texture=texture, warnings=warnings
        )

    def _missing_file(self) -> str | None:
        config = self.directory / CONFIG
        if not any((self.directory / name).is_file() for name in WEIGHTS):
            return f"the weights are not there ({self.directory / WEIGHTS[-1]}): {_FETCH}"
        return None if config.is_file() else f"{config} is not there: {_FETCH}"


def _missing_package() -> str | None:
    lacking = [name for name in ("torch", "tsr") if find_spec(name) is None]
    return (
        f"{' and '.join(lacking)} not installed: ./scripts/setup triposr (a container: build it with TRIPOSR=1)"
        if lacking
        else None
    )


def _part(report: Report, start: float, end: float) -> Callable[[float, str], None]:
    return lambda share, phase: report(start + (end - start) * share, phase)


def _picture_of(front: Sight, ratio: float) -> U8:
    """(size, size, 3): the object in the middle, as big as the network expects it, before grey."""
    from tsr.utils import resize_foreground

    if not front.rgba[..., 3].any():
        raise BadViews(f"view {front.name} shows nothing: its alpha is empty", field="views")
    try:
        framed = np.asarray(resize_foreground(Image.fromarray(front.rgba), ratio), np.float32) / 255
    except ValueError as error:
        raise BadViews(f"view {front.name}: {error}", field="views") from None
    alpha = framed[..., 3:]
    return ((framed[..., :3] * alpha + BACKGROUND * (1 - alpha)) * 255).astype(np.uint8)


def _placed(vertices: F32, front: Sight) -> F32:
    """From the network's frame to ours, as wide and as high as the front view shows the object, centred behind it."""
    ours = vertices[:, _OUR_AXES]
    rows, columns = np.nonzero(front.rgba[..., 3] > 127)
    if not len(rows):
        rows, columns = np.nonzero(front.rgba[..., 3])
    size = len(front.rgba)
    pixel = pixel_size_m(front.camera, size)
    seen = max(np.ptp(rows), np.ptp(columns)) + 1
    low, high = ours.min(axis=0), ours.max(axis=0)
    scale = seen * pixel / float(max(high[0] - low[0], high[1] - low[1]))
    middle = np.array([(columns.min() + columns.max() + 1 - size) / 2, (size - rows.min() - rows.max() - 1) / 2, 0.0])
    seen_from_front = (ours - (low + high) / 2) * scale + middle * pixel
    return np.asarray(seen_from_front @ basis(front.camera), np.float32)
