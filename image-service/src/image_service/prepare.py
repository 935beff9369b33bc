"""Given pictures become views that share one scale.

Pictures of the six named views show the object's own extents: for an orthographic camera the silhouette's bounding box
in a front view is the object's width and height. So they are cropped to the object, centred, and scaled by the extent
that two views share. Pictures with explicit angles are taken as they are: one camera at several angles. A picture
without either is the front.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from scratch3d.contracts.images import SourceImage
from scratch3d.contracts.views import NAMED_VIEWS, Camera
from scratch3d.geometry.mesh import U8
from scratch3d.servicekit.errors import Unprocessable

from .engines.base import Picture, Pictures
from .matting.base import Cut

#: The object's longest side in the canonical picture, as a share of the picture.
FILL = 0.86
#: Two pictures may disagree this much about a shared extent before it is worth a warning.
EXTENT_TOLERANCE = 0.05


def prepare(sources: Sequence[SourceImage], cuts: Sequence[Cut], size_px: int) -> Pictures:
    """One cut per source to square views of `size_px`. The longest side of the object becomes one metre."""
    if any(source.azimuth_deg is not None or source.elevation_deg is not None for source in sources):
        return _registered(sources, cuts, size_px)
    names, warnings = _names(sources)
    used = [(name, cut) for name, cut in zip(names, cuts, strict=True) if name]
    made = _from_extents([str(name) for name, _ in used], [cut for _, cut in used], size_px)
    return Pictures(pictures=made.pictures, warnings=(*warnings, *made.warnings))


def _names(sources: Sequence[SourceImage]) -> tuple[list[str | None], list[str]]:
    """The view each picture shows; None for pictures that are left out."""
    names: list[str | None] = [source.view for source in sources]
    if len({name for name in names if name}) != sum(name is not None for name in names):
        raise Unprocessable("the same view is given twice", field=sources[0].field.split("[")[0])
    warnings = []
    for number, source in enumerate(sources):
        if names[number]:
            continue
        if "front" not in names:
            names[number] = "front"
        else:
            warnings.append(f"{source.field} is not used: it does not say which view it shows")
    return names, warnings


def _from_extents(names: Sequence[str], cuts: Sequence[Cut], size_px: int) -> Pictures:
    crops = [_crop(cut.rgba) for cut in cuts]
    scales, warnings = _shared_scale(names, crops)
    longest = max(max(_extents(c)) * s for c, s in zip(crops, scales, strict=True))
    pictures = []
    for name, cut, crop, scale in zip(names, cuts, crops, scales, strict=True):
        azimuth, elevation = NAMED_VIEWS[name]
        factor = scale * FILL * size_px / longest
        camera = Camera(azimuth_deg=azimuth, elevation_deg=elevation, half_width_m=0.5 / FILL)
        pictures.append(
            Picture(
                name=name,
                camera=camera,
                rgba=_centred(crop, factor, size_px),
                alpha_trusted=not cut.warnings,
                calibrated=False,
            )
        )
    return Pictures(pictures=tuple(pictures), warnings=tuple(warnings))


def _shared_scale(names: Sequence[str], crops: Sequence[U8]) -> tuple[list[float], list[str]]:
    """A factor per picture, so that the extents they share agree: heights around, widths for top and bottom."""
    heights = [_extents(c)[0] for n, c in zip(names, crops, strict=True) if n not in {"top", "bottom"}]
    if not heights:
        return [1.0] * len(crops), []
    reference = float(max(heights))
    width = _front_width(names, crops, reference)
    scales, warnings = [], []
    for name, crop in zip(names, crops, strict=True):
        if name in {"top", "bottom"}:
            scales.append(width / _extents(crop)[1] if width else 1.0)
            continue
        scales.append(reference / _extents(crop)[0])
        if abs(scales[-1] - 1.0) > EXTENT_TOLERANCE:
            warnings.append(f"view {name} was scaled by {scales[-1]:.2f} so that the object has the same height in all")
    return scales, warnings


def _front_width(names: Sequence[str], crops: Sequence[U8], height: float) -> float | None:
    for name, crop in zip(names, crops, strict=True):
        if name in {"front", "back"}:
            return float(_extents(crop)[1]) * height / float(_extents(crop)[0])
    return None


def _crop(image: U8) -> U8:
    """The object with one pixel around it: its antialiased edge belongs to it."""
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    solid = padded[..., 3] > 127
    rows, columns = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
    return padded[rows[0] - 1 : rows[-1] + 2, columns[0] - 1 : columns[-1] + 2]


def _extents(crop: U8) -> tuple[int, int]:
    """Height and width of the object in a crop."""
    return crop.shape[0] - 2, crop.shape[1] - 2


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


def _registered(sources: Sequence[SourceImage], cuts: Sequence[Cut], size_px: int) -> Pictures:
    field = sources[0].field.split("[")[0]
    if len({cut.rgba.shape[:2] for cut in cuts}) != 1:
        raise Unprocessable(
            "pictures with explicit angles must all have the same size, as from one camera", field=field
        )
    pictures = []
    for number, (source, cut) in enumerate(zip(sources, cuts, strict=True)):
        azimuth, elevation = NAMED_VIEWS.get(source.view or "", (None, 0.0))
        azimuth = source.azimuth_deg if source.azimuth_deg is not None else azimuth
        elevation = source.elevation_deg if source.elevation_deg is not None else elevation
        if azimuth is None:
            raise Unprocessable("needs a view or an azimuth_deg, as the other pictures have", field=source.field)
        side = max(cut.rgba.shape[:2])
        camera = Camera(azimuth_deg=azimuth, elevation_deg=elevation, half_width_m=0.5 / FILL)
        pictures.append(
            Picture(
                name=source.view or f"view-{number + 1}",
                camera=camera,
                rgba=_centred(cut.rgba, size_px / side, size_px),
                alpha_trusted=not cut.warnings,
            )
        )
    if len({picture.name for picture in pictures}) != len(pictures):
        raise Unprocessable("the same view is given twice", field=field)
    return Pictures(pictures=tuple(pictures))
