"""How good is `classical` background removal? Things before made-up backgrounds, whose true outline is known.

For each picture: IoU of the cut with the truth, mean error of alpha over the outline's band, and whether the cut said
that it is doubtful. Every cut worse than 0.8 must say so.
"""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image
from scipy import ndimage

from image_service.engines.procedural.grammar import parse
from image_service.engines.procedural.scene import build
from image_service.errors import NoObject
from image_service.matting.classical import Classical
from scratch3d.contracts.views import Camera
from scratch3d.geometry.render import render, surface_of

SIZE = 512
LEAST_MEAN, LEAST_SILENT = 0.93, 0.8
Picture = np.ndarray  # type: ignore[type-arg]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One picture: what is shown, and before what."""

    name: str
    prompt: str
    backdrop: Callable[[np.random.Generator], Picture]
    #: the object lies wholly inside the picture
    whole: bool = True
    shadow: float = 0.0
    noise: float = 0.0
    jpeg: int | None = None
    half_width_m: float = 0.72
    shift: tuple[int, int] = (0, 0)
    azimuth_deg: float = 25.0


def plain(*rgb: int) -> Callable[[np.random.Generator], Picture]:
    """One colour."""
    return lambda _: np.full((SIZE, SIZE, 3), rgb, float)


def gradient(top: tuple[int, int, int], bottom: tuple[int, int, int]) -> Callable[[np.random.Generator], Picture]:
    """From one colour to another, with light that falls off towards the corners."""
    y, x = np.mgrid[:SIZE, :SIZE] / (SIZE - 1)
    fall = 1 - 0.25 * ((x - 0.4) ** 2 + (y - 0.5) ** 2)
    return lambda _: (np.array(top) * (1 - y[..., None]) + np.array(bottom) * y[..., None]) * fall[..., None]


def cloth(rgb: tuple[int, int, int], strength: float, scale: float) -> Callable[[np.random.Generator], Picture]:
    """Blotches of one colour."""

    def made(random: np.random.Generator) -> Picture:
        blotches = ndimage.gaussian_filter(random.standard_normal((SIZE, SIZE)), scale)
        return np.array(rgb) + strength * (blotches / blotches.std())[..., None] * (1.0, 0.9, 0.8)

    return made


def wood(random: np.random.Generator) -> Picture:
    """Planks with a grain."""
    y, x = np.mgrid[:SIZE, :SIZE]
    wave = ndimage.gaussian_filter(random.standard_normal((SIZE, SIZE)), (2, 40))
    grain = 14 * wave / wave.std() - 30 * ((y % 128) < 3)
    return np.array((182, 140, 96)) + grain[..., None] * (1.0, 0.85, 0.7) + 0.0 * x[..., None]


def checks(
    one: tuple[int, int, int], other: tuple[int, int, int], edge: int
) -> Callable[[np.random.Generator], Picture]:
    """A chess board."""
    y, x = np.mgrid[:SIZE, :SIZE] // edge
    return lambda _: np.where(((x + y) % 2)[..., None] == 0, np.array(one), np.array(other)).astype(float)


def room(random: np.random.Generator) -> Picture:
    """A wall and a floor that meet in the middle of the picture."""
    y = np.mgrid[:SIZE, :SIZE][0][..., None]
    return np.where(y < 330, np.array((205, 214, 222)), np.array((150, 128, 108))) + random.normal(
        0, 2, (SIZE, SIZE, 3)
    )


def photo(random: np.random.Generator) -> Picture:
    """A cluttered place: large blotches of many colours."""
    layers = [ndimage.gaussian_filter(random.standard_normal((SIZE, SIZE)), 28) for _ in range(3)]
    return np.stack([128 + 60 * layer / layer.std() for layer in layers], axis=2)


CASES = (
    Case(name="plain white, thin legs", prompt="a chair", backdrop=plain(250, 250, 250)),
    Case(name="plain grey, handle with a hole", prompt="a red mug", backdrop=plain(150, 150, 155), azimuth_deg=0),
    Case(name="studio light, wheel with spokes", prompt="a wheel", backdrop=gradient((225, 228, 232), (160, 165, 172)),
         azimuth_deg=12),
    Case(name="cast shadow on white", prompt="a blue car", backdrop=plain(244, 243, 240), shadow=0.45, azimuth_deg=60),
    Case(name="cast shadow on a gradient", prompt="a green cactus", backdrop=gradient((235, 230, 220), (200, 190, 180)),
         shadow=0.4),
    Case(name="sky-like gradient", prompt="a plane", backdrop=gradient((90, 140, 205), (205, 225, 240)), azimuth_deg=40),
    Case(name="noisy sensor", prompt="a teapot", backdrop=plain(120, 128, 118), noise=9),
    Case(name="strong JPEG", prompt="a guitar", backdrop=gradient((200, 205, 210), (170, 176, 182)), jpeg=35),
    Case(name="blotchy cloth", prompt="a yellow duck", backdrop=cloth((96, 110, 140), 7, 6)),
    Case(name="coarse cloth", prompt="a white rabbit", backdrop=cloth((120, 70, 70), 10, 14)),
    Case(name="wooden planks", prompt="a teal teapot", backdrop=wood),
    Case(name="chess board", prompt="an orange pumpkin", backdrop=checks((215, 215, 215), (150, 150, 155), 32)),
    Case(name="wall and floor", prompt="a red lamp", backdrop=room),
    Case(name="low contrast, white on near white", prompt="a white vase", backdrop=plain(226, 226, 228)),
    Case(name="low contrast, brown on brown", prompt="a wooden stool", backdrop=cloth((150, 112, 78), 5, 10)),
    Case(name="very thin", prompt="a sword", backdrop=plain(235, 236, 238), half_width_m=0.6),
    Case(name="holes, ladder", prompt="a ladder", backdrop=gradient((210, 214, 205), (180, 186, 178))),
    Case(name="dark on black", prompt="a bomb", backdrop=plain(12, 12, 14)),
    Case(name="several things", prompt="three apples and a banana", backdrop=cloth((222, 222, 214), 3, 8)),
    Case(name="touches the border, cut off", prompt="a robot", backdrop=plain(228, 232, 236), whole=False,
         half_width_m=0.52, shift=(0, 130)),
    Case(name="fills the picture", prompt="a blue house", backdrop=plain(240, 240, 236), whole=False, half_width_m=0.46),
    Case(name="cluttered place", prompt="a cat", backdrop=photo, whole=False),
    Case(name="cluttered place, much alike", prompt="a bush", backdrop=photo, whole=False),
)  # fmt: skip


def picture_of(case: Case) -> tuple[Picture, Picture]:
    """(h, w, 3) uint8, and the true alpha (h, w) 0..1."""
    random = np.random.default_rng(7)
    camera = Camera(azimuth_deg=case.azimuth_deg, elevation_deg=14, half_width_m=case.half_width_m)
    lit, _ = render(surface_of(build(parse(case.prompt)).mesh), camera, SIZE)
    lit = np.roll(lit, case.shift, axis=(1, 0)) if case.whole else _shifted(lit, case.shift)
    alpha = lit[..., 3] / 255.0
    behind = np.clip(case.backdrop(random), 0, 255)
    if case.shadow:
        cast = ndimage.gaussian_filter(np.roll(_flattened(alpha), (0, 36), axis=(0, 1)), 9)
        behind = behind * (1 - case.shadow * cast[..., None])
    shown = lit[..., :3] * alpha[..., None] + behind * (1 - alpha[..., None])
    shown = np.clip(shown + random.normal(0, 1 + case.noise, shown.shape), 0, 255).astype(np.uint8)
    if case.jpeg:
        buffer = BytesIO()
        Image.fromarray(shown).save(buffer, "JPEG", quality=case.jpeg)
        shown = np.array(Image.open(buffer).convert("RGB"))
    return shown, alpha


def _shifted(rgba: Picture, shift: tuple[int, int]) -> Picture:
    x, y = shift
    out = np.zeros_like(rgba)
    out[y:, x:] = rgba[: SIZE - y, : SIZE - x]
    return out


def _flattened(alpha: Picture) -> Picture:
    """A shadow on the ground: the outline pressed down onto its lowest row, leaning to the right."""
    bottom = int(np.flatnonzero(alpha.max(axis=1) > 0.5)[-1])
    out = np.zeros_like(alpha)
    for row in range(bottom + 1):
        at = bottom - (bottom - row) // 4
        out[at] = np.maximum(out[at], np.roll(alpha[row], (bottom - row) // 3))
    return out


@dataclass(frozen=True, kw_only=True)
class Row:
    """The figures of one case."""

    case: Case
    iou: float
    alpha_error: float
    warnings: tuple[str, ...]


def measure(case: Case) -> Row:
    """Cut one picture and compare."""
    shown, truth = picture_of(case)
    try:
        made = Classical(None).cut(shown)
    except NoObject as error:
        return Row(case=case, iou=0.0, alpha_error=1.0, warnings=(error.detail,))
    alpha = made.rgba[..., 3] / 255.0
    ours, theirs = alpha > 0.5, truth > 0.5
    band = ndimage.binary_dilation(theirs, iterations=4) & ~ndimage.binary_erosion(theirs, iterations=4)
    return Row(
        case=case,
        iou=float((ours & theirs).sum() / max((ours | theirs).sum(), 1)),
        alpha_error=float(np.abs(alpha - truth)[band].mean()),
        warnings=made.warnings,
    )


def main() -> None:
    """Print the table."""
    rows = [measure(case) for case in CASES]
    print(f"{'picture':<36}{'thing':<28}{'IoU':>7}{'alpha':>8}  said")
    for row in rows:
        said = "; ".join(w.split(":")[0][:64] for w in row.warnings) or "-"
        print(f"{row.case.name:<36}{row.case.prompt:<28}{row.iou:>7.3f}{row.alpha_error:>8.3f}  {said}")
    whole = [row.iou for row in rows if row.case.whole]
    print(f"{'mean where the border is background':<64}{np.mean(whole):>7.3f}   worst {min(whole):.3f}")


if __name__ == "__main__":
    main()
