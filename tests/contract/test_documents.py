"""What is committed about the code is what the code says."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from scratch3d.contracts.artifacts import KEY_PATTERN

ROOT = Path(__file__).parents[2]


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["orchestrator", "image-service", "reconstruction-service", "postprocess-service"])
def test_committed_openapi_is_the_applications(name: str) -> None:
    committed = (ROOT / "docs" / "openapi" / f"{name}.json").read_text()
    assert committed == script("write_openapi").documents()[f"{name}.json"], "run `make openapi`"


@pytest.mark.parametrize("name", ["configuration.md", "vocabulary.md"])
def test_generated_pages_are_up_to_date(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == script("write_docs").documents()[name], "run `make docs`"


def test_links_between_our_pages_lead_somewhere() -> None:
    pages = [
        ROOT / "README.md",
        ROOT / "ARCHITECTURE.md",
        *(ROOT / "docs").rglob("*.md"),
        ROOT / "benchmarks" / "README.md",
    ]
    for page in pages:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
            if not target.startswith(("http:", "https:", "mailto:")):
                assert (page.parent / target).exists(), f"{page.name} → {target}"


def test_every_adr_ends_in_what_enforces_it() -> None:
    pages = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert len(pages) >= 4
    for page in pages:
        assert "**Enforced by**" in page.read_text(), page.name


def test_every_compose_setting_is_a_setting() -> None:
    known = script("write_docs").SETTINGS
    fields = {name.upper() for settings in known.values() for name in settings.model_fields}
    compose = (ROOT / "docker-compose.yml").read_text()
    for name in ("REDIS_URL", "IMAGE_SERVICE_URLS", "RECONSTRUCTION_URLS", "POSTPROCESS_URLS", "AUTH", "API_KEYS"):
        assert name in fields and name in compose


def test_no_key_can_leave_its_root() -> None:
    for key in (
        "inputs/../x",
        "inputs/.hidden",
        "/inputs/x",
        "models/x",
        "inputs/",
        "inputs",
        "inputs/a//b",
        "inputs/a\n",
    ):
        assert not re.fullmatch(KEY_PATTERN[1:-1], key), key
