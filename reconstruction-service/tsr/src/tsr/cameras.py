"""Cameras around the box, for pictures of a triplane.

World: right-handed, z up. Azimuth 0 is at (+distance, 0, 0), turning towards +y; cameras look along -z of their frame.
"""

import math

import torch
from torch import Tensor


def orbit_rays(
    n_views: int, elevation_deg: float, camera_distance: float, fovy_deg: float, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """Origins and unit directions, each (n_views, height, width, 3), of cameras that look at the centre."""
    azimuth = torch.arange(n_views, dtype=torch.float32) * (2 * math.pi / n_views)
    elevation = torch.full_like(azimuth, math.radians(elevation_deg))
    back = torch.stack([elevation.cos() * azimuth.cos(), elevation.cos() * azimuth.sin(), elevation.sin()], dim=-1)
    up_hint = torch.tensor([0.0, 0.0, 1.0]).expand_as(back)
    right = torch.nn.functional.normalize(torch.linalg.cross(up_hint, back, dim=-1), dim=-1)
    up = torch.linalg.cross(back, right, dim=-1)
    focal = 0.5 * height / math.tan(0.5 * math.radians(fovy_deg))
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    across, down = (columns - width / 2) / focal, (rows - height / 2) / focal
    axes = (right[:, None, None], up[:, None, None], back[:, None, None])
    directions = across[..., None] * axes[0] - down[..., None] * axes[1] - axes[2]
    origins = (back * camera_distance)[:, None, None].expand_as(directions)
    return origins.contiguous(), torch.nn.functional.normalize(directions, dim=-1)
