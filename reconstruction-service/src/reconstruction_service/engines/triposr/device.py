"""Where the network runs, and how exactly it counts there."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from scratch3d.servicekit.errors import NotAvailable

#: What torch's allocators say when there is no more; it is a RuntimeError on a CPU.
_NO_MEMORY = ("DefaultCPUAllocator", "out of memory")
KINDS = ("cuda", "mps", "cpu")


def device_of(wanted: str) -> torch.device:
    """`auto`: cuda, then mps, then cpu. NotAvailable for a device that is not here."""
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(wanted)
        if device.type not in KINDS:
            raise NotAvailable(f"TRIPOSR_DEVICE is auto or one of {', '.join(KINDS)}, not {wanted}", field="engine")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built for the device
        reason = str(error).splitlines()[0]
        raise NotAvailable(f"TRIPOSR_DEVICE={wanted} is not here: {reason}", field="engine") from error
    return device


def precision_of(wanted: str, device: torch.device) -> str:
    """`auto`: bf16 where the hardware multiplies it faster than fp32 (measured: benchmarks/triposr.py), else fp32."""
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        with torch.cuda.device(device):
            return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if device.type == "cpu" and torch.cpu._is_avx512_bf16_supported() else "fp32"


@contextmanager
def named_memory_errors() -> Iterator[None]:
    """Torch's ways to say that memory is out, as MemoryError."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in _NO_MEMORY):
            raise MemoryError(str(error).splitlines()[0]) from error
        raise
