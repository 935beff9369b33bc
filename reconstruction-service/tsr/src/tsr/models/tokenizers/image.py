"""The picture encoder: a ViT (Dosovitskiy et al. 2020) as DINO trained it, with the checkpoint's names.

Modules are named by the released state_dict; the arithmetic is that of transformers 4.35, which the weights belong to.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...config import ImageTokenizerConfig, ViTConfig
from ..layers import apply, attend

#: ImageNet statistics, RGB.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: Added to the wanted grid before the scale is taken: the released weights were trained with positions mapped so.
_SCALE_OFFSET = 0.1


class PatchEmbeddings(nn.Module):
    """Patches of a picture as vectors."""

    def __init__(self, cfg: ViTConfig) -> None:
        super().__init__()
        self.projection = nn.Conv2d(cfg.num_channels, cfg.hidden_size, cfg.patch_size, cfg.patch_size)

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, patches, hidden), row-major."""
        return apply(self.projection, pictures).flatten(2).transpose(1, 2)


class Embeddings(nn.Module):
    """Patches, the class token and where they are."""

    def __init__(self, cfg: ViTConfig) -> None:
        super().__init__()
        side = cfg.image_size // cfg.patch_size
        self.patch_size = cfg.patch_size
        self.cls_token = nn.Parameter(torch.zeros(1, 1, cfg.hidden_size))
        self.position_embeddings = nn.Parameter(torch.zeros(1, side * side + 1, cfg.hidden_size))
        self.patch_embeddings = PatchEmbeddings(cfg)

    def positions(self, height: int, width: int) -> Tensor:
        """(1, 1 + patches, hidden) position embeddings of a picture of height × width pixels.

        Bicubic, by a scale that carries an offset of 0.1 cells; resizing to the size alone differs by a quarter of
        a standard deviation.
        """
        rows, columns = height // self.patch_size, width // self.patch_size
        first, rest = self.position_embeddings[:, :1], self.position_embeddings[:, 1:]
        side = round(rest.shape[1] ** 0.5)
        if rows * columns == rest.shape[1] and rows == columns:
            return self.position_embeddings
        grid = rest.reshape(1, side, side, -1).permute(0, 3, 1, 2)
        scale = ((rows + _SCALE_OFFSET) / side, (columns + _SCALE_OFFSET) / side)
        resized = F.interpolate(grid, scale_factor=scale, mode="bicubic", align_corners=False)
        return torch.cat([first, resized.permute(0, 2, 3, 1).reshape(1, rows * columns, -1)], dim=1)

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, 1 + patches, hidden)."""
        patches = self.patch_embeddings(pictures).to(self.cls_token.dtype)
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1)
        return tokens + self.positions(pictures.shape[-2], pictures.shape[-1])


class _SelfAttention(nn.Module):
    def __init__(self, cfg: ViTConfig) -> None:
        super().__init__()
        self.heads = cfg.num_attention_heads
        self.query, self.key, self.value = (
            nn.Linear(cfg.hidden_size, cfg.hidden_size, bias=cfg.qkv_bias) for _ in range(3)
        )

    def forward(self, x: Tensor) -> Tensor:
        return attend(apply(self.query, x), apply(self.key, x), apply(self.value, x), self.heads)


class _Dense(nn.Module):
    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width_in, width_out)

    def forward(self, x: Tensor) -> Tensor:
        return apply(self.dense, x)


class _Attention(nn.Module):
    def __init__(self, cfg: ViTConfig) -> None:
        super().__init__()
        self.attention = _SelfAttention(cfg)
        self.output = _Dense(cfg.hidden_size, cfg.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.output(self.attention(x))
        return result


class ViTLayer(nn.Module):
    """Attention and MLP, each after its norm and added to what came in."""

    def __init__(self, cfg: ViTConfig) -> None:
        super().__init__()
        self.attention = _Attention(cfg)
        self.intermediate = _Dense(cfg.hidden_size, cfg.intermediate_size)
        self.output = _Dense(cfg.intermediate_size, cfg.hidden_size)
        self.layernorm_before = nn.LayerNorm(cfg.hidden_size, eps=cfg.layer_norm_eps)
        self.layernorm_after = nn.LayerNorm(cfg.hidden_size, eps=cfg.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, hidden) to the same."""
        attended: Tensor = x + self.attention(self.layernorm_before(x))
        inner = F.gelu(self.intermediate(self.layernorm_after(attended)))
        result: Tensor = attended + self.output(inner)
        return result


class _Encoder(nn.Module):
    def __init__(self, cfg: ViTConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(ViTLayer(cfg) for _ in range(cfg.num_hidden_layers))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layer:
            x = layer(x)
        return x


class ViT(nn.Module):
    """The encoder; its pooler is in the checkpoint and is not used."""

    def __init__(self, cfg: ViTConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(cfg)
        self.encoder = _Encoder(cfg)
        self.layernorm = nn.LayerNorm(cfg.hidden_size, eps=cfg.layer_norm_eps)
        self.pooler = _Dense(cfg.hidden_size, cfg.hidden_size)

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W), normalised, to (B, 1 + patches, hidden)."""
        result: Tensor = self.layernorm(self.encoder(self.embeddings(pictures)))
        return result


class DINOSingleImageTokenizer(nn.Module):
    """Pictures in [0, 1] to tokens, the class token among them."""

    image_mean: Tensor
    image_std: Tensor

    def __init__(self, cfg: ImageTokenizerConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.model = ViT(cfg.vit)
        mean, std = self.statistics()
        self.register_buffer("image_mean", mean, persistent=False)
        self.register_buffer("image_std", std, persistent=False)

    @staticmethod
    def statistics() -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, (1, 1, 3, 1, 1) each; they are in no checkpoint."""
        mean, std = (torch.tensor(values, device="cpu").view(1, 1, 3, 1, 1) for values in (MEAN, STD))
        return mean, std

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, views, 3, H, W) to (B, views, hidden, tokens)."""
        batch, views = pictures.shape[:2]
        normal = ((pictures - self.image_mean) / self.image_std).flatten(0, 1)
        tokens: Tensor = self.model(normal)
        return tokens.transpose(1, 2).reshape(batch, views, tokens.shape[2], tokens.shape[1])

    def detokenize(self, *_: object) -> Tensor:
        """Tokens of a picture are not turned back into one."""
        raise NotImplementedError("a picture's tokens are not turned back into a picture")
