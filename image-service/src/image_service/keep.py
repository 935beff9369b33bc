"""Pictures to stored views: one PNG each, and what else an engine left."""

import io

from PIL import Image

from scratch3d.contracts.images import ImagineResult
from scratch3d.contracts.views import View
from scratch3d.geometry.mesh import U8
from scratch3d.servicekit.artifacts import ArtifactStore

from .engines.base import Picture, Pictures


def keep(artifacts: ArtifactStore, prefix: str, pictures: Pictures, result: ImagineResult) -> ImagineResult:
    """`result` with every picture stored under `prefix`, and the pictures' warnings."""
    views = tuple(_view(artifacts, prefix, picture) for picture in pictures.pictures)
    scene = artifacts.put(f"{prefix}/scene.glb", pictures.scene_glb) if pictures.scene_glb else None
    return result.model_copy(
        update={
            "views": views,
            "scene": scene,
            "warnings": pictures.warnings,
            "image_paths": tuple(view.ref.public_path for view in views),
        }
    )


def _view(artifacts: ArtifactStore, prefix: str, picture: Picture) -> View:
    unlit = picture.unlit_rgba
    return View(
        name=picture.name,
        ref=artifacts.put(f"{prefix}/{picture.name}.png", _png(picture.rgba)),
        camera=picture.camera,
        alpha_trusted=picture.alpha_trusted,
        calibrated=picture.calibrated,
        unlit_ref=None if unlit is None else artifacts.put(f"{prefix}/{picture.name}-unlit.png", _png(unlit)),
    )


def _png(rgba: U8) -> bytes:
    buffer = io.BytesIO()
    # Level 1: views are many and short-lived, and the default level takes four times as long for a tenth less.
    Image.fromarray(rgba).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
