"""From picture tokens to triplane tokens."""

from collections.abc import Callable

from torch import Tensor, nn

from ...config import BackboneConfig
from ..layers import apply
from .attention import Attention, FeedForward


class BasicTransformerBlock(nn.Module):
    """Self-attention, cross-attention, MLP; each after its norm, and added to what came in."""

    def __init__(self, cfg: BackboneConfig) -> None:
        super().__init__()
        width = cfg.num_attention_heads * cfg.attention_head_dim
        shape = (width, cfg.num_attention_heads, cfg.attention_head_dim)
        self.norm1 = nn.LayerNorm(width, eps=1e-5)
        self.attn1 = Attention(*shape, context_width=None, bias=cfg.attention_bias)
        self.norm2 = nn.LayerNorm(width, eps=1e-5)
        self.attn2 = Attention(*shape, context_width=cfg.cross_attention_dim, bias=cfg.attention_bias)
        self.norm3 = nn.LayerNorm(width, eps=1e-5)
        self.ff = FeedForward(width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(B, N, width) and (B, M, context width) to (B, N, width)."""
        mixed: Tensor = x + self.attn1(self.norm1(x))
        informed: Tensor = mixed + self.attn2(self.norm2(mixed), context)
        result: Tensor = informed + self.ff(self.norm3(informed))
        return result


class Transformer1D(nn.Module):
    """Blocks between two linear layers, added to the tokens as they came in."""

    def __init__(self, cfg: BackboneConfig) -> None:
        super().__init__()
        self.cfg = cfg
        width = cfg.num_attention_heads * cfg.attention_head_dim
        self.norm = nn.GroupNorm(cfg.norm_num_groups, cfg.in_channels, eps=1e-6)
        self.proj_in = nn.Linear(cfg.in_channels, width)
        self.transformer_blocks = nn.ModuleList(BasicTransformerBlock(cfg) for _ in range(cfg.num_layers))
        self.proj_out = nn.Linear(width, cfg.in_channels)

    def forward(
        self, hidden_states: Tensor, encoder_hidden_states: Tensor, report: Callable[[float], None] = lambda _: None
    ) -> Tensor:
        """(B, channels, N) tokens and (B, M, context width) picture tokens to (B, channels, N).

        `report` is told the share of blocks done before each of them; what it raises ends the work.
        """
        x = apply(self.proj_in, self.norm(hidden_states).transpose(1, 2)).to(hidden_states.dtype)
        for number, block in enumerate(self.transformer_blocks):
            report(number / len(self.transformer_blocks))
            x = block(x, encoder_hidden_states)
        return apply(self.proj_out, x).transpose(1, 2) + hidden_states
