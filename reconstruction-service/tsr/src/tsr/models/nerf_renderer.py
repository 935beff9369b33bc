"""What the triplane says at points, and pictures of it along rays."""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import RendererConfig
from .network_utils import NeRFMLP

#: Plane → the axes of a point that run along its columns and its rows.
PLANE_AXES = ((0, 1), (0, 2), (1, 2))
#: Rays are clipped to a box this much smaller than the one the planes cover.
_BOX_SHARE = 0.999


def sample_planes(planes: Tensor, unit: Tensor) -> Tensor:
    """Features of (3, C, H, W) planes at (N, 3) points of [-1, 1]³, plane after plane: (N, 3·C).

    Bilinear; texels beyond the border are zero, so features fade out over the last half texel and outside.
    """
    places = torch.stack([unit[:, axes] for axes in PLANE_AXES])[:, :, None]
    found = F.grid_sample(planes, places, mode="bilinear", padding_mode="zeros", align_corners=False)
    return found[..., 0].permute(2, 0, 1).reshape(len(unit), 3 * planes.shape[1])


def to_unit(positions: Tensor, radius: float) -> Tensor:
    """From [-radius, radius] to [-1, 1], in the order of operations the weights were trained with."""
    return (positions + radius) / (2 * radius) * 2 - 1


class TriplaneNeRFRenderer(nn.Module):
    """Reads (3, C, H, W) planes through the decoder."""

    def __init__(self, cfg: RendererConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.chunk_size = 0

    def set_chunk_size(self, chunk_size: int) -> None:
        """How many points are decoded at once; 0 for all of them. ValueError for less."""
        if chunk_size < 0:
            raise ValueError(f"chunk_size must be 0 or more, not {chunk_size}")
        self.chunk_size = chunk_size

    def query_triplane(self, decoder: NeRFMLP, positions: Tensor, triplane: Tensor) -> dict[str, Tensor]:
        """`density` and `features` as the decoder gives them, `density_act` ≥ 0 and `color` in [0, 1] at positions.

        (…, 3) positions in [-radius, radius]; results are (…, 1) and (…, 3).
        """
        shape = positions.shape[:-1]
        unit = to_unit(positions.reshape(-1, 3), self.cfg.radius)

        def decode(points: Tensor) -> Mapping[str, Tensor]:
            found: Mapping[str, Tensor] = decoder(sample_planes(triplane, points))
            return found

        raw = _in_chunks(decode, unit, self.chunk_size)
        raw["density_act"] = torch.exp(raw["density"] + self.cfg.density_bias)
        raw["color"] = torch.sigmoid(raw["features"])
        return {name: value.view(*shape, value.shape[-1]) for name, value in raw.items()}

    def forward(self, decoder: NeRFMLP, triplane: Tensor, rays_o: Tensor, rays_d: Tensor) -> Tensor:
        """Colours (…, 3) over white along rays of (…, 3) origins and unit directions.

        The step between samples counts as 1/num_samples_per_ray however long the ray is: so the weights were trained.
        """
        shape = rays_o.shape[:-1]
        origins, directions = rays_o.reshape(-1, 3), rays_d.reshape(-1, 3)
        near, far, hit = _box_crossings(origins, directions, self.cfg.radius * _BOX_SHARE)
        count = self.cfg.num_samples_per_ray
        colours = torch.ones_like(origins)
        if bool(hit.any()):
            steps = (torch.arange(count, device=origins.device, dtype=origins.dtype) + 0.5) / count
            depth = near[hit, None] + (far - near)[hit, None] * steps
            points = origins[hit, None] + depth[..., None] * directions[hit, None]
            found = self.query_triplane(decoder, points, triplane)
            colours[hit] = _composite(found["density_act"][..., 0], found["color"], 1.0 / count)
        return colours.view(*shape, 3)


def _in_chunks(decode: Callable[[Tensor], Mapping[str, Tensor]], points: Tensor, size: int) -> dict[str, Tensor]:
    parts = [decode(chunk) for chunk in (torch.split(points, size) if size else (points,))]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _box_crossings(origins: Tensor, directions: Tensor, radius: float) -> tuple[Tensor, Tensor, Tensor]:
    """Where rays enter and leave the box [-radius, radius]³, and whether they pass through it at all."""
    safe = torch.where(directions.abs() < 1e-6, torch.full_like(directions, 1e-6), directions)
    one, other = (-radius - origins) / safe, (radius - origins) / safe
    near = torch.minimum(one, other).amax(dim=-1).clamp(min=0.0)
    far = torch.maximum(one, other).amin(dim=-1)
    return near, far, far - near > 0.01


def _composite(density: Tensor, colour: Tensor, step: float) -> Tensor:
    """(R, S) densities and (R, S, 3) colours along rays to (R, 3), over white."""
    alpha = 1 - torch.exp(-step * density)
    clear = torch.cumprod(torch.cat([torch.ones_like(alpha[:, :1]), 1 - alpha + 1e-10], dim=1), dim=1)[:, :-1]
    weights = alpha * clear
    return (weights[..., None] * colour).sum(dim=1) + 1 - weights.sum(dim=1, keepdim=True)
