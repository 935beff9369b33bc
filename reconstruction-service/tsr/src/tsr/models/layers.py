"""What all blocks share: linear layers that may be stored in a narrower type than the residual stream, attention."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def apply(layer: nn.Linear | nn.Conv2d, x: Tensor) -> Tensor:
    """`layer(x)` in the type the layer is stored in."""
    result: Tensor = layer(x.to(layer.weight.dtype))
    return result


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Multi-head attention of (B, N, heads·d) queries over (B, M, heads·d) keys and values, scaled by 1/√d."""
    batch, count, width = q.shape
    q, k, v = (x.view(batch, -1, heads, width // heads).transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, count, width)


def narrow(module: nn.Module, dtype: torch.dtype) -> None:
    """Store the weights of all linear layers and convolutions in `dtype`; norms and embeddings stay as they are."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            layer.to(dtype)
