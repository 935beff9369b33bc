"""What the border of a picture says about its background.

The background is a smooth surface in CIE Lab (a quadratic over the picture, for light that falls off) plus a few colours
around it (for texture). Both are fitted to the border alone, robustly, because the object may touch it.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from scratch3d.geometry.mesh import F32, U8, Array

#: Width of the border that is looked at, as a share of the shorter side.
BORDER_SHARE = 0.025
COLOURS = 6
#: A surface of fifteen terms needs no more pixels than this.
MOST_SAMPLES = 20_000
#: No colour is taken to vary by less than this (Lab units): sensors and JPEG see to that.
LEAST_SPREAD = 1.2
#: Colours closer than this (Lab units) are one.
SAME_COLOUR = 4.0
#: A background of many colours explains any border: each must earn its place (bits per border pixel).
COLOUR_COST = 0.25
#: Contrast is looked for within this distance of an edge.
EDGE_REACH_PX = 6
#: A colour is the background's when it is found along this share of the border at least …
LEAST_SHARE = 0.04
#: … and is spread over so many of the 16 stretches the border is cut into.
LEAST_STRETCHES = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Backdrop:
    """The fitted background."""

    #: (h, w, 3) float32 Lab of the picture with the smooth part of the background taken out
    flat_lab: F32
    #: (h, w, 3) float32 Lab of the smooth part
    smooth_lab: F32
    #: (h, w) float32: distance of each pixel to the nearest background colour, in spreads of that colour
    distance: F32
    #: share of the border that no background colour explains: the object, most likely
    unexplained: float
    #: largest spread of a background colour, Lab units
    spread: float


def border_of(shape: tuple[int, int]) -> Array:
    """(h, w) bool: the border that is looked at."""
    width = max(2, round(min(shape) * BORDER_SHARE))
    border = np.ones(shape, bool)
    border[width:-width, width:-width] = False
    return border


def fit(rgb: U8) -> Backdrop:
    """Fit the background of a picture (h, w, 3) uint8 sRGB; smooth or flat, whichever explains the border better."""
    lab = np.asarray(cv2.cvtColor(rgb.astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB), np.float32)
    border = border_of(lab.shape[:2])
    found = [_explained(lab, _surface(lab, border, degree), border) for degree in (0, 2)]
    return min(found, key=lambda pair: pair[0])[1]


def refitted(rgb: U8, backdrop: Backdrop, mask: Array) -> Backdrop:
    """The background fitted again to all that is not in the mask, for light that has its middle inside the picture."""
    lab = backdrop.flat_lab + backdrop.smooth_lab
    border = border_of(mask.shape)
    known = ~cv2.dilate(mask.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool) | border
    return _explained(lab, _surface(lab, known, 4), border)[1]


def _explained(lab: F32, smooth: F32, border: Array) -> tuple[float, Backdrop]:
    """How badly a smooth surface explains the border (bits, roughly), and the background with it."""
    flat = (lab - smooth).astype(np.float32)
    centres, spreads = _colours(flat, border)
    difference = flat[:, :, None, :] - centres[None, None]
    apart = np.sqrt((difference**2 / spreads[None, None] ** 2).sum(axis=3))
    nearest, distance = apart.argmin(axis=2), apart.min(axis=2).astype(np.float32)
    backdrop = Backdrop(
        flat_lab=flat,
        smooth_lab=smooth,
        distance=distance,
        unexplained=float((distance[border] > 5.0).mean()),
        spread=float(spreads.max()),
    )
    volume = np.log2(spreads).sum(axis=1)[nearest[border]]
    cost = float(np.mean(volume + np.minimum(distance[border], 8.0) ** 2 / 4)) + COLOUR_COST * len(centres)
    return cost, backdrop


def _surface(lab: F32, known: Array, degree: int) -> F32:
    """(h, w, 3): least squares of a polynomial over the known pixels, outliers weighted down (Tukey's biweight)."""
    height, width = known.shape
    y, x = np.mgrid[:height, :width]
    u, v = x / width * 2 - 1, y / height * 2 - 1
    terms = np.stack([u**i * v**j for i in range(degree + 1) for j in range(degree + 1 - i)], axis=-1)
    every = max(1, known.sum() // MOST_SAMPLES)
    rows, seen = terms[known][::every], lab[known][::every]
    weight = np.ones(len(rows))
    coefficients = np.zeros((terms.shape[-1], 3))
    coefficients[0] = np.median(seen, axis=0)
    for _ in range(12):
        residual = np.linalg.norm(seen - rows @ coefficients, axis=1)
        scale = max(1.4826 * float(np.median(residual)), LEAST_SPREAD)
        weight = np.clip(1 - (residual / (4.685 * scale)) ** 2, 0, None) ** 2
        root = np.sqrt(weight)[:, None]
        coefficients = np.linalg.lstsq(rows * root, seen * root, rcond=None)[0]
    surface: F32 = (terms @ coefficients).astype(np.float32)
    return surface


def _colours(flat: F32, border: Array) -> tuple[F32, F32]:
    """(k, 3) colours of the border that belong to the background, and how much each varies."""
    seen = np.ascontiguousarray(flat[border], np.float32)
    count = min(COLOURS, len(seen))
    # The clustering draws random starts: without a fixed seed the same picture is cut differently each time.
    cv2.setRNGSeed(1)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 30, 0.1)
    _, label, centres = cv2.kmeans(seen, count, np.empty(0), criteria, 2, cv2.KMEANS_PP_CENTERS)
    label, centres = _merged(seen, label.ravel(), np.asarray(centres, np.float32))
    count = len(centres)
    stretch = _stretches(border)
    largest = int(np.bincount(label, minlength=count).argmax())
    kept, spreads = [], []
    for k in range(count):
        mine = label == k
        spread_out = len(np.unique(stretch[mine])) >= LEAST_STRETCHES and mine.mean() >= LEAST_SHARE
        if k != largest and not spread_out:
            continue
        kept.append(centres[k])
        spreads.append(np.maximum(seen[mine].std(axis=0), LEAST_SPREAD))
    return np.array(kept, np.float32), np.array(spreads, np.float32)


def _merged(seen: F32, label: Array, centres: F32) -> tuple[Array, F32]:
    """Clusters that are noise around one colour become one."""
    name = np.arange(len(centres))
    for i in range(len(centres)):
        for j in range(i):
            if np.linalg.norm(centres[i] - centres[j]) < SAME_COLOUR:
                name[name == name[i]] = name[j]
    kept, label = np.unique(name[label], return_inverse=True)
    return label, np.array([seen[label == k].mean(axis=0) for k in range(len(kept))], np.float32)


def _stretches(border: Array) -> Array:
    """Which of 16 stretches around the picture each border pixel lies in."""
    y, x = np.nonzero(border)
    angle = np.arctan2(y - border.shape[0] / 2, x - border.shape[1] / 2)
    return np.asarray(np.floor((angle + np.pi) / (2 * np.pi) * 16).astype(int) % 16)


def steepness(lab: F32) -> F32:
    """(h, w): change of colour, Lab units a pixel."""
    blurred = cv2.GaussianBlur(lab, (0, 0), 1.0)
    across, down = (cv2.Sobel(blurred, cv2.CV_32F, i, 1 - i, scale=0.125) for i in (1, 0))
    return np.asarray(np.sqrt((across**2 + down**2).sum(axis=2)), np.float32)


def edge_width_px(contrast: F32, steep: F32) -> F32:
    """(h, w): over how many pixels contrast grows at an edge that passes there; a sharp one takes two or three."""
    tallest = ndimage.maximum_filter(contrast, 2 * EDGE_REACH_PX + 1)
    return np.asarray(tallest / np.maximum(ndimage.maximum_filter(steep, 5), 0.05), np.float32)
