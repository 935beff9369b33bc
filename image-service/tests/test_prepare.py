"""Given pictures: limits, backgrounds, and one scale for views that belong together."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from image_service.errors import ImageTooLarge, NoObject, UnreadableImage
from image_service.pictures import Limits, load_rgba, open_header
from image_service.prepare import FILL, prepare
from image_service.settings import Settings
from image_service.work import ImageWork
from scratch3d.contracts.images import ImagineResult, SourceImage
from scratch3d.servicekit.artifacts import ArtifactStore
from scratch3d.servicekit.errors import Unprocessable

LIMITS = Limits(max_pixels=1e6, max_bytes=1e6)


def picture(width: int, height: int, size: int = 200, *, mode: str = "RGBA", background: int = 240) -> Image.Image:
    """A red rectangle of a given size in the middle."""
    rgba = np.zeros((size, size, 4), np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    rgba[top : top + height, left : left + width] = (200, 20, 20, 255)
    image = Image.fromarray(rgba)
    if mode == "RGBA":
        return image
    flat = Image.new("RGB", image.size, (background,) * 3)
    flat.paste(image, (0, 0), image)
    return flat.quantize(64) if mode == "P" else flat.convert(mode)


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_plain_backgrounds_are_cut_away(form: str, mode: str) -> None:
    image = picture(80, 60, mode=mode)
    rgba = load_rgba(encoded(image.convert("RGB") if form != "PNG" else image, form), LIMITS, field="f")
    assert (rgba[..., 3] > 127).sum() == pytest.approx(80 * 60, rel=0.06)


def test_rotation_in_the_header_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    rgba = load_rgba(encoded(picture(80, 40, mode="RGB"), "JPEG", exif=exif), LIMITS, field="f")
    solid = rgba[..., 3] > 127
    assert solid.any(axis=1).sum() == pytest.approx(80, abs=4)


def test_busy_background_is_refused_with_the_mend() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    with pytest.raises(NoObject, match="transparent background"):
        load_rgba(encoded(Image.fromarray(noise)), LIMITS, field="image_paths[2]")


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", UnreadableImage),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", UnreadableImage),
        (encoded(picture(10, 10, 20, mode="RGB"), "GIF"), UnreadableImage),
        (encoded(picture(10, 10, 20))[:60], UnreadableImage),
        (encoded(Image.new("RGB", (2000, 1000))), ImageTooLarge),
        (b"\x89PNG" + b"0" * 1_000_001, ImageTooLarge),
        (encoded(Image.new("RGBA", (30, 30))), NoObject),
        (encoded(Image.new("RGB", (30, 30), (9, 9, 9))), NoObject),
    ],
)
def test_bad_pictures_are_named(content: bytes, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        load_rgba(content, LIMITS, field="image_paths[1]")
    assert caught.value.field == "image_paths[1]"  # type: ignore[attr-defined]


def test_animations_are_refused() -> None:
    frames = [picture(10, 10, 20), picture(12, 10, 20)]
    content = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    with pytest.raises(UnreadableImage, match="animation"):
        open_header(content, LIMITS, field="f")


def views(*names: str) -> list[SourceImage]:
    return [SourceImage(key=f"inputs/{n}.png", view=n) for n in names]  # type: ignore[arg-type]


def extents(rgba: np.ndarray) -> tuple[int, int]:
    solid = rgba[..., 3] > 127
    return int(solid.any(axis=0).sum()), int(solid.any(axis=1).sum())


def test_named_views_share_one_scale_whatever_their_sizes() -> None:
    front, right = np.array(picture(100, 80, 300)), np.array(picture(30, 40, 120))
    top = np.array(picture(50, 30, 90))
    made = prepare(views("front", "right", "top"), [front, right, top], 256)
    sizes = [extents(p.rgba) for p in made.pictures]
    assert sizes[0][1] == pytest.approx(sizes[1][1], abs=1), "same height around"
    assert sizes[0][0] == pytest.approx(sizes[2][0], abs=1), "same width in front and from the top"
    assert max(max(s) for s in sizes) == pytest.approx(FILL * 256, abs=1)
    assert any("right" in w for w in made.warnings)


def test_double_views_and_unplaced_pictures_are_refused() -> None:
    with pytest.raises(Unprocessable, match="twice"):
        prepare(views("front", "front"), [np.array(picture(9, 9, 20))] * 2, 64)
    unplaced = [SourceImage(key="inputs/a.png"), SourceImage(key="inputs/b.png", azimuth_deg=10)]
    with pytest.raises(Unprocessable, match="neither a view nor"):
        prepare(unplaced, [np.array(picture(9, 9, 20))] * 2, 64)


def test_work_stores_views_and_repeats_itself(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    for name in ("front", "right"):
        store.put(f"inputs/{name}.png", encoded(picture(60, 60)))
    work = ImageWork("procedural", Settings(data_dir=tmp_path))
    request = {
        "prepare": {
            "images": [v.model_dump() for v in views("front", "right")],
            "size_px": 128,
            "output_prefix": "inputs/job/1",
        }
    }
    made = [ImagineResult.model_validate(work.run(request, lambda *_: None)) for _ in range(2)]
    assert made[0].views == made[1].views
    assert made[0].image_paths == ("/inputs/job/1/front.png", "/inputs/job/1/right.png")
    assert all(view.alpha_trusted for view in made[0].views)
