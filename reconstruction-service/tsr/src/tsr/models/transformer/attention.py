"""Attention and the gated MLP of a block, with the checkpoint's names."""

import torch.nn.functional as F
from torch import Tensor, nn

from ..layers import apply, attend


class Attention(nn.Module):
    """Self-attention, or cross-attention over a context of another width."""

    def __init__(self, width: int, heads: int, head_width: int, *, context_width: int | None, bias: bool) -> None:
        super().__init__()
        inner = heads * head_width
        self.heads = heads
        self.to_q = nn.Linear(width, inner, bias=bias)
        self.to_k = nn.Linear(context_width or width, inner, bias=bias)
        self.to_v = nn.Linear(context_width or width, inner, bias=bias)
        self.to_out = nn.ModuleList([nn.Linear(inner, width)])

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """(B, N, width), and (B, M, context_width) for cross-attention, to (B, N, width)."""
        source = x if context is None else context
        attended = attend(apply(self.to_q, x), apply(self.to_k, source), apply(self.to_v, source), self.heads)
        out = self.to_out[0]
        assert isinstance(out, nn.Linear)
        return apply(out, attended)


class GEGLU(nn.Module):
    """A linear layer whose second half gates the first (Shazeer 2020); the gate's GELU is the exact one."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width_in, 2 * width_out)

    def forward(self, x: Tensor) -> Tensor:
        """(…, width_in) to (…, width_out)."""
        value, gate = apply(self.proj, x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    """The MLP of a block, four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # The checkpoint numbers its layers 0 and 2; a dropout of nothing stood between them.
        self.net = nn.ModuleDict({"0": GEGLU(width, 4 * width), "2": nn.Linear(4 * width, width)})

    def forward(self, x: Tensor) -> Tensor:
        """(…, width) to the same."""
        last = self.net["2"]
        assert isinstance(last, nn.Linear)
        return apply(last, self.net["0"](x))
