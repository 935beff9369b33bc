"""A tiny network on disk as the released one lies there, for every suite that loads it by the real code.

What it makes of any picture is a ball in many colours, a little different for each picture.
"""

import math
import sys
from pathlib import Path

import torch
import yaml
from torch import Tensor

from tsr.config import CLASSES, DINO
from tsr.system import TSR

sys.path.insert(0, str(Path(__file__).parent / "golden"))

import inputs


def write_tiny_checkpoint(directory: Path) -> None:
    """`config.yaml` with a reference and class names, and `model.ckpt`."""
    directory.mkdir(parents=True)
    config = {**inputs.TINY, **CLASSES}
    vit = config.pop("vit")
    config["image_tokenizer"] = {"pretrained_model_name_or_path": DINO, "vit": vit}
    config["backbone"] = {**inputs.TINY["backbone"], "in_channels": "${tokenizer.num_channels}"}
    (directory / "config.yaml").write_text(yaml.safe_dump(config))
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in TSR(inputs.TINY).state_dict().items()}
    torch.save(_ball(inputs.fill_state_dict(shapes)), directory / "model.ckpt")


def _ball(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Planes that carry -(a² + b²) and the coordinates, and a decoder that hands their sums on."""
    state["backbone.proj_out.weight"] *= 0.002
    state["backbone.proj_out.bias"].zero_()
    planes = state["tokenizer.embeddings"].zero_()
    side = planes.shape[-1]
    line = (torch.arange(side) + 0.5) / side * 2 - 1
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    planes[:, 0] = -(rows**2 + columns**2)
    planes[0, 1], planes[0, 2], planes[1, 3] = columns, rows, rows
    upsample, bias = state["post_processor.upsample.weight"].zero_(), state["post_processor.upsample.bias"].zero_()
    for channel in range(4):
        upsample[channel, channel] = 1.0
    first = state["decoder.layers.0.weight"].zero_()
    for channel in range(4):
        first[channel, channel :: len(bias)] = 10.0 if channel == 0 else 3.0
    # So far above zero SiLU hands on what it gets.
    state["decoder.layers.0.bias"].fill_(30.0)
    for layer in range(2, 18, 2):
        state[f"decoder.layers.{layer}.weight"].copy_(torch.eye(len(first)))
        state[f"decoder.layers.{layer}.bias"].zero_()
    last = state["decoder.layers.18.weight"].zero_()
    last[:, :4] = torch.eye(4)
    # The density is that of the surface where a² + b² + c² = 0.36 of the box's half edge squared.
    at_surface = 30 - 10 * 2 * 0.36 - (math.log(25.0) + 1)
    state["decoder.layers.18.bias"].copy_(torch.tensor([-at_surface, -30.0, -30.0, -30.0]))
    return state
