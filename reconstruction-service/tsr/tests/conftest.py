"""A tiny network with the reference's weights, the scene fitted to known solids, and the reference's numbers."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tsr.config import DecoderConfig, RendererConfig
from tsr.models.nerf_renderer import TriplaneNeRFRenderer
from tsr.models.network_utils import NeRFMLP
from tsr.system import TSR

# Other work on the machine makes threads that wait for each other slow; what depends on their number has its own test.
torch.set_num_threads(1)

GOLDEN = Path(__file__).parent / "golden"
sys.path.insert(0, str(GOLDEN))

import inputs  # noqa: E402


class Golden:
    """The reference's arrays; `near` is the largest difference over the standard deviation of the expected."""

    def __init__(self) -> None:
        with np.load(GOLDEN / "golden.npz") as arrays:
            self.arrays = dict(arrays)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def off(self, name: str, found: object) -> float:
        """Largest difference over the standard deviation of the expected."""
        expected = self.arrays[name]
        given = np.asarray(found.detach() if isinstance(found, torch.Tensor) else found).reshape(expected.shape)
        return float(np.abs(given - expected).max() / expected.std())


class Scene:
    """Renderer, decoder and planes: what a surface is made of."""

    def __init__(self, decoder: NeRFMLP, code: torch.Tensor) -> None:
        self.renderer, self.decoder, self.code = (
            TriplaneNeRFRenderer(RendererConfig()),
            decoder.requires_grad_(False),
            code,
        )


@pytest.fixture(scope="session")
def golden() -> Golden:
    return Golden()


@pytest.fixture(scope="session")
def tiny() -> TSR:
    network = TSR(inputs.TINY)
    network.load_state_dict(inputs.fill_state_dict({k: v.shape for k, v in network.state_dict().items()}), strict=True)
    return network


@pytest.fixture(scope="session")
def fitted() -> Scene:
    """A sphere, a torus, a thin rod, a small ball and a thin slab."""
    decoder = NeRFMLP(DecoderConfig())
    with np.load(GOLDEN / "fitted_scene.npz") as arrays:
        decoder.load_state_dict(
            {k.removeprefix("decoder."): torch.from_numpy(arrays[k]) for k in arrays if k != "triplane"}
        )
        return Scene(decoder, torch.from_numpy(arrays["triplane"].astype(np.float32)))
