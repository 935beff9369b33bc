"""A hub, a place for models, and an environment that names neither."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_site import HubSite
from tiny_model import FILES

from scratch3d.models.store import ModelStore


@pytest.fixture
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith(("HF_", "SSL_CERT", "SCRATCH3D_")) or name == "DATA_DIR":
            monkeypatch.delenv(name)


@pytest.fixture
def site() -> Iterator[HubSite]:
    with HubSite(dict(FILES)) as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "volumes" / "models")
