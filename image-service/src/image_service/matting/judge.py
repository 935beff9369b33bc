"""What is doubtful about a cut. A wrong outline that says nothing costs more than a warning too many."""

import cv2
import numpy as np
from scipy import ndimage

from scratch3d.geometry.mesh import Array

from .backdrop import Backdrop, border_of, edge_width_px, steepness

MEND = "a PNG with a transparent background leaves nothing to guess"
#: Overlap of the two cuts below which the outline is uncertain.
AGREEMENT = 0.88
#: Spreads between object and background along the outline below which there is too little contrast.
CONTRAST = 6.0
#: Spreads of the blurred border beyond which something may be a part, and the share of the object worth a word.
SENSITIVE, OVERLOOKED_SHARE = 5.0, 0.1
#: Width of a soft edge, and the share of the outline that may be soft.
SOFT_EDGE_PX, SOFT_SHARE = 7.0, 0.15
#: A reflection has less than this share of the contrast of what it reflects.
REFLECTED = 0.7
#: From this share of the picture on an object may be a cloth or a tray; its rim then varies less than an island differs.
RUG_SHARE, PLAIN_LAB, ISLAND_LAB = 0.25, 6.0, 22.0
#: Objects larger than this share of the picture are rare; what they stand on is often taken along.
LARGE_SHARE = 0.55
#: Share of the outline that may lack contrast.
FAINT_SHARE = 0.25


def doubts(
    mask: Array, ways: tuple[Array, Array], backdrop: Backdrop, *, shadow: Array, filled: float
) -> tuple[str, ...]:
    """Warnings for people, worst first.

    `ways` are the outlines by distance and by GrabCut, `shadow` was taken for one, and `filled` is the share of the mask
    that was taken for noise inside it.
    """
    plain, grabbed = ways
    found = []
    touching = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    if touching.mean() > 0.005:
        found.append("the object touches the border of the picture and may be cut off")
    share = float(mask.mean())
    if share < 0.01:
        found.append(f"the object covers only {share:.1%} of the picture; come closer")
    if share > LARGE_SHARE:
        found.append(f"the object covers {share:.0%} of the picture: is a part of it what the object stands on?")
    if _overlap(plain, grabbed) < AGREEMENT or _overlap(mask, plain) < AGREEMENT:
        found.append(f"two ways to find the outline disagree: check the views; {MEND}")
    if _faint(mask, backdrop) > FAINT_SHARE:
        found.append(f"object and background look alike along the outline: check the views; {MEND}")
    if backdrop.unexplained > 0.06 and not touching.mean() > 0.005:
        found.append(f"the background is not of one kind: check the views; {MEND}")
    if _overlooked(mask, shadow, backdrop) > OVERLOOKED_SHARE:
        found.append(f"parts in the background's own colour may be missing: check the views; {MEND}")
    if _soft(mask, backdrop) > SOFT_SHARE:
        found.append("part of the outline is soft: a shadow or a reflection may have been taken for the object")
    if _mirrored(mask, backdrop):
        found.append("the lower part mirrors the upper one: a reflection may have been taken for the object")
    if share > RUG_SHARE and _carries(mask, backdrop):
        found.append("another thing lies within the outline: what carries it may have been taken for the object")
    if filled > 0.05:
        found.append(f"shaded places inside the outline were taken for the object: check the views; {MEND}")
    if (holes := _holes(mask)) > 12:
        found.append(f"the outline has {holes} holes: check the views; {MEND}")
    return tuple(found)


def _soft(mask: Array, backdrop: Backdrop) -> float:
    """Share of the outline over which the object fades: shadows and reflections do, things seldom."""
    width = edge_width_px(np.linalg.norm(backdrop.flat_lab, axis=2), steepness(backdrop.flat_lab))
    rim = mask & ndimage.binary_dilation(~mask)
    return float((width[rim] > SOFT_EDGE_PX).mean()) if rim.any() else 0.0


def _mirrored(mask: Array, backdrop: Backdrop) -> bool:
    """Below some row the object is a weaker picture of itself, upside down."""
    rows = np.flatnonzero(mask.any(axis=1))
    seen = (np.linalg.norm(backdrop.flat_lab, axis=2) * mask)[rows[0] : rows[-1] + 1]
    height = len(seen)
    if height < 32:
        return False
    for foot in range(height // 2 + 1, round(0.85 * height), 2):
        deep = height - foot
        above, below = seen[foot - deep : foot][::-1], seen[foot:]
        both = (above > 0) & (below > 0)
        if both.sum() < 0.5 * (below > 0).sum() or both.sum() < 200:
            continue
        weaker = below[both].mean() < REFLECTED * above[both].mean()
        if weaker and np.corrcoef(above.ravel(), below.ravel())[0, 1] > 0.8:
            return True
    return False


def _carries(mask: Array, backdrop: Backdrop) -> bool:
    """Along its rim the object has one colour, and within it there is an island of quite another."""
    depth = ndimage.distance_transform_edt(mask)
    rim = mask & (depth > 2) & (depth < 0.05 * max(mask.shape))
    if not rim.any():
        return False
    colour = np.median(backdrop.flat_lab[rim], axis=0)
    apart = np.linalg.norm(backdrop.flat_lab - colour, axis=2)
    island = ndimage.binary_opening(mask & (apart > ISLAND_LAB), iterations=2)
    inner = island.sum() > 0 and (island & (depth <= 4)).sum() < 0.02 * island.sum()
    return bool(inner and np.median(apart[rim]) < PLAIN_LAB and 0.02 < island.sum() / mask.sum() < 0.6)


def _overlooked(mask: Array, shadow: Array, backdrop: Backdrop) -> float:
    """How much more a far more sensitive look finds that hangs together with the object, as a share of it.

    A part in the background's colour differs from it by a little shading: too little for an outline, enough for doubt.
    """
    calm = cv2.GaussianBlur(backdrop.flat_lab, (0, 0), 2.0)
    border = border_of(mask.shape)
    clear = border & (backdrop.distance < 3.0)
    if not clear.any():
        return 0.0
    spread = np.maximum(calm[clear].std(axis=0), 0.25)
    differs = np.sqrt((((calm - calm[clear].mean(axis=0)) / spread) ** 2).sum(axis=2)) > SENSITIVE
    # A blur smears the object's own edge, and a shadow fades, over some pixels: they are no find.
    own = ndimage.binary_dilation(mask | shadow, iterations=5)
    found = ndimage.binary_opening(differs & ~own, iterations=2)
    touching = ndimage.binary_propagation(ndimage.binary_dilation(own, iterations=2) & found, mask=found)
    return float(touching.sum() / max(mask.sum(), 1))


def _overlap(one: Array, other: Array) -> float:
    return float((one & other).sum() / max((one | other).sum(), 1))


def _faint(mask: Array, backdrop: Backdrop) -> float:
    """Share of the outline along which the object is hardly farther from the background than it varies."""
    rim = mask & ~ndimage.binary_erosion(mask, iterations=3) & ndimage.binary_erosion(mask)
    if not rim.any():
        return 1.0
    return float((ndimage.maximum_filter(backdrop.distance, 3)[rim] < CONTRAST).mean())


def _holes(mask: Array) -> int:
    return max(int(ndimage.label(~np.pad(mask, 1))[1]) - 1, 0)
