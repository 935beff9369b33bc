"""The network's dimensions: the released ones are the defaults, others come from a `config.yaml`."""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

_Part = TypeVar("_Part")
_REFERENCE = re.compile(r"^\$\{([\w.]+)\}$")
#: Whose dimensions are built in; a picture encoder of another shape is given under `image_tokenizer.vit`.
DINO = "facebook/dino-vitb16"


class BadConfig(ValueError):
    """A configuration this network cannot be built from; the message names the key."""


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """The picture encoder, by default DINO ViT-B/16 (Caron et al. 2021)."""

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    image_size: int = 224
    patch_size: int = 16
    num_channels: int = 3
    qkv_bias: bool = True
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-12
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    initializer_range: float = 0.02


@dataclass(frozen=True, kw_only=True)
class ImageTokenizerConfig:
    """Which encoder reads the picture."""

    pretrained_model_name_or_path: str = DINO
    vit: ViTConfig = field(default_factory=ViTConfig)


@dataclass(frozen=True, kw_only=True)
class TriplaneTokenizerConfig:
    """The learned start of the triplane: three planes of plane_size² tokens."""

    plane_size: int = 32
    num_channels: int = 1024


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """The transformer from picture tokens to triplane tokens."""

    in_channels: int = 1024
    num_attention_heads: int = 16
    attention_head_dim: int = 64
    num_layers: int = 16
    cross_attention_dim: int = 768
    norm_num_groups: int = 32
    dropout: float = 0.0
    attention_bias: bool = False
    activation_fn: str = "geglu"


@dataclass(frozen=True, kw_only=True)
class UpsamplerConfig:
    """From triplane tokens to planes of twice the size."""

    in_channels: int = 1024
    out_channels: int = 40


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """The MLP from features at a point to density and colour."""

    in_channels: int = 120
    n_neurons: int = 64
    n_hidden_layers: int = 9
    activation: str = "silu"
    bias: bool = True


@dataclass(frozen=True, kw_only=True)
class RendererConfig:
    """How the triplane is read; `radius` is half the edge of the box, in the network's units."""

    radius: float = 0.87
    feature_reduction: str = "concat"
    density_activation: str = "exp"
    density_bias: float = -1.0
    color_activation: str = "sigmoid"
    num_samples_per_ray: int = 128
    randomized: bool = False


@dataclass(frozen=True, kw_only=True)
class TSRConfig:
    """The whole network; the defaults are the released configuration."""

    cond_image_size: int = 512
    image_tokenizer: ImageTokenizerConfig = field(default_factory=ImageTokenizerConfig)
    tokenizer: TriplaneTokenizerConfig = field(default_factory=TriplaneTokenizerConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    post_processor: UpsamplerConfig = field(default_factory=UpsamplerConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    renderer: RendererConfig = field(default_factory=RendererConfig)


#: The class names a configuration may give; they stand for our own parts and are never imported.
CLASSES = {
    "image_tokenizer_cls": "tsr.models.tokenizers.image.DINOSingleImageTokenizer",
    "tokenizer_cls": "tsr.models.tokenizers.triplane.Triplane1DTokenizer",
    "backbone_cls": "tsr.models.transformer.transformer_1d.Transformer1D",
    "post_processor_cls": "tsr.models.network_utils.TriplaneUpsampleNetwork",
    "decoder_cls": "tsr.models.network_utils.NeRFMLP",
    "renderer_cls": "tsr.models.nerf_renderer.TriplaneNeRFRenderer",
}
#: The only value each of these can have here.
_FIXED: dict[str, dict[str, object]] = {
    "image_tokenizer.vit": {"hidden_act": "gelu", "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    "backbone": {"activation_fn": "geglu", "dropout": 0.0},
    "decoder": {"activation": "silu"},
    "renderer": {
        "feature_reduction": "concat",
        "density_activation": "exp",
        "color_activation": "sigmoid",
        "randomized": False,
    },
}


def read_config(given: Mapping[str, Any]) -> TSRConfig:
    """A parsed `config.yaml`, with `${part.key}` resolved; BadConfig for what this network is not."""
    tree = cast(dict[str, Any], _resolved(given, given))
    for key, name in CLASSES.items():
        if tree.pop(key, name) != name:
            raise BadConfig(f"{key}: only {name} is known here, not {given[key]!r}")
    if "vit" in tree:
        tree["image_tokenizer"] = {**tree.get("image_tokenizer", {}), "vit": tree.pop("vit")}
    config = _part(TSRConfig, tree, "")
    _check(config)
    return config


def _resolved(node: Any, root: Mapping[str, Any], depth: int = 0) -> Any:
    if isinstance(node, Mapping):
        return {key: _resolved(value, root, depth) for key, value in node.items()}
    if not isinstance(node, str) or not (found := _REFERENCE.match(node)):
        return node
    value: Any = root
    for name in found[1].split("."):
        if not isinstance(value, Mapping) or name not in value:
            raise BadConfig(f"{node} refers to a key that is not there")
        value = value[name]
    if depth > 8:
        raise BadConfig(f"{node} refers to itself")
    return _resolved(value, root, depth + 1)


def _part(kind: type[_Part], tree: Any, where: str) -> _Part:
    """One dataclass from its part of the tree; keys and types are checked."""
    if not isinstance(tree, Mapping):
        raise BadConfig(f"{where or 'the configuration'} must be a mapping, not {type(tree).__name__}")
    known = {f.name: f for f in dataclasses.fields(cast(Any, kind))}
    if unknown := sorted(set(tree) - set(known)):
        raise BadConfig(f"{where}{unknown[0]} is not known; known are {', '.join(known)}")
    values: dict[str, Any] = {}
    for name, value in tree.items():
        wanted = known[name].type
        if dataclasses.is_dataclass(wanted):
            values[name] = _part(cast(type[Any], wanted), value, f"{where}{name}.")
        elif isinstance(value, bool) != (wanted is bool) or not isinstance(
            value, (int, float) if wanted is float else cast(type, wanted)
        ):
            raise BadConfig(f"{where}{name} must be {getattr(wanted, '__name__', wanted)}, not {value!r}")
        else:
            values[name] = float(cast(float, value)) if wanted is float else value
    return kind(**values)


def _check(config: TSRConfig) -> None:
    for where, fixed in _FIXED.items():
        part: Any = config
        for name in where.split("."):
            part = getattr(part, name)
        for key, value in fixed.items():
            if getattr(part, key) != value:
                raise BadConfig(f"{where}.{key}: only {value!r} is known here, not {getattr(part, key)!r}")
    tokens, width = config.tokenizer.num_channels, config.backbone.in_channels
    agreeing = {
        "backbone.in_channels and tokenizer.num_channels": (width, tokens),
        "post_processor.in_channels and tokenizer.num_channels": (config.post_processor.in_channels, tokens),
        "decoder.in_channels and 3 × post_processor.out_channels": (
            config.decoder.in_channels,
            3 * config.post_processor.out_channels,
        ),
        "backbone.cross_attention_dim and image_tokenizer.vit.hidden_size": (
            config.backbone.cross_attention_dim,
            config.image_tokenizer.vit.hidden_size,
        ),
    }
    for names, (one, other) in agreeing.items():
        if one != other:
            raise BadConfig(f"{names} must be equal, they are {one} and {other}")
    if config.image_tokenizer.pretrained_model_name_or_path != DINO and config.image_tokenizer.vit == ViTConfig():
        raise BadConfig(f"image_tokenizer.pretrained_model_name_or_path: only {DINO} is built in")
