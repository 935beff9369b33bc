"""What runs in the engine's process: make pictures, store them, return references."""

from time import perf_counter
from typing import Any

import numpy as np

from scratch3d.contracts.images import ImagineRequest, ImagineResult, WantedView
from scratch3d.contracts.views import VIEW_SETS
from scratch3d.geometry.glb import read_glb
from scratch3d.servicekit import registry
from scratch3d.servicekit.artifacts import ArtifactStore
from scratch3d.servicekit.errors import InvalidResult, Unprocessable
from scratch3d.servicekit.runner import Payload, Report

from .engines import GROUP
from .engines.base import ImageEngine, Pictures
from .keep import keep
from .settings import Settings


class ImageWork:
    """One image engine with its file handling."""

    def __init__(self, engine_name: str, settings: Settings) -> None:
        self.settings = settings
        self.artifacts = ArtifactStore(settings.data_dir)
        self.engine_name = engine_name
        self.engine: ImageEngine = registry.create(GROUP, engine_name, settings)

    def load(self) -> None:
        """Bring the engine up."""
        self.engine.load()

    def run(self, request: Payload, report: Report) -> Payload:
        """An ImagineRequest to an ImagineResult."""
        started = perf_counter()
        wish = ImagineRequest.model_validate(request)
        pictures = self.engine.generate(
            wish.prompts, wanted_views(wish), size_px=wish.size_px, seed=wish.seed, style=wish.style, report=report
        )
        report(0.95, "storing")
        result = ImagineResult(
            engine=self.engine_name, engine_version=self.engine.card().version, seed=wish.seed, views=()
        )
        prefix = wish.output_prefix or "cache/image-service"
        result = keep(self.artifacts, prefix, _checked(pictures, wish.size_px), result)
        return result.model_copy(update={"duration_s": round(perf_counter() - started, 4)}).model_dump(mode="json")

    def close(self) -> None:
        """Close the engine."""
        self.engine.close()


def create(arguments: dict[str, Any]) -> ImageWork:
    """Called in the child process by the runner."""
    return ImageWork(arguments["engine"], Settings.model_validate(arguments["settings"]))


def wanted_views(wish: ImagineRequest) -> tuple[WantedView, ...]:
    """The views asked for: listed, or a named set; without either, the best set of four."""
    if wish.views:
        return wish.views
    name = wish.view_set or "carve-4"
    if name not in VIEW_SETS:
        raise Unprocessable(f"is not one of {', '.join(VIEW_SETS)}", field="view_set")
    return tuple(WantedView(name=n, azimuth_deg=a, elevation_deg=e) for n, a, e in VIEW_SETS[name])


def _checked(pictures: Pictures, size_px: int) -> Pictures:
    """What an engine gave, or InvalidResult: engines are strangers."""
    if not isinstance(pictures, Pictures) or not pictures.pictures:
        raise InvalidResult(f"the engine returned {type(pictures).__name__}, not pictures", code="wrong_type")
    for picture in pictures.pictures:
        if picture.rgba.shape != (size_px, size_px, 4) or picture.rgba.dtype != np.uint8:
            raise InvalidResult(f"view {picture.name} has shape {picture.rgba.shape}", code="wrong_type")
    if pictures.scene_glb is not None:
        read_glb(pictures.scene_glb)
    return pictures
