"""The learned start of the triplane, as tokens and back."""

import torch
from torch import Tensor, nn

from ...config import TriplaneTokenizerConfig


class Triplane1DTokenizer(nn.Module):
    """Three planes of plane_size² tokens; token index = (plane · plane_size + row) · plane_size + column."""

    def __init__(self, cfg: TriplaneTokenizerConfig) -> None:
        super().__init__()
        self.cfg = cfg
        # The scale only matters for training from scratch; the checkpoint overwrites it.
        start = torch.randn(3, cfg.num_channels, cfg.plane_size, cfg.plane_size) / cfg.num_channels**0.5
        self.embeddings = nn.Parameter(start)

    def forward(self, batch_size: int) -> Tensor:
        """(batch, channels, 3 · plane_size²)."""
        flat = self.embeddings.permute(1, 0, 2, 3).flatten(1)
        return flat.expand(batch_size, -1, -1)

    def detokenize(self, tokens: Tensor) -> Tensor:
        """(B, channels, 3 · plane_size²) to (B, 3, channels, plane_size, plane_size)."""
        batch, channels, _ = tokens.shape
        side = self.cfg.plane_size
        return tokens.view(batch, channels, 3, side, side).transpose(1, 2)
