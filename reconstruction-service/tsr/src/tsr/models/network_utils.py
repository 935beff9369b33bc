"""The upsampler behind the backbone, and the MLP that is asked for density and colour."""

from collections.abc import Mapping
from itertools import pairwise

from torch import Tensor, nn

from ..config import DecoderConfig, UpsamplerConfig


class TriplaneUpsampleNetwork(nn.Module):
    """Planes of twice the size."""

    def __init__(self, cfg: UpsamplerConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.upsample = nn.ConvTranspose2d(cfg.in_channels, cfg.out_channels, kernel_size=2, stride=2)

    def forward(self, triplanes: Tensor) -> Tensor:
        """(B, 3, channels, H, W) to (B, 3, out channels, 2H, 2W)."""
        batch = triplanes.shape[0]
        planes: Tensor = self.upsample(triplanes.flatten(0, 1))
        return planes.view(batch, 3, *planes.shape[1:])


class NeRFMLP(nn.Module):
    """Features at points to raw density and raw colour."""

    def __init__(self, cfg: DecoderConfig) -> None:
        super().__init__()
        self.cfg = cfg
        widths = [cfg.in_channels, *[cfg.n_neurons] * cfg.n_hidden_layers]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after, bias=cfg.bias), nn.SiLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Linear(cfg.n_neurons, 4, bias=cfg.bias))

    def forward(self, features: Tensor) -> Mapping[str, Tensor]:
        """(…, in_channels) to `density` (…, 1) and `features` (…, 3), both before their activations."""
        out = self.layers(features)
        return {"density": out[..., :1], "features": out[..., 1:4]}
