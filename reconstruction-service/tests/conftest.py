"""Pictures of a sphere, stored as views, and a tiny network in the place of the released weights."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scratch3d.contracts.views import Camera, View, cameras_of
from scratch3d.servicekit.artifacts import ArtifactStore


def disc_png(radius_m: float, half_width_m: float, size: int = 128) -> bytes:
    """An antialiased orange disc: what every camera sees of a sphere."""
    y, x = (np.mgrid[:size, :size] + 0.5 - size / 2) * (2 * half_width_m / size)
    edge = (radius_m - np.hypot(x, y)) * size / (2 * half_width_m) + 0.5
    rgba = np.zeros((size, size, 4), np.uint8)
    rgba[..., :3] = (230, 120, 20)
    rgba[..., 3] = np.rint(np.clip(edge, 0, 1) * 255)
    buffer = io.BytesIO()
    Image.fromarray(rgba).save(buffer, "PNG")
    return buffer.getvalue()


sys.path.insert(0, str(Path(__file__).parents[1] / "tsr" / "tests"))

from tiny_checkpoint import write_tiny_checkpoint  # noqa: E402


def prepared(directory: Path) -> Path:
    """A data directory with a tiny network in it."""
    ArtifactStore(directory).prepare()
    write_tiny_checkpoint(directory / "models" / "triposr")
    return directory


def views_of_a_sphere(data_dir: Path) -> list[View]:
    """Eight calibrated views, stored."""
    store = ArtifactStore(data_dir)
    return [
        View(
            name=name,
            ref=store.put(f"inputs/test/1/{name}.png", disc_png(0.5, 0.6)),
            camera=Camera(azimuth_deg=c.azimuth_deg, elevation_deg=c.elevation_deg, half_width_m=0.6),
            alpha_trusted=True,
        )
        for name, c in cameras_of("carve-8").items()
    ]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return prepared(tmp_path)


@pytest.fixture
def sphere_views(data_dir: Path) -> list[View]:
    return views_of_a_sphere(data_dir)
