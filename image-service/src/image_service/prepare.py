"""Given pictures become views that share one scale.

Pictures of the six named views show the object's own extents: for an orthographic camera the silhouette's bounding box
in a front view is the object's width and height. So they are cropped to the object, centred, and scaled by the extent
that two views share. Pictures with explicit angles are taken as they are: one camera at several angles.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from scratch3d.contracts.images import SourceImage
from scratch3d.contracts.views import NAMED_VIEWS, Camera
from scratch3d.geometry.mesh import U8
from scratch3d.servicekit.errors import Unprocessable

from .engines.base import Picture, Pictures

#: The object's longest side in the canonical picture, as a share of the picture.
FILL = 0.86
#: Two pictures may disagree this much about a shared extent before it is worth a warning.
EXTENT_TOLERANCE = 0.05


def prepare(sources: Sequence[SourceImage], images: Sequence[U8], size_px: int) -> Pictures:
    """`images` are (h, w, 4) uint8, one per source. The longest side of the object becomes one metre."""
    names = [_name(source, number) for number, source in enumerate(sources)]
    if len(set(names)) != len(names):
        raise Unprocessable("the same view is given twice", field="images")
    if all(source.view and source.azimuth_deg is None and source.elevation_deg is None for source in sources):
        return _from_extents([str(source.view) for source in sources], images, size_px)
    return _registered(sources, names, images, size_px)


def _name(source: SourceImage, number: int) -> str:
    return str(source.view) if source.view else f"view-{number + 1}"


def _from_extents(names: Sequence[str], images: Sequence[U8], size_px: int) -> Pictures:
    crops = [_crop(image) for image in images]
    scales, warnings = _shared_scale(names, crops)
    longest = max(max(c.shape[:2]) * s for c, s in zip(crops, scales, strict=True))
    pictures = []
    for name, crop, scale in zip(names, crops, scales, strict=True):
        azimuth, elevation = NAMED_VIEWS[name]
        factor = scale * FILL * size_px / longest
        camera = Camera(azimuth_deg=azimuth, elevation_deg=elevation, half_width_m=0.5 / FILL)
        pictures.append(Picture(name=name, camera=camera, rgba=_centred(crop, factor, size_px), alpha_trusted=True))
    return Pictures(pictures=tuple(pictures), warnings=tuple(warnings))


def _shared_scale(names: Sequence[str], crops: Sequence[U8]) -> tuple[list[float], list[str]]:
    """A factor per picture, so that the extents they share agree: heights around, widths for top and bottom."""
    heights = [c.shape[0] for n, c in zip(names, crops, strict=True) if n not in {"top", "bottom"}]
    if not heights:
        return [1.0] * len(crops), []
    reference = float(max(heights))
    width = _front_width(names, crops, reference)
    scales, warnings = [], []
    for name, crop in zip(names, crops, strict=True):
        if name in {"top", "bottom"}:
            scales.append(width / crop.shape[1] if width else 1.0)
            continue
        scales.append(reference / crop.shape[0])
        if abs(scales[-1] - 1.0) > EXTENT_TOLERANCE:
            warnings.append(f"view {name} was scaled by {scales[-1]:.2f} so that the object has the same height in all")
    return scales, warnings


def _front_width(names: Sequence[str], crops: Sequence[U8], height: float) -> float | None:
    for name, crop in zip(names, crops, strict=True):
        if name in {"front", "back"}:
            return float(crop.shape[1]) * height / float(crop.shape[0])
    return None


def _crop(image: U8) -> U8:
    solid = image[..., 3] > 127
    rows, columns = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _centred(crop: U8, factor: float, size_px: int) -> U8:
    width, height = (max(1, round(side * factor)) for side in (crop.shape[1], crop.shape[0]))
    canvas = np.zeros((size_px, size_px, 4), np.uint8)
    resized = np.asarray(_resize(crop, width, height))[:size_px, :size_px]
    top, left = (size_px - resized.shape[0]) // 2, (size_px - resized.shape[1]) // 2
    canvas[top : top + resized.shape[0], left : left + resized.shape[1]] = resized
    return canvas


def _resize(rgba: U8, width: int, height: int) -> Image.Image:
    # Premultiplied while resizing, so that what lies under alpha 0 does not bleed into the edge.
    return Image.fromarray(rgba).convert("RGBa").resize((width, height), Image.Resampling.LANCZOS).convert("RGBA")


def _registered(sources: Sequence[SourceImage], names: Sequence[str], images: Sequence[U8], size_px: int) -> Pictures:
    sizes = {image.shape[:2] for image in images}
    if len(sizes) != 1:
        raise Unprocessable(
            "pictures with explicit angles must all have the same size, as from one camera", field="images"
        )
    pictures = []
    for source, name, image in zip(sources, names, images, strict=True):
        azimuth, elevation = NAMED_VIEWS.get(source.view or "", (None, 0.0))
        azimuth = source.azimuth_deg if source.azimuth_deg is not None else azimuth
        elevation = source.elevation_deg if source.elevation_deg is not None else elevation
        if azimuth is None:
            raise Unprocessable(f"{name} has neither a view nor an azimuth_deg", field="images")
        side = max(image.shape[:2])
        camera = Camera(azimuth_deg=azimuth, elevation_deg=elevation, half_width_m=0.5 / FILL)
        rgba = _centred(image, size_px / side, size_px)
        pictures.append(Picture(name=name, camera=camera, rgba=rgba, alpha_trusted=True))
    return Pictures(pictures=tuple(pictures))
