"""Write the committed OpenAPI documents, one per service, from the real applications."""

import json
from pathlib import Path

from fastapi import FastAPI

from image_service.app import create_app as image_app
from image_service.settings import Settings as ImageSettings
from orchestrator.app import create_app as orchestrator_app
from orchestrator.settings import Settings as OrchestratorSettings
from orchestrator.store_memory import MemoryStore
from postprocess_service.app import create_app as postprocess_app
from postprocess_service.settings import Settings as PostprocessSettings
from reconstruction_service.app import create_app as reconstruction_app
from reconstruction_service.settings import Settings as ReconstructionSettings

DIRECTORY = Path(__file__).parents[1] / "docs" / "openapi"


def applications() -> dict[str, FastAPI]:
    """Every service's application, nothing started."""
    return {
        "orchestrator": orchestrator_app(OrchestratorSettings(), store=MemoryStore()),
        "image-service": image_app(ImageSettings()),
        "reconstruction-service": reconstruction_app(ReconstructionSettings()),
        "postprocess-service": postprocess_app(PostprocessSettings()),
    }


def documents() -> dict[str, str]:
    """File name → content."""
    return {
        f"{name}.json": json.dumps(app.openapi(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        for name, app in applications().items()
    }


def main() -> None:
    """Write them."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    for name, content in documents().items():
        (DIRECTORY / name).write_text(content)


if __name__ == "__main__":
    main()
