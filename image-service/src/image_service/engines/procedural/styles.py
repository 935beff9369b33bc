"""Style words: what they do to shape and colour, as data."""

import colorsys
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Style:
    """A change to the whole scene."""

    words: tuple[str, ...]
    summary: str
    #: segments around round pieces; None: as fine as usual
    segments: int | None = None
    #: cells along the longest side when everything is built of small cubes
    voxels: int | None = None
    #: factors of saturation and lightness, and a pull towards white (1) or black (-1)
    saturation: float = 1.0
    lightness: float = 1.0
    #: one colour for everything
    uniform: str | None = None
    #: factors of width, height and depth of every thing
    stretch: tuple[float, float, float] = (1.0, 1.0, 1.0)


STYLES: dict[str, Style] = {
    "low-poly": Style(words=("low poly", "lowpoly", "low polygon", "faceted"), summary="few, flat facets", segments=8),
    "voxel": Style(
        words=("voxel", "voxels", "voxel art", "minecraft", "pixel art", "pixelated", "blocky", "lego"),
        summary="built of small cubes",
        voxels=28,
        segments=48,
    ),
    "cartoon": Style(
        words=("cartoon", "cartoonish", "cute", "kawaii", "chibi", "toy", "toylike"),
        summary="rounder proportions, strong colours",
        saturation=1.35,
        stretch=(1.12, 0.94, 1.12),
    ),
    "pastel": Style(
        words=("pastel", "pastels", "soft coloured"), summary="pale colours", saturation=0.55, lightness=1.45
    ),
    "vivid": Style(
        words=("vivid", "colourful", "colorful", "bright", "neon"), summary="strong colours", saturation=1.6
    ),
    "dark": Style(words=("gothic", "spooky", "gloomy"), summary="dark colours", lightness=0.55, saturation=0.8),
    "clay": Style(
        words=("unpainted", "clay render", "monochrome", "white model"), summary="one pale colour", uniform="#d8d3ca"
    ),
}
STYLE_WORDS: dict[str, str] = {word: name for name, style in STYLES.items() for word in (name, *style.words)}


def recoloured(rgb: tuple[float, float, float], style: Style) -> tuple[float, float, float]:
    """An sRGB colour (0 to 1) in a style."""
    hue, light, saturation = colorsys.rgb_to_hls(*rgb)
    if style.lightness > 1:
        light = 1 - (1 - light) / style.lightness
    else:
        light *= style.lightness
    return colorsys.hls_to_rgb(hue, min(max(light, 0.0), 1.0), min(saturation * style.saturation, 1.0))
