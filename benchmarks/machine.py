"""The machine a table was made on, in a line."""

import os
import platform
from pathlib import Path


def describe() -> str:
    """Processor, cores, Python."""
    names = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
