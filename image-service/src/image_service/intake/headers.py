"""What a picture file claims to be: format and size are read and judged before a pixel is decoded."""

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image

from ..errors import ImageTooLarge, UnreadableImage

FORMATS = ("PNG", "JPEG", "WEBP")
#: Sides beyond this are refused whatever the area: a row of 60,000 pixels is no picture of a thing.
MAX_SIDE_PX = 16_384
#: Smaller pictures show nothing that could be rebuilt.
MIN_SIDE_PX = 8


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is read at most."""

    max_pixels: float
    max_bytes: float


@contextlib.contextmanager
def opened(file: BinaryIO, size_bytes: int, limits: Limits, *, field: str) -> Iterator[Image.Image]:
    """A picture whose pixels are not decoded yet; UnreadableImage or ImageTooLarge naming the field."""
    if size_bytes > limits.max_bytes:
        raise ImageTooLarge(f"has {size_bytes / 1e6:.1f} MB; at most {limits.max_bytes / 1e6:g} are read", field=field)
    try:
        with warnings.catch_warnings():
            # Old metadata makes Pillow warn; only the size matters here, and it is judged below.
            warnings.simplefilter("ignore")
            image = Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError:
        raise ImageTooLarge(f"is larger than {limits.max_pixels / 1e6:g} million pixels", field=field) from None
    except (OSError, ValueError, SyntaxError, KeyError, IndexError, OverflowError, MemoryError):
        # Damaged files surface as any of these, by format and place of the damage.
        raise UnreadableImage("is not a PNG, JPEG or WebP picture that can be read", field=field) from None
    with image:
        _judge(image, limits, field)
        yield image


def _judge(image: Image.Image, limits: Limits, field: str) -> None:
    width, height = image.size
    if width * height > limits.max_pixels or max(width, height) > MAX_SIDE_PX:
        raise ImageTooLarge(
            f"is {width} × {height} pixels; at most {limits.max_pixels / 1e6:g} million are read, "
            f"and {MAX_SIDE_PX} along a side",
            field=field,
        )
    if min(width, height) < MIN_SIDE_PX:
        raise UnreadableImage(f"is only {width} × {height} pixels", field=field)
    if getattr(image, "n_frames", 1) != 1:
        raise UnreadableImage("is an animation; send a single picture", field=field)


def has_alpha(image: Image.Image) -> bool:
    """The header announces transparency."""
    return image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info
