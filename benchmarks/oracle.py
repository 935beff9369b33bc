"""How good is `visual-hull`? Carved meshes of solids and things against the exact hull of the same cameras.

For each shape and each camera set: volume IoU with the exact hull and with the truth, IoU of the re-rendered
silhouettes, closedness, and the colour error of the unlit re-render (ΔE2000 over the foreground's interior).
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from image_service.engines.base import Picture
from image_service.engines.procedural.engine import Procedural
from image_service.engines.procedural.grammar import parse
from image_service.engines.procedural.scene import build
from image_service.engines.procedural.things import solids
from reconstruction_service.engines.base import Sight
from reconstruction_service.engines.visual_hull.engine import VisualHull
from scratch3d.contracts.images import WantedView
from scratch3d.contracts.views import VIEW_SETS, Camera
from scratch3d.geometry.camera import project
from scratch3d.geometry.measure import closedness, occupancy
from scratch3d.geometry.mesh import Array, Mesh
from scratch3d.geometry.raster import rasterise
from scratch3d.geometry.render import render, surface_of

GRID = 128
SILHOUETTE_PX = 4096
#: Pixels from the outline that do not count as interior.
INTERIOR_PX = 3
SCENES = (
    "a red cube on a wooden cylinder",
    "a green cone beside a red pyramid",
    "a small blue sphere on a big stone box",
    "a rubber ring on a ceramic cube and a glass cone",
)
#: No hollow that no outline shows: here the exact hull itself comes near the truth.
SHAPES = (
    *solids.THINGS,
    "table", "chair", "stool", "bench", "bed", "lamp", "candle", "bottle", "house", "tower", "lighthouse", "tent",
    "car", "truck", "boat", "rocket", "plane", "tree", "pine", "mushroom", "cactus", "star", "carrot", "sword", "hammer",
    "axe", "key", "ladder", "dumbbell", "robot", "snowman", "dog", "penguin", "person",
)  # fmt: skip
HOLLOW = ("mug", "bowl", "vase", "bucket", "basket", "crown")
COLOURS = ("red", "gold", "teal", "royal blue", "orchid", "olive")


@dataclass(frozen=True, kw_only=True)
class Row:
    """The figures of one solid."""

    name: str
    hull_iou: float
    truth_iou: float
    exact_truth_iou: float
    silhouette_iou: float
    silhouette_worst: float
    watertight: bool
    delta_e: float


def pictures_of(prompt: str, view_set: str) -> tuple[Mesh, tuple[Picture, ...]]:
    """The true mesh of a prompt, and its views."""
    wanted = [WantedView(name=n, azimuth_deg=a, elevation_deg=e) for n, a, e in VIEW_SETS[view_set]]
    made = Procedural(None).generate([prompt], wanted, size_px=512, seed=0, style=None, report=lambda *_: None)
    return build(parse(prompt)).mesh, made.pictures


def sights_of(pictures: Sequence[Picture]) -> list[Sight]:
    """Pictures as the reconstruction engine gets them."""
    return [
        Sight(name=p.name, camera=p.camera, rgba=p.rgba, unlit_rgba=p.unlit_rgba, alpha_trusted=True) for p in pictures
    ]


def measure(name: str, prompt: str, view_set: str, resolution: int, *, grid: int = GRID) -> Row:
    """Carve one scene and judge it on a grid of so many cells."""
    truth, pictures = pictures_of(prompt, view_set)
    carved = VisualHull(None).reconstruct(
        sights_of(pictures), resolution=resolution, seed=0, options={}, report=lambda *_: None
    )
    low, high = truth.bounds
    spacing = (float((high - low).max()) + 0.1) / grid
    # An odd start, so that the large flat faces of things on whole numbers do not fall onto the cells' middles.
    low, high = low - 0.05 - 0.31 * spacing, high + 0.05
    shape = tuple(int(n) for n in np.ceil((high - low) / spacing))
    solid = occupancy(truth, low, spacing, shape)
    exact = exact_hull(truth, [p.camera for p in pictures], low, spacing, shape)
    made = occupancy(carved.mesh, low, spacing, shape)
    overlaps, errors = zip(*(compare_view(carved.mesh, p) for p in pictures), strict=True)
    return Row(
        name=name,
        hull_iou=iou(made, exact),
        truth_iou=iou(made, solid),
        exact_truth_iou=iou(exact, solid),
        silhouette_iou=float(np.mean(overlaps)),
        silhouette_worst=min(overlaps),
        watertight=closedness(carved.mesh.faces).watertight,
        delta_e=float(np.mean(np.concatenate(errors))),
    )


def exact_hull(mesh: Mesh, cameras: Sequence[Camera], low: Array, spacing: float, shape: tuple[int, ...]) -> Array:
    """(i, j, k) bool: cell centres whose projection lies in the true silhouette of every camera."""
    axes = [low[k] + spacing * (np.arange(shape[k]) + 0.5) for k in range(3)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = np.ones(len(points), bool)
    for camera in cameras:
        screen = project(mesh.vertices, camera, SILHOUETTE_PX)
        mask = rasterise(screen, mesh.faces, SILHOUETTE_PX, SILHOUETTE_PX).mask
        at = np.floor(project(points, camera, SILHOUETTE_PX)[:, :2]).astype(int)
        seen = ((at >= 0) & (at < SILHOUETTE_PX)).all(axis=1)
        at = np.clip(at, 0, SILHOUETTE_PX - 1)
        inside &= seen & mask[at[:, 1], at[:, 0]]
    return inside.reshape(shape)


def compare_view(mesh: Mesh, picture: Picture) -> tuple[float, Array]:
    """Silhouette IoU of a re-render, and ΔE2000 of its unlit colour over the interior both have."""
    size = picture.rgba.shape[0]
    unlit = render(surface_of(mesh), picture.camera, size)[1]
    ours, theirs = unlit[..., 3] > 127, picture.rgba[..., 3] > 127
    interior = ndimage.binary_erosion(ours & theirs, iterations=INTERIOR_PX)
    assert picture.unlit_rgba is not None
    return iou(ours, theirs), delta_e2000(unlit[interior][:, :3], picture.unlit_rgba[interior][:, :3])


def iou(a: Array, b: Array) -> float:
    """Intersection over union."""
    return float((a & b).sum() / max((a | b).sum(), 1))


def lab_of(srgb: Array) -> Array:
    """(n, 3) uint8 sRGB to CIE L*a*b* under D65."""
    c = srgb.astype(float) / 255.0
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    xyz = linear @ to_xyz.T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def delta_e2000(one: Array, other: Array) -> Array:
    """(n,) CIEDE2000 of two lists of sRGB colours (Sharma, Wu & Dalal 2005, equations 2 to 22)."""
    l1, a1, b1 = lab_of(one).T
    l2, a2, b2 = lab_of(other).T
    c7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    g = 0.5 * (1 - np.sqrt(c7 / (c7 + 25.0**7)))
    a1, a2 = (1 + g) * a1, (1 + g) * a2
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360
    dh = (h2 - h1 + 180) % 360 - 180
    dh = np.where(c1 * c2 == 0, 0, dh)
    d_l, d_c, d_h = l2 - l1, c2 - c1, 2 * np.sqrt(c1 * c2) * np.sin(np.radians(dh) / 2)
    lightness, c = (l1 + l2) / 2, (c1 + c2) / 2
    h = np.where(c1 * c2 == 0, h1 + h2, h1 + dh / 2) % 360
    t = 1 - 0.17 * np.cos(np.radians(h - 30)) + 0.24 * np.cos(np.radians(2 * h))
    t += 0.32 * np.cos(np.radians(3 * h + 6)) - 0.20 * np.cos(np.radians(4 * h - 63))
    s_l = 1 + 0.015 * (lightness - 50) ** 2 / np.sqrt(20 + (lightness - 50) ** 2)
    s_c, s_h = 1 + 0.045 * c, 1 + 0.015 * c * t
    turn = -2 * np.sqrt(c**7 / (c**7 + 25.0**7)) * np.sin(np.radians(60 * np.exp(-(((h - 275) / 25) ** 2))))
    l_, c_, h_ = d_l / s_l, d_c / s_c, d_h / s_h
    return np.sqrt(np.maximum(l_**2 + c_**2 + h_**2 + turn * c_ * h_, 0))


def rows_of(view_set: str, resolution: int) -> dict[str, list[Row]]:
    """Shapes by kind: those a silhouette can show whole, those with a hollow it cannot, and scenes."""
    kinds = {"shapes": SHAPES, "hollow, apart": HOLLOW}
    rows = {
        kind: [
            measure(name, f"a {COLOURS[i % len(COLOURS)]} {name}", view_set, resolution) for i, name in enumerate(names)
        ]
        for kind, names in kinds.items()
    }
    return rows | {"scenes": [measure(prompt, prompt, view_set, resolution) for prompt in SCENES]}


def line(r: Row) -> str:
    """One row of the table."""
    figures = (r.hull_iou, r.truth_iou, r.exact_truth_iou, r.silhouette_iou, r.silhouette_worst)
    return f"{r.name:<50}" + "".join(f"{x:>12.4f}" for x in figures) + f"{r.watertight!s:>12}{r.delta_e:>12.2f}"


def mean(rows: Sequence[Row]) -> Row:
    """The mean of some rows; worst view and closedness are over all."""
    return Row(
        name="mean",
        hull_iou=float(np.mean([r.hull_iou for r in rows])),
        truth_iou=float(np.mean([r.truth_iou for r in rows])),
        exact_truth_iou=float(np.mean([r.exact_truth_iou for r in rows])),
        silhouette_iou=float(np.mean([r.silhouette_iou for r in rows])),
        silhouette_worst=min(r.silhouette_worst for r in rows),
        watertight=all(r.watertight for r in rows),
        delta_e=float(np.mean([r.delta_e for r in rows])),
    )


def main() -> None:
    """Print a table per camera set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resolution", type=int, default=256)
    arguments = parser.parse_args()
    for view_set in ("carve-8", "carve-4"):
        print(f"\n{view_set}, {arguments.resolution} cells, raw mesh")
        head = ("hull IoU", "truth IoU", "exact/truth", "silhouette", "worst view", "closed", "ΔE2000")
        print(f"{'shape or scene':<50}" + "".join(f"{h:>12}" for h in head))
        for kind, rows in rows_of(view_set, arguments.resolution).items():
            print(f"-- {kind}")
            print("\n".join(line(r) for r in (*rows, mean(rows))))


if __name__ == "__main__":
    main()
