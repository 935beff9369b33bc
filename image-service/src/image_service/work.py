"""What runs in the engine's process: make or prepare pictures, store them, return references."""

import io
from time import perf_counter
from typing import Any

import numpy as np
from PIL import Image

from scratch3d.contracts.images import ImagineRequest, ImagineResult, PrepareRequest, WantedView
from scratch3d.contracts.views import VIEW_SETS, View
from scratch3d.geometry.glb import read_glb
from scratch3d.geometry.mesh import U8
from scratch3d.servicekit import registry
from scratch3d.servicekit.artifacts import ArtifactStore
from scratch3d.servicekit.errors import InvalidResult, NotFound, Unprocessable
from scratch3d.servicekit.runner import Payload, Report

from .engines import GROUP
from .engines.base import ImageEngine, Pictures
from .pictures import Limits, load_rgba
from .prepare import prepare
from .settings import Settings


class ImageWork:
    """One image engine and the preparation of given pictures."""

    def __init__(self, engine_name: str, settings: Settings) -> None:
        self.settings = settings
        self.artifacts = ArtifactStore(settings.data_dir)
        self.engine_name = engine_name
        self.engine: ImageEngine = registry.create(GROUP, engine_name, settings)

    def load(self) -> None:
        """Bring the engine up."""
        self.engine.load()

    def run(self, request: Payload, report: Report) -> Payload:
        """`{"generate": ImagineRequest}` or `{"prepare": PrepareRequest}` to an ImagineResult."""
        started = perf_counter()
        if request.get("generate"):
            wish = ImagineRequest.model_validate(request["generate"])
            pictures = self.engine.generate(
                wish.prompts, wanted_views(wish), size_px=wish.size_px, seed=wish.seed, report=report
            )
            result = self._keep(_checked(pictures, wish.size_px), wish.output_prefix, wish.seed, report)
        else:
            given = PrepareRequest.model_validate(request["prepare"])
            result = self._keep(self._prepare(given, report), given.output_prefix, 0, report)
        return result.model_copy(update={"duration_s": round(perf_counter() - started, 4)}).model_dump(mode="json")

    def close(self) -> None:
        """Close the engine."""
        self.engine.close()

    def _prepare(self, given: PrepareRequest, report: Report) -> Pictures:
        limits = Limits(max_pixels=self.settings.max_picture_mpx * 1e6, max_bytes=self.settings.max_picture_mb * 1e6)
        images = []
        for number, source in enumerate(given.images):
            report(number / len(given.images) * 0.8, f"picture {number + 1} of {len(given.images)}")
            field = f"image_paths[{number}]"
            try:
                content = self.artifacts.local(source.key).read_bytes()
            except NotFound as error:
                raise Unprocessable(error.detail, code="not_found", field=field) from None
            images.append(load_rgba(content, limits, field=field))
        return prepare(given.images, images, given.size_px)

    def _keep(self, pictures: Pictures, prefix: str | None, seed: int, report: Report) -> ImagineResult:
        report(0.95, "storing")
        prefix = prefix or "cache/image-service"
        views = []
        for picture in pictures.pictures:
            ref = self.artifacts.put(f"{prefix}/{picture.name}.png", _png(picture.rgba))
            unlit = (
                self.artifacts.put(f"{prefix}/{picture.name}-unlit.png", _png(picture.unlit_rgba))
                if picture.unlit_rgba is not None
                else None
            )
            views.append(
                View(
                    name=picture.name,
                    ref=ref,
                    camera=picture.camera,
                    alpha_trusted=picture.alpha_trusted,
                    unlit_ref=unlit,
                )
            )
        scene = self.artifacts.put(f"{prefix}/scene.glb", pictures.scene_glb) if pictures.scene_glb else None
        return ImagineResult(
            engine=self.engine_name,
            engine_version=self.engine.card().version,
            seed=seed,
            views=tuple(views),
            scene=scene,
            warnings=pictures.warnings,
            image_paths=tuple(view.ref.public_path for view in views),
        )


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


def _png(rgba: U8) -> bytes:
    buffer = io.BytesIO()
    # Level 1: views are many and short-lived, and the default level takes four times as long for a tenth less.
    Image.fromarray(rgba).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
