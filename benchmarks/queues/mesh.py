"""The real API and worker before stage services without engines."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from processes import HERE, Processes, python, wait_for

from scratch3d.up.supervisor import free_port

_STUB = HERE.parents[1] / "tests" / "faults" / "stub_engine.py"
_URLS_OF = {"image": "IMAGE_SERVICE_URLS", "reconstruction": "RECONSTRUCTION_URLS", "postprocess": "POSTPROCESS_URLS"}
PROMPT = {"prompt": "a red cube on a wooden cylinder", "quality_tier": "fast"}


@dataclass
class Mesh:
    """Where the API is, and what the engines noted."""

    url: str
    directory: Path

    def journal(self) -> list[dict[str, Any]]:
        """One entry per begin and end of a run."""
        paths = self.directory.glob("*.stub")
        return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def start(
    processes: Processes,
    redis_url: str,
    *,
    worker_redis_url: str | None = None,
    workers: int = 1,
    replicas: int = 1,
    engine_s: float = 0.05,
) -> Mesh:
    """A mesh of its own directory; `worker_redis_url`: the worker takes another way to the same Redis."""
    directory = processes.directory / f"mesh-{free_port()}"
    directory.mkdir()
    settings = {"DATA_DIR": str(directory / "volumes"), "MAX_QUEUED": "1000000", "PYTHONWARNINGS": "ignore"}
    stubs: list[str] = []
    for service, variable in _URLS_OF.items():
        ports = [free_port() for _ in range(replicas)]
        for port in ports:
            flags = ["--port", port, "--data-dir", settings["DATA_DIR"], "--service", service]
            command = [sys.executable, str(_STUB), *map(str, flags), "--journal", str(directory / f"{port}.stub")]
            processes.start(f"stub-{service}", command, {"STUB_SECONDS": str(engine_s)})
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        settings[variable] = json.dumps(urls)
        stubs += urls
    port = free_port()
    for url in stubs:
        wait_for(lambda url=url: _answers(f"{url}/health"), url)
    api = {**settings, "REDIS_URL": redis_url, "PORT": str(port)}
    processes.start("api", [sys.executable, "-m", "orchestrator", "api"], api)
    for _ in range(workers):
        environment = {**settings, "REDIS_URL": worker_redis_url or redis_url}
        processes.start("worker", [sys.executable, "-m", "orchestrator", "worker"], environment)
    url = f"http://127.0.0.1:{port}"
    wait_for(lambda: _answers(f"{url}/ready"), "readiness of the API")
    return Mesh(url, directory)


def bare(processes: Processes, redis_url: str) -> str:
    """The URL of the plainest handlers on the same Redis."""
    port = free_port()
    processes.start("bare", python("bare"), {"REDIS_URL": redis_url, "PORT": str(port)})
    wait_for(lambda: _answers(f"http://127.0.0.1:{port}/health"), "the bare handlers")
    return f"http://127.0.0.1:{port}"


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False
