"""Given pictures: decoded under limits, cut out, and brought to one scale when they belong together."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from image_service.errors import ImageTooLarge, NoObject, UnreadableImage
from image_service.intake.decode import Decoded, decode
from image_service.intake.headers import Limits
from image_service.intake.work import IntakeWork
from image_service.matting.base import Cut
from image_service.matting.classical import Classical
from image_service.prepare import FILL, prepare
from image_service.settings import Settings
from scratch3d.contracts.images import ImagineResult, SourceImage
from scratch3d.servicekit.artifacts import ArtifactStore
from scratch3d.servicekit.errors import Unprocessable

LIMITS = Limits(max_pixels=4e6, max_bytes=1e6)


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


def decoded(content: bytes) -> Decoded:
    return decode(content, LIMITS, 512, field="images[1]")


def cut(image: Image.Image) -> Cut:
    return Cut(rgba=np.array(image))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_plain_backgrounds_are_cut_away(form: str, mode: str) -> None:
    image = picture(80, 60, mode=mode)
    opened = decoded(encoded(image.convert("RGB") if form != "PNG" else image, form))
    made = Classical(None).cut(opened.rgba[..., :3])
    assert (made.rgba[..., 3] > 127).sum() == pytest.approx(80 * 60, rel=0.04)
    assert not made.warnings


def test_the_fringe_holds_no_background() -> None:
    drawn = picture(400, 300, 800).resize((200, 200), Image.Resampling.LANCZOS)
    flat = Image.new("RGB", drawn.size, (240, 240, 240))
    flat.paste(drawn, (0, 0), drawn)
    made = Classical(None).cut(np.array(flat)).rgba.astype(int)
    fringe = (made[..., 3] > 20) & (made[..., 3] < 235)
    assert np.abs(made[fringe][:, :3] - (200, 20, 20)).max() < 30


@pytest.mark.parametrize("turn", range(1, 9))
def test_rotation_in_the_header_is_applied(turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    opened = decoded(encoded(picture(80, 40, mode="RGB"), "JPEG", exif=exif))
    solid = Classical(None).cut(opened.rgba[..., :3]).rgba[..., 3] > 127
    assert solid.any(axis=1).sum() == pytest.approx(80 if turn >= 5 else 40, abs=3)


def sixteen_bits() -> Image.Image:
    return Image.fromarray(np.asarray(picture(80, 60, mode="L"), np.uint16) * 257)


LEGITIMATE = {
    "CMYK JPEG": encoded(picture(80, 60, mode="RGB").convert("CMYK"), "JPEG"),
    "16 bits": encoded(sixteen_bits()),
    "grey with alpha": encoded(picture(80, 60).convert("LA")),
    "palette with alpha": encoded(picture(80, 60).quantize(32)),
    "two colours": encoded(picture(80, 60, mode="L").convert("1", dither=Image.Dither.NONE)),
    "lossless WebP with alpha": encoded(picture(80, 60), "WEBP", lossless=True),
    "larger than is worked on": encoded(picture(800, 600, 1800)),
}


@pytest.mark.parametrize("name", LEGITIMATE)
def test_every_kind_of_picture_shows_its_object(name: str) -> None:
    opened = decoded(LEGITIMATE[name])
    solid = (opened.rgba if opened.has_alpha else Classical(None).cut(opened.rgba[..., :3]).rgba)[..., 3] > 127
    assert max(opened.rgba.shape) <= 512
    assert solid.mean() == pytest.approx(80 * 60 / 200**2, rel=0.08) or name == "larger than is worked on"
    assert solid.any(axis=1).sum() / solid.any(axis=0).sum() == pytest.approx(0.75, rel=0.04)


def test_colours_are_brought_to_srgb() -> None:
    wide = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    plain = Image.new("RGB", (40, 40), (200, 30, 60))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert decoded(encoded(plain, icc_profile=srgb)).rgba[20, 20, :3] == pytest.approx([200, 30, 60], abs=2)
    # A profile that does not belong to the picture is left out, as browsers do.
    assert decoded(encoded(plain, icc_profile=wide)).rgba[20, 20, :3] == pytest.approx([200, 30, 60], abs=2)
    assert decoded(encoded(plain, icc_profile=b"rubbish")).rgba[20, 20, :3] == pytest.approx([200, 30, 60], abs=2)


def test_hidden_colours_do_not_bleed_into_the_edge() -> None:
    rgba = np.zeros((1200, 1200, 4), np.uint8)
    rgba[...] = (0, 255, 0, 0)
    rgba[300:900, 300:900] = (200, 20, 20, 255)
    seen = decoded(encoded(Image.fromarray(rgba))).rgba
    edge = seen[(seen[..., 3] > 0)]
    assert edge[:, 1].max() < 40


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", UnreadableImage),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", UnreadableImage),
        (encoded(picture(10, 10, 20, mode="RGB"), "GIF"), UnreadableImage),
        (encoded(picture(10, 10, 20))[:60], UnreadableImage),
        (encoded(Image.new("RGB", (4, 400))), UnreadableImage),
        (encoded(Image.new("RGB", (3000, 2000))), ImageTooLarge),
        (encoded(Image.new("1", (17_000, 20))), ImageTooLarge),
        (b"\x89PNG" + b"0" * 1_000_001, ImageTooLarge),
    ],
)
def test_bad_pictures_are_named(content: bytes, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        decoded(content)
    assert caught.value.field == "images[1]"  # type: ignore[attr-defined]


def test_animations_are_refused() -> None:
    frames = [picture(10, 10, 20), picture(12, 10, 20)]
    content = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    with pytest.raises(UnreadableImage, match="animation"):
        decoded(content)


def views(*names: str) -> list[SourceImage]:
    return [SourceImage(key=f"inputs/{n}.png", view=n, field=f"images[{i}]") for i, n in enumerate(names)]  # type: ignore[arg-type]


def extents(rgba: np.ndarray) -> tuple[int, int]:
    solid = rgba[..., 3] > 127
    return int(solid.any(axis=0).sum()), int(solid.any(axis=1).sum())


def test_named_views_share_one_scale_whatever_their_sizes() -> None:
    front, right = cut(picture(100, 80, 300)), cut(picture(30, 40, 120))
    top = cut(picture(50, 30, 90))
    made = prepare(views("front", "right", "top"), [front, right, top], 256)
    sizes = [extents(p.rgba) for p in made.pictures]
    assert sizes[0][1] == pytest.approx(sizes[1][1], abs=2), "same height around"
    assert sizes[0][0] == pytest.approx(sizes[2][0], abs=2), "same width in front and from the top"
    assert max(max(s) for s in sizes) == pytest.approx(FILL * 256, abs=1)
    assert any("right" in w for w in made.warnings)
    assert not any(p.calibrated for p in made.pictures)


def test_a_picture_without_a_name_is_the_front_and_a_second_one_is_told() -> None:
    sources = [SourceImage(key="inputs/a.png", field="images[0]"), SourceImage(key="inputs/b.png", field="images[1]")]
    made = prepare(sources, [cut(picture(90, 90, 200))] * 2, 64)
    assert [p.name for p in made.pictures] == ["front"]
    assert made.warnings == ("images[1] is not used: it does not say which view it shows",)


def test_double_views_and_unplaced_pictures_are_refused() -> None:
    with pytest.raises(Unprocessable, match="twice"):
        prepare(views("front", "front"), [cut(picture(9, 9, 20))] * 2, 64)
    unplaced = [SourceImage(key="inputs/a.png"), SourceImage(key="inputs/b.png", azimuth_deg=10)]
    with pytest.raises(Unprocessable, match="needs a view or an azimuth_deg"):
        prepare(unplaced, [cut(picture(9, 9, 20))] * 2, 64)


def run(directory: Path, *sources: SourceImage, **settings: object) -> ImagineResult:
    work = IntakeWork(Settings(data_dir=directory, **settings))  # type: ignore[arg-type]
    request = {"images": [s.model_dump() for s in sources], "size_px": 128, "output_prefix": "inputs/job/1"}
    return ImagineResult.model_validate(work.run(request, lambda *_: None))


def test_work_stores_views_and_repeats_itself(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    for name in ("front", "right"):
        store.put(f"inputs/{name}.png", encoded(picture(60, 60, mode="RGB")))
    made = [run(tmp_path, *views("front", "right")) for _ in range(2)]
    assert made[0].views == made[1].views
    assert made[0].image_paths == ("/inputs/job/1/front.png", "/inputs/job/1/right.png")
    assert all(view.alpha_trusted and not view.calibrated for view in made[0].views)


def test_nothing_to_see_names_the_picture(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    for content in (encoded(Image.new("RGB", (90, 90), (9, 9, 9))), encoded(Image.new("RGBA", (90, 90)))):
        store.put("inputs/front.png", content)
        with pytest.raises(NoObject) as caught:
            run(tmp_path, *views("front"))
        assert caught.value.field == "images[0]"


def test_a_second_name_of_a_foreign_file_is_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(encoded(picture(60, 60)))
    (tmp_path / "inputs").mkdir()
    os.link(secret, tmp_path / "inputs" / "front.png")
    with pytest.raises(Unprocessable) as caught:
        run(tmp_path, *views("front"))
    assert caught.value.field == "images[0]" and caught.value.problem_code == "not_found"
