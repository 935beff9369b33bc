"""Checkpoints: found, read without running anything in them, checked, and written as safetensors."""

import os
import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

#: Newer names of the picture encoder's parts → the released checkpoint's, in the order they are applied.
_RENAMED = (
    (r"\.layers\.", ".encoder.layer."),
    (r"\.attention\.q_proj\.", ".attention.attention.query."),
    (r"\.attention\.k_proj\.", ".attention.attention.key."),
    (r"\.attention\.v_proj\.", ".attention.attention.value."),
    (r"\.attention\.o_proj\.", ".attention.output.dense."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
)
_ENCODER = "image_tokenizer.model."


class BadWeights(ValueError):
    """A file that does not hold this network's weights; the message says what is wrong with it."""


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` or `.ckpt` file, by the released checkpoint's names. Nothing in it is executed."""
    state: object
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (FileNotFoundError, PermissionError):
        raise
    except (SafetensorError, RuntimeError, OSError, pickle.UnpicklingError, EOFError, ValueError) as error:
        raise BadWeights(f"{path} cannot be read ({_first_line(error)}): it is truncated, or not weights") from error
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise BadWeights(f"{path} holds {type(state).__name__}, not a state_dict of tensors")
    return {_released_name(str(name)): value for name, value in state.items()}


def load_into(network: nn.Module, path: Path) -> None:
    """Fill `network` from a file, strictly: BadWeights names what is missing, unexpected or of another shape."""
    state = read_state(path)
    wanted = network.state_dict()
    missing = [name for name in wanted if name not in state]
    unexpected = [name for name in state if name not in wanted]
    misshapen = [
        f"{name} is {tuple(state[name].shape)}, not {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in state and state[name].shape != value.shape
    ]
    for words, names in (("lacks", missing), ("has unknown", unexpected), ("does not fit:", misshapen)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise BadWeights(f"{path} {words} {', '.join(names[:3])}{more}")
    if broken := [name for name, value in state.items() if not bool(value.isfinite().all())]:
        raise BadWeights(f"{path}: {broken[0]} holds values that are not finite")
    # The tensors are taken as they are (mapped from the file): no second copy of 1.7 GB is made.
    network.load_state_dict({name: value.to(torch.float32) for name, value in state.items()}, assign=True)


def convert(source: Path, target: Path) -> None:
    """Write a checkpoint as safetensors, whole or not at all.

    BadWeights when `source` is not one, OSError when there is no room for `target`.
    """
    # Tensors of their own: the format has no word for two that share memory.
    state = {name: value.clone(memory_format=torch.contiguous_format) for name, value in read_state(source).items()}
    draft = target.with_name(target.name + ".part")
    try:
        save_file(state, draft)
        with draft.open("rb") as written:
            os.fsync(written.fileno())
        draft.replace(target)
    except SafetensorError as error:
        raise OSError(f"{target} cannot be written: {error}") from error
    finally:
        draft.unlink(missing_ok=True)


def _released_name(name: str) -> str:
    if not name.startswith(_ENCODER):
        return name
    for pattern, replacement in _RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
