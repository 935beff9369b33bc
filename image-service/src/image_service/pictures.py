"""Given picture files to RGBA arrays: header first, limits before decoding, upright, transparent around the object."""

import io
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from scratch3d.geometry.mesh import U8, Array, to_u8

from .errors import ImageTooLarge, NoObject, UnreadableImage

FORMATS = ("PNG", "JPEG", "WEBP")
#: Largest distance (0 to 441, sRGB) from the border's colour that still counts as background.
FLAT_TOLERANCE = 28.0
#: Share of border pixels that must have that colour before the background counts as flat.
FLAT_SHARE = 0.97


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is read at most."""

    max_pixels: float
    max_bytes: float


def open_header(content: bytes, limits: Limits, *, field: str) -> Image.Image:
    """A picture whose pixels are not decoded yet; UnreadableImage or ImageTooLarge naming the field."""
    if len(content) > limits.max_bytes:
        raise ImageTooLarge(
            f"has {len(content) / 1e6:.1f} MB; at most {limits.max_bytes / 1e6:g} are read", field=field
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content), formats=FORMATS)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise UnreadableImage("is not a PNG, JPEG or WebP picture that can be read", field=field) from None
    if image.width * image.height > limits.max_pixels:
        size = f"{image.width} × {image.height}"
        raise ImageTooLarge(f"is {size} pixels; at most {limits.max_pixels / 1e6:g} million are read", field=field)
    if getattr(image, "n_frames", 1) != 1:
        raise UnreadableImage("is an animation; send a single picture", field=field)
    return image


def has_alpha(image: Image.Image) -> bool:
    """The header announces transparency."""
    return image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info


def load_rgba(content: bytes, limits: Limits, *, field: str) -> U8:
    """(h, w, 4) uint8, upright, its alpha the object: the picture's own, or what differs from a flat background."""
    image = open_header(content, limits, field=field)
    try:
        upright = ImageOps.exif_transpose(image).convert("RGBA")
    except (OSError, ValueError, SyntaxError) as error:
        raise UnreadableImage(f"is damaged: {error}", field=field) from None
    rgba = np.array(upright)
    if rgba[..., 3].min() >= 250:
        rgba[..., 3] = _cut_flat_background(rgba[..., :3], field)
    if (rgba[..., 3] > 127).sum() < 16:
        raise NoObject("shows no object: everything is transparent", field=field)
    return rgba


def _cut_flat_background(rgb: Array, field: str) -> U8:
    """(h, w) alpha of what differs from the border's one colour, with a soft edge."""
    border = np.concatenate([rgb[0], rgb[-1], rgb[:, 0], rgb[:, -1]]).astype(float)
    background = np.median(border, axis=0)
    if (np.linalg.norm(border - background, axis=1) < FLAT_TOLERANCE).mean() < FLAT_SHARE:
        raise NoObject(
            "has a background of more than one colour, and removing those is not available here: "
            "send a PNG with a transparent background, or a picture on a plain one",
            field=field,
        )
    distance = np.linalg.norm(rgb.astype(float) - background, axis=2)
    # Half way to the object's own distance a pixel is half covered; the cap keeps pale parts of the object.
    different = distance[distance > FLAT_TOLERANCE]
    strong = float(np.median(different)) if different.size else 0.0
    middle = np.clip(strong / 2, 0.75 * FLAT_TOLERANCE, 1.5 * FLAT_TOLERANCE)
    alpha = np.clip((distance - middle) / middle + 0.5, 0.0, 1.0)
    if (alpha > 0.5).sum() < 16:
        raise NoObject("shows no object that stands out from the background", field=field)
    return to_u8(alpha)
