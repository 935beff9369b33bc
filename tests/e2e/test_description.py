"""The API against its own OpenAPI document: nothing it says may be wrong, whatever is sent."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Mesh

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(660)  # longer than the patience with its own process
def test_schemathesis_finds_nothing(mesh: Mesh, tmp_path: Path) -> None:
    examples = "200" if os.environ.get("FULL") else "25"
    command = [str(Path(sys.executable).parent / "st"), "--config-file", str(ROOT / "schemathesis.toml"), "run"]
    command += [f"{mesh.url}/openapi.json", "--max-examples", examples, "--seed", "1", "--request-timeout", "20"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=600)
    assert done.returncode == 0, done.stdout[-6000:]
