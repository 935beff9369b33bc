"""Is an inflated picture the picture? The final GLB, drawn from the front without light, against the view it came from.

SSIM (Wang et al. 2004, Gaussian window of 1.5 px) over the foreground, both brought to the same extents; closedness, and
the number of bodies and handles against parts and holes of the outline.
"""

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from image_service.engines.procedural.grammar import parse
from image_service.engines.procedural.scene import build
from image_service.intake.work import IntakeWork
from image_service.settings import Settings as ImageSettings
from postprocess_service.settings import Settings as PostprocessSettings
from postprocess_service.work import CleanWork
from reconstruction_service.settings import Settings as ReconstructionSettings
from reconstruction_service.work import ReconstructWork
from scratch3d.contracts.images import ImagineResult
from scratch3d.contracts.meshes import CleanResult, ReconstructResult
from scratch3d.contracts.views import Camera
from scratch3d.geometry.glb import read_part
from scratch3d.geometry.measure import closedness, euler_number
from scratch3d.geometry.mesh import Array, Mesh
from scratch3d.geometry.outline import topology
from scratch3d.geometry.render import render, surface_of

SIZE = 512
#: Name → prompt and azimuth of a picture; the last ones are not drawn by the engine but made of noise and stripes.
DRAWN = {
    "fish from the side": ("a fish", 80.0),
    "mug, a hole": ("a blue mug with a white handle", 0.0),
    "wheel, many holes": ("a wheel", 0.0),
    "ladder, thin": ("a ladder", 0.0),
    "sword, very thin": ("a sword", 0.0),
    "castle, fine detail": ("a castle", 20.0),
    "robot": ("a robot", 0.0),
    "several parts": ("three apples", 0.0),
}
MADE = ("stripes on a disc", "leaf of noise", "ring of checks")


@dataclass(frozen=True, kw_only=True)
class Row:
    """The figures of one picture."""

    name: str
    ssim: float
    watertight: bool
    euler: int
    expected_euler: int
    faces: int


def picture_of(name: str) -> Array:
    """(512, 512, 4) uint8."""
    if name in DRAWN:
        prompt, azimuth = DRAWN[name]
        camera = Camera(azimuth_deg=azimuth, elevation_deg=0, half_width_m=0.62)
        return render(surface_of(build(parse(prompt)).mesh), camera, SIZE)[0]
    y, x = (np.mgrid[:SIZE, :SIZE] + 0.5) / SIZE * 2 - 1
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    random = np.random.default_rng(3)
    if name == "stripes on a disc":
        edge, shade = 0.8 - radius, np.where(np.floor((x + y) * 9) % 2 > 0, 230, 40)
    elif name == "leaf of noise":
        blotches = ndimage.gaussian_filter(random.standard_normal((SIZE, SIZE)), 4)
        edge, shade = 0.55 + 0.22 * np.cos(3 * angle) - radius, 128 + 45 * blotches / blotches.std()
    else:
        edge, shade = 0.22 - np.abs(radius - 0.6), np.where((np.floor(x * 8) + np.floor(y * 8)) % 2 > 0, 210, 60)
    colour = np.clip(np.stack([shade, 255 - shade, 90 + 0.4 * shade], axis=2), 0, 255)
    alpha = np.clip(edge * SIZE / 2 + 0.5, 0, 1) * 255
    return np.concatenate([colour, alpha[..., None]], axis=2).astype(np.uint8)


def finished(picture: Array, directory: Path, **options: object) -> tuple[Array, bytes, dict[str, object]]:
    """The view a picture became, the final GLB, and its report: through the services' own work."""
    inputs = directory / "inputs"
    inputs.mkdir(exist_ok=True)
    Image.fromarray(picture).save(inputs / "picture.png")
    ask = {"images": [{"key": "inputs/picture.png"}], "size_px": SIZE}
    intake = IntakeWork(ImageSettings(data_dir=directory))
    views = ImagineResult.model_validate(intake.run(ask, lambda *_: None)).views
    raw = ReconstructWork("inflate", ReconstructionSettings(data_dir=directory)).run(
        {"views": [v.model_dump(mode="json") for v in views], "resolution": 256, "options": options}, lambda *_: None
    )
    mesh = ReconstructResult.model_validate(raw).mesh
    done = CleanWork("trimesh", PostprocessSettings(data_dir=directory)).run(
        {"mesh": mesh.model_dump(mode="json")}, lambda *_: None
    )
    outputs = {o.name: o for o in CleanResult.model_validate(done).outputs}
    report = json.loads((directory / outputs["report.json"].ref.key).read_text())
    view = np.array(Image.open(directory / views[0].ref.key))
    return view, (directory / outputs["model.glb"].ref.key).read_bytes(), report


def front_of(glb: bytes, view: Array) -> Array:
    """The GLB drawn without light, at the scale and place the view shows the object."""
    part = read_part(glb)
    assert part.material.texture_png is not None, "the picture is the texture"
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        file.write(part.material.texture_png)
        file.flush()
        texture = np.array(Image.open(file.name).convert("RGB"))
    low, high = part.mesh.bounds
    rows, columns = np.nonzero(view[..., 3] > 127)
    extent = max(np.ptp(rows), np.ptp(columns)) + 1
    half = float((high - low)[:2].max()) * len(view) / extent / 2
    middle = (low + high) / 2
    placed = part.mesh.evolve(vertices=(part.mesh.vertices - middle).astype(np.float32))
    drawn = render(surface_of(placed, texture=texture), Camera(azimuth_deg=0, half_width_m=half), len(view))[1]
    shift = (
        round((rows.min() + rows.max() + 1 - len(view)) / 2),
        round((columns.min() + columns.max() + 1 - len(view)) / 2),
    )
    return np.roll(drawn, shift, axis=(0, 1))


def ssim(one: Array, other: Array, mask: Array) -> float:
    """Mean structural similarity of two (h, w, 3) uint8 pictures over a mask."""

    def blur(picture: Array) -> Array:
        return ndimage.gaussian_filter(picture, (1.5, 1.5, 0), truncate=3.5)

    a, b = one.astype(float), other.astype(float)
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b, both = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2, blur(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    score = (2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return float(score[mask].mean())


def on_grey(rgba: Array) -> Array:
    """Before one grey."""
    alpha = rgba[..., 3:] / 255.0
    return np.rint(rgba[..., :3] * alpha + 128 * (1 - alpha)).astype(np.uint8)


def measure(name: str) -> Row:
    """One picture through all three services."""
    with tempfile.TemporaryDirectory() as directory:
        view, glb, report = finished(picture_of(name), Path(directory))
    mesh = welded(read_part(glb).mesh)
    mask = view[..., 3] > 127
    parts, holes = topology(mask)
    return Row(
        name=name,
        ssim=ssim(on_grey(view), on_grey(front_of(glb, view)), mask),
        watertight=closedness(mesh.faces).watertight and bool(report["watertight"]),
        euler=euler_number(mesh.faces),
        expected_euler=2 * parts - 2 * holes,
        faces=len(mesh.faces),
    )


def welded(mesh: Mesh) -> Mesh:
    """Vertices that were split for the texture or along creases, joined by their place."""
    _, inverse = np.unique(mesh.vertices, axis=0, return_inverse=True)
    return Mesh(vertices=mesh.vertices, faces=inverse.reshape(-1)[mesh.faces].astype(np.int32))


def main() -> None:
    """Print the table; `--keep FOLDER` writes each picture beside its re-render."""
    print(f"{'picture':<24}{'SSIM':>8}{'closed':>8}{'Euler':>7}{'due':>5}{'faces':>8}")
    rows = [measure(name) for name in (*DRAWN, *MADE)]
    for row in rows:
        print(f"{row.name:<24}{row.ssim:>8.4f}{row.watertight!s:>8}{row.euler:>7}{row.expected_euler:>5}{row.faces:>8}")
    print(f"{'mean, worst':<24}{np.mean([r.ssim for r in rows]):>8.4f}{min(r.ssim for r in rows):>8.4f}")


if __name__ == "__main__":
    sys.exit(main())
