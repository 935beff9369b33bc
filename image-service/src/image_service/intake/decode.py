"""A picture file to pixels, in a process of its own with little memory and little time.

    python -m image_service.intake.decode MAX_PIXELS MAX_BYTES WORK_PX  < picture  > header line, then raw RGBA

What a decoder of a hostile file can do here is end this process. The result is upright, sRGB, eight bits, straight
alpha, and no longer than WORK_PX along a side; it is reduced before anything else, so that a picture of 25 million
pixels is never held twice.
"""

import io
import json
import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageOps

from scratch3d.geometry.mesh import U8
from scratch3d.servicekit.errors import ServiceError

from ..errors import UnreadableImage
from .headers import Limits, has_alpha, opened

MEMORY_MB = 768
CPU_S = 20
WALL_S = 30.0
_SRGB = ImageCms.createProfile("sRGB")
#: Rows that are premultiplied at a time while a transparent picture is reduced.
_STRIP_PX = 512


@dataclass(frozen=True, kw_only=True, eq=False)
class Decoded:
    """Pixels as every later step takes them."""

    #: (h, w, 4) uint8 sRGB, straight alpha
    rgba: U8
    #: the file carried an alpha channel, and some of it is transparent
    has_alpha: bool


def decode(content: bytes, limits: Limits, work_px: int, *, field: str) -> Decoded:
    """Decode in a limited process; UnreadableImage or ImageTooLarge naming the field."""
    command = [sys.executable, "-m", "image_service.intake.decode"]
    command += [str(int(limits.max_pixels)), str(int(limits.max_bytes)), str(work_px)]
    # One thread of the numeric libraries: each would reserve address space that the limit counts.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, input=content, capture_output=True, timeout=WALL_S, env=environment)
    except subprocess.TimeoutExpired:
        raise UnreadableImage("takes too long to decode", field=field) from None
    line, _, pixels = done.stdout.partition(b"\n")
    if done.returncode != 0 or not line:
        raise UnreadableImage("cannot be decoded within the limits; is it damaged?", field=field)
    told: dict[str, Any] = json.loads(line)
    if told["problem"]:
        raise _as_error(told, field)
    rgba = np.frombuffer(pixels, np.uint8).reshape(told["height"], told["width"], 4).copy()
    return Decoded(rgba=rgba, has_alpha=told["has_alpha"] and bool((rgba[..., 3] < 250).any()))


def _as_error(told: dict[str, Any], field: str) -> ServiceError:
    from .. import errors

    kind: type[ServiceError] = getattr(errors, told["problem"])
    return kind(told["detail"], field=field)


def load(content: bytes, limits: Limits, work_px: int) -> tuple[Image.Image, bool]:
    """The reduced RGBA picture, and whether the file has alpha; UnreadableImage or ImageTooLarge."""
    with opened(io.BytesIO(content), len(content), limits, field="") as image:
        transparent = has_alpha(image)
        try:
            image.draft(None, (work_px, work_px))  # JPEG alone: decodes at a half, a quarter or an eighth
            profile = image.info.get("icc_profile")
            image.load()
            small = _reduced(image, work_px, transparent)
            upright = ImageOps.exif_transpose(_to_srgb(small, profile), in_place=False)
        except (OSError, ValueError, SyntaxError, KeyError, IndexError, OverflowError, EOFError) as error:
            raise UnreadableImage(f"is damaged: {str(error)[:120]}") from None
    return upright.convert("RGBA"), transparent


def _reduced(image: Image.Image, work_px: int, transparent: bool) -> Image.Image:
    """At most `work_px` along a side, in eight bits, with the file's metadata."""
    factor = max(image.size) / work_px
    whole = max(1, int(factor))
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image)
    if transparent or image.mode in {"1", "P"}:
        small = _strips(image, whole)
    else:
        small = image.reduce(whole) if whole > 1 else image.copy()
    if max(small.size) > work_px:
        rest = work_px / max(small.size)
        size = (max(1, round(small.width * rest)), max(1, round(small.height * rest)))
        small = _resized(small, size)
    small.info = {k: v for k, v in image.info.items() if k == "exif"}
    return small


def _strips(image: Image.Image, whole: int) -> Image.Image:
    """To RGBA and reduced, premultiplied a strip at a time, so that hidden colours do not bleed into the edge."""
    height = -(-image.height // whole)
    out = Image.new("RGBA", (-(-image.width // whole), height))
    step = max(1, _STRIP_PX // whole) * whole
    for top in range(0, image.height, step):
        strip = image.crop((0, top, image.width, min(top + step, image.height))).convert("RGBA")
        if whole > 1:
            strip = strip.convert("RGBa").reduce(whole).convert("RGBA")
        out.paste(strip, (0, top // whole))
    return out


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    if image.mode == "RGBA":
        return image.convert("RGBa").resize(size, Image.Resampling.LANCZOS).convert("RGBA")
    return image.resize(size, Image.Resampling.LANCZOS)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Sixteen bits and floats to eight, by the range of the type when the values fill it."""
    values = np.asarray(image)
    top = 65535.0 if values.max() > 255 else 255.0
    return Image.fromarray((np.clip(values / top, 0, 1) * 255).astype(np.uint8))


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Colours in sRGB by the embedded profile; a profile that cannot be used is left out, as browsers do."""
    exif = image.info.get("exif")
    if profile and image.mode in {"RGB", "RGBA", "CMYK", "L"}:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            alpha = image.getchannel("A") if image.mode == "RGBA" else None
            plain = image.convert("RGB") if alpha else image
            managed = ImageCms.profileToProfile(plain, source, _SRGB, outputMode="RGB")
            if managed is not None:
                image = managed
                if alpha:
                    image.putalpha(alpha)
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass
    image = image if image.mode in {"RGB", "RGBA"} else image.convert("RGB")
    if exif:
        image.info["exif"] = exif
    return image


def main() -> None:
    """The limited process."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MB << 20, MEMORY_MB << 20))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    max_pixels, max_bytes, work_px = (int(text) for text in sys.argv[1:])
    limits = Limits(max_pixels=max_pixels, max_bytes=max_bytes)
    told: dict[str, Any] = {"problem": None}
    pixels = b""
    try:
        image, transparent = load(sys.stdin.buffer.read(), limits, work_px)
        told |= {"width": image.width, "height": image.height, "has_alpha": transparent}
        pixels = image.tobytes()
    except ServiceError as error:
        told = {"problem": type(error).__name__, "detail": error.detail}
    except MemoryError:
        told = {"problem": "ImageTooLarge", "detail": "needs more memory than a picture may take"}
    sys.stdout.buffer.write(json.dumps(told).encode() + b"\n" + pixels)


if __name__ == "__main__":
    main()
