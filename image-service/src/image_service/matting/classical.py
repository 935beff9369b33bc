"""Engine `classical`: the border tells the background, GrabCut finds the outline, the fringe is unmixed.

Sources: Rother, Kolmogorov & Blake 2004 (GrabCut); a quadratic background in Lab as a start makes it right where a
rectangle fails. Two cuts are made, by distance to the background alone and by GrabCut; where they disagree, or the
outline has no contrast, the cut says so.
"""

from typing import Any

import cv2
import numpy as np
from scipy import ndimage

from scratch3d.contracts.engines import EngineCard
from scratch3d.geometry.mesh import F32, U8, Array, to_u8

from ..errors import NoObject
from .backdrop import Backdrop, border_of, edge_width_px, fit, refitted, steepness
from .base import Cut
from .judge import doubts

#: The outline is searched for at this size; finer detail is found when the fringe is unmixed.
SEARCH_PX = 448
#: Spreads from the background beyond which a pixel is an object's, and within which it is not.
FAR, NEAR = 4.0, 2.5
#: Components and holes smaller than this share of the object are noise.
CRUMB_SHARE, HOLE_SHARE = 0.02, 0.0008
ROUNDS = 4
#: The background is fitted again at most so often, each time only when the outline gets sharper by this factor.
REFITS, SHARPER = 4, 1.05
#: A background that varies less than this (Lab units) tells by itself what is not part of it.
CLEAN_SPREAD = 2.0
#: Colour of a thin part reaches this far beyond it, and a pixel with less than this share of it is background.
RIM_REACH_PX, FAINT_SHARE = 2, 0.45
#: Over an edge of a shadow contrast grows for at least so many pixels; an object's edge is as sharp as the lens.
SHADOW_EDGE_PX = 4.5
#: A shadow is not larger than this share of all that differs from the background.
MOST_SHADOW = 0.6
#: A block of a JPEG's colour, as far as it reaches at the size that is searched.
HALO_PX = 8
#: Within a shadow colour changes by less than this a pixel (Lab units).
SHADOW_STEEP = 2.2


class Classical:
    """No weights: alpha from the picture's own border."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    @staticmethod
    def card() -> EngineCard:
        """Always available."""
        return EngineCard(
            id="classical",
            version="1",
            available=True,
            summary="Cuts out what differs from the picture's border; no weights, CPU only",
            licence_code="Apache-2.0",
            inputs=("picture",),
        )

    def load(self) -> None:
        """Nothing to bring up."""

    def cut(self, rgb: U8) -> Cut:
        """See Matting."""
        small = _shrunk(rgb)
        backdrop, plain = _settled(small)
        if plain.sum() < 24:
            raise NoObject("shows no object that stands out from its background")
        grabbed = _by_grabcut(backdrop, plain)
        best = _without_halo(small, _best(plain, grabbed, backdrop))
        shadow = _shadow(small, backdrop, best)
        mask, filled = _tidy(_thinned(best & ~shadow, backdrop), backdrop)
        if mask.sum() < 24:
            raise NoObject("shows no object that stands out from its background")
        plain = _without_halo(small, plain) & ~shadow
        return Cut(
            rgba=_unmixed(rgb, mask),
            warnings=doubts(mask, (plain, grabbed & ~shadow), backdrop, shadow=shadow, filled=filled),
        )

    def close(self) -> None:
        """Nothing is held."""


def _settled(rgb: U8) -> tuple[Backdrop, Array]:
    """The background and what differs from it; fitted again to all of it where that makes the outline sharper."""
    backdrop = fit(rgb)
    plain = _by_distance(backdrop)
    edges = ndimage.maximum_filter(steepness(backdrop.flat_lab + backdrop.smooth_lab), 3)
    for _ in range(REFITS):
        if backdrop.spread >= CLEAN_SPREAD or plain.sum() < 24:
            break
        again = refitted(rgb, backdrop, plain)
        outline = _by_distance(again)
        if again.spread > backdrop.spread + 0.1 or again.unexplained > backdrop.unexplained + 0.01:
            break
        if outline.sum() < 24 or _sharpness(outline, edges) < SHARPER * _sharpness(plain, edges):
            break  # light that was taken for an object has no edge; an object keeps its own
        backdrop, plain = again, outline
    return backdrop, plain


def _sharpness(mask: Array, edges: F32) -> float:
    """Mean change of colour along an outline, Lab units a pixel."""
    rim = mask & ~ndimage.binary_erosion(mask)
    return float(edges[rim].mean()) if rim.any() else 0.0


def _shrunk(rgb: U8) -> U8:
    factor = SEARCH_PX / max(rgb.shape[:2])
    if factor >= 1:
        return rgb
    size = (max(8, round(rgb.shape[1] * factor)), max(8, round(rgb.shape[0] * factor)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def _by_distance(backdrop: Backdrop) -> Array:
    """What differs from the background, smoothed against noise."""
    softened = cv2.GaussianBlur(backdrop.distance, (0, 0), 0.8)
    mask = softened > FAR
    return np.asarray(ndimage.binary_closing(mask, iterations=1) | mask)


def _by_grabcut(backdrop: Backdrop, plain: Array) -> Array:
    """GrabCut from the distance map, on the picture without the smooth part of its background."""
    picture = np.clip(backdrop.flat_lab * (1.0, 1.6, 1.6) + (128, 128, 128), 0, 255).astype(np.uint8)
    start = np.where(plain, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    start[border_of(plain.shape) & (backdrop.distance < NEAR)] = cv2.GC_BGD
    sure = ndimage.binary_erosion(plain & (backdrop.distance > 3 * FAR), iterations=2)
    start[sure] = cv2.GC_FGD
    if not (start == cv2.GC_BGD).any():
        return plain
    # GrabCut draws random numbers: without a fixed seed the same picture is cut differently each time.
    cv2.setRNGSeed(1)
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(picture, start, (0, 0, 1, 1), background, foreground, ROUNDS, cv2.GC_INIT_WITH_MASK)
    return np.asarray((start == cv2.GC_FGD) | (start == cv2.GC_PR_FGD))


def _best(plain: Array, grabbed: Array, backdrop: Backdrop) -> Array:
    """GrabCut's outline, unless it lost the object or took the background in; before a clean background both."""
    share = grabbed.sum() / max(plain.sum(), 1)
    border = border_of(plain.shape)
    spilled = (grabbed & border).sum() > 2 * (plain & border).sum() + 0.02 * border.sum()
    if share < 0.5 or share > 1.8 or spilled:
        return plain
    return np.asarray(grabbed | plain) if backdrop.spread < CLEAN_SPREAD else grabbed


def _shadow(rgb: U8, backdrop: Backdrop, mask: Array) -> Array:
    """Parts of the mask that are the background in shadow: darker, of the same hue, entered over no sharp edge."""
    own = cv2.cvtColor(backdrop.smooth_lab, cv2.COLOR_LAB2RGB)
    ratio = (rgb / 255.0 + 0.01) / (np.clip(own, 0, 1) + 0.01)
    grey = ratio.mean(axis=2)
    even = (np.ptp(ratio, axis=2) < 0.08 + 0.05 * (1 - grey)) & (grey > 0.35) & (grey < 1.0)
    steep = steepness(backdrop.flat_lab)
    outside = ~mask & ndimage.binary_erosion(~mask, iterations=1, border_value=1)
    reached = ndimage.binary_propagation(outside, mask=even & (steep < SHADOW_STEEP) | ~mask) & mask
    shadow = _soft_edged(reached, mask, np.linalg.norm(backdrop.flat_lab, axis=2), steep)
    if shadow.sum() > MOST_SHADOW * mask.sum():
        return np.zeros_like(mask)  # nothing would be left to cast it: this is a grey object
    return shadow


def _soft_edged(reached: Array, mask: Array, contrast: F32, steep: F32) -> Array:
    """Of these regions those that fade into the background: an object of the background's own hue has an edge."""
    width = edge_width_px(contrast, steep)
    rim = mask & ndimage.binary_dilation(~mask)
    label, count = ndimage.label(reached)
    kept = np.zeros_like(reached)
    for number in range(1, count + 1):
        region = label == number
        edge = region & rim
        if edge.any() and float(np.median(width[edge])) > SHADOW_EDGE_PX:
            kept |= region
    return np.asarray(kept)


def _without_halo(rgb: U8, mask: Array) -> Array:
    """Without pixels along the outline that are much nearer to the background's colour: JPEG smears colour that far."""
    colour = rgb.astype(np.float32)
    inside = ndimage.binary_erosion(mask, iterations=HALO_PX)
    outside = ndimage.binary_erosion(~mask, iterations=2, border_value=1)
    front, front_known = _nearby(colour, inside, HALO_PX + 3)
    back, back_known = _nearby(colour, outside, HALO_PX + 3)
    apart = ((front - back) ** 2).sum(axis=2)
    share = ((colour - back) * (front - back)).sum(axis=2) / np.maximum(apart, 1.0)
    return np.asarray(mask & ~((share < 0.35) & front_known & back_known & (apart > 40.0**2) & ~inside))


def _thinned(mask: Array, backdrop: Backdrop) -> Array:
    """Without rim pixels that are mostly background: on a clean one a twentieth of an object's colour shows already.

    A rim pixel goes when a pixel within reach differs from the background in the same way, but twice as much.
    """
    if backdrop.spread >= CLEAN_SPREAD:
        return mask
    strong, lab = backdrop.distance * mask, backdrop.flat_lab
    length = np.maximum(np.linalg.norm(lab, axis=2), 1e-3)
    faint = np.zeros_like(mask)
    for down in range(-RIM_REACH_PX, RIM_REACH_PX + 1):
        for across in range(-RIM_REACH_PX, RIM_REACH_PX + 1):
            other = np.roll(lab, (down, across), axis=(0, 1))
            same = (lab * other).sum(axis=2) > 0.92 * length * np.roll(length, (down, across), axis=(0, 1))
            faint |= same & (backdrop.distance < FAINT_SHARE * np.roll(strong, (down, across), axis=(0, 1)))
    rim = mask & ~ndimage.binary_erosion(mask, iterations=RIM_REACH_PX)
    return np.asarray(mask & ~(rim & faint))


def _tidy(mask: Array, backdrop: Backdrop) -> tuple[Array, float]:
    """Without crumbs and holes that are noise; and the share of the mask that was such holes."""
    mask = ndimage.binary_opening(mask, iterations=1) | (mask & (backdrop.distance > 2 * FAR))
    label, count = ndimage.label(mask, np.ones((3, 3)))
    if not count:
        return np.asarray(mask), 0.0
    size = np.bincount(label.ravel())[1:]
    mask = np.isin(label, 1 + np.flatnonzero(size >= CRUMB_SHARE * size.max()))
    hole, count = ndimage.label(~mask)
    if not count:
        return np.asarray(mask), 0.0
    numbers = np.arange(1, count + 1)
    area = np.bincount(hole.ravel())[1:]
    like = ndimage.median(backdrop.distance, hole, numbers)
    edge = np.unique(np.concatenate([hole[0], hole[-1], hole[:, 0], hole[:, -1]]))
    noise = (area < HOLE_SHARE * mask.sum()) | (np.asarray(like) > FAR)
    noise &= ~np.isin(numbers, edge)
    return np.asarray(mask | np.isin(hole, numbers[noise])), float(area[noise].sum() / max(mask.sum(), 1))


def _unmixed(rgb: U8, mask: Array) -> U8:
    """Soft alpha in a band around the outline, and the band's colour without its share of background.

    A pixel on the outline is a mixture of the colours on both sides: its share of the way from the background's colour
    nearby to the object's is its alpha.
    """
    height, width = rgb.shape[:2]
    level = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    reach = max(2, round(1.3 * max(rgb.shape[:2]) / max(mask.shape)) + 1)
    inside = ndimage.binary_erosion(level > 0.5, iterations=reach)
    outside = ~ndimage.binary_dilation(level > 0.5, iterations=reach)
    colour = rgb.astype(np.float32)
    front, front_known = _nearby(colour, inside, 3 * reach)
    back, back_known = _nearby(colour, outside, 3 * reach)
    apart = ((front - back) ** 2).sum(axis=2)
    alpha = ((colour - back) * (front - back)).sum(axis=2) / np.maximum(apart, 1.0)
    # Where both sides look alike, or one is too far away, the searched outline is all there is.
    soft = cv2.GaussianBlur(level, (0, 0), 0.7 * max(1.0, reach / 2))
    trust = np.clip((np.sqrt(apart) - 12.0) / 24.0, 0, 1) * (front_known & back_known)
    alpha = np.clip(trust * alpha + (1 - trust) * soft, 0, 1)
    alpha[inside], alpha[outside] = 1.0, 0.0
    alpha[(level < 0.5) & (soft < 0.12)] = 0.0
    mixed = (alpha < 0.97) & front_known
    colour[mixed] = front[mixed]
    return np.concatenate([np.rint(colour).astype(np.uint8), to_u8(alpha)[..., None]], axis=2)


def _nearby(colour: F32, where: Array, reach: int) -> tuple[F32, Array]:
    """Mean colour of the marked pixels around every pixel, and where there are any."""
    size = (2 * reach + 1, 2 * reach + 1)
    count = cv2.boxFilter(where.astype(np.float32), -1, size, normalize=False)
    total = cv2.boxFilter(colour * where[..., None], -1, size, normalize=False)
    return np.asarray(total / np.maximum(count, 1.0)[..., None], np.float32), np.asarray(count >= 1.0)
