"""Where the network runs, and how exactly it counts there."""

import torch

from scratch3d.servicekit.errors import NotAvailable


def device_of(wanted: str) -> torch.device:
    """`auto`: cuda, then mps, then cpu. NotAvailable for a device that is not here."""
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(wanted)
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
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if device.type == "cpu" and torch.cpu._is_avx512_bf16_supported() else "fp32"
