"""Before and after the network: the picture it reads, bit for bit, and what becomes of its results."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import inputs
import numpy as np
import pytest
import trimesh
from PIL import Image

from conftest import Golden
from tsr.utils import remove_background, resize_foreground, save_video, to_gradio_3d_orientation


def transparent(height: int, width: int) -> np.ndarray:
    return np.zeros((height, width, 4), np.uint8)


def over_grey(image: Image.Image) -> np.ndarray:
    rgba = np.asarray(image).astype(np.float32) / 255.0
    rgb = rgba[:, :, :3] * rgba[:, :, 3:] + (1 - rgba[:, :, 3:]) * 0.5
    return (rgb * 255.0).astype(np.uint8)


class Remover(ModuleType):
    """Stands for rembg: remembers what it was given, and makes the left half transparent."""

    def __init__(self) -> None:
        super().__init__("rembg")
        self.calls: list[dict[str, Any]] = []

    def remove(self, image: Image.Image, session: Any = None, **options: Any) -> Image.Image:
        self.calls.append({"mode": image.mode, "session": session, **options})
        rgba = np.array(image.convert("RGBA"))
        rgba[:, : image.width // 2, 3] = 0
        return Image.fromarray(rgba)


@pytest.fixture
def rembg(monkeypatch: pytest.MonkeyPatch) -> Remover:
    remover = Remover()
    monkeypatch.setitem(sys.modules, "rembg", remover)
    return remover


def test_the_picture_the_network_reads_is_the_originals_to_the_bit(golden: Golden) -> None:
    placed = resize_foreground(Image.fromarray(inputs.rgba_u8()), 0.85)
    assert np.array_equal(over_grey(placed), golden["prep_rgb_u8"])


def test_the_last_row_and_column_are_left_out_and_odd_margins_come_after() -> None:
    pixels = transparent(20, 20)
    pixels[3:8, 4:8] = (10, 20, 30, 255)  # 5 rows and 4 columns, of which 4 and 3 stay
    placed = np.asarray(resize_foreground(Image.fromarray(pixels), 0.8))
    expected = transparent(5, 5)  # 4 × 3 on 4 × 4 on int(4 / 0.8)
    expected[:4, :3] = (10, 20, 30, 255)
    assert np.array_equal(placed, expected)


def test_nothing_is_resampled_and_the_input_stays() -> None:
    pixels = inputs.rgba_u8()
    image = Image.fromarray(pixels)
    placed = np.asarray(resize_foreground(image, 1.0))
    rows, columns = np.nonzero(pixels[..., 3])
    kept = pixels[rows.min() : rows.max(), columns.min() : columns.max()]
    before = (len(placed) - len(kept)) // 2
    assert placed.shape[0] == placed.shape[1] == max(kept.shape[:2])
    assert np.array_equal(placed[before : before + len(kept), : kept.shape[1]], kept)
    assert np.array_equal(np.asarray(image), pixels)


@pytest.mark.parametrize("box", [(0, 0), (1, 8), (8, 1), (1, 1)])
def test_a_picture_without_foreground_is_refused_in_words(box: tuple[int, int]) -> None:
    pixels = transparent(16, 16)
    pixels[4 : 4 + box[0], 4 : 4 + box[1]] = 255
    with pytest.raises(ValueError, match="foreground"):
        resize_foreground(Image.fromarray(pixels), 0.85)


def test_only_rgba_and_a_share_between_0_and_1_are_taken() -> None:
    with pytest.raises(ValueError, match="RGBA, not RGB"):
        resize_foreground(Image.new("RGB", (8, 8)), 0.85)
    for ratio in (0.0, -1.0, 1.5, float("nan")):
        with pytest.raises(ValueError, match="ratio"):
            resize_foreground(Image.fromarray(inputs.rgba_u8()), ratio)


def test_a_picture_with_transparency_is_used_as_it_is(rembg: Remover) -> None:
    image = Image.fromarray(inputs.rgba_u8())
    assert remove_background(image) is image
    assert rembg.calls == []


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_a_picture_without_transparency_goes_to_rembg(rembg: Remover, mode: str) -> None:
    session = object()
    removed = remove_background(Image.new("L", (8, 4), 90).convert(mode), session, alpha_matting=True)
    assert rembg.calls == [{"mode": mode, "session": session, "alpha_matting": True}]
    assert np.array_equal(np.asarray(removed)[0, :, 3], [0] * 4 + [255] * 4)


def test_force_goes_to_rembg_whatever_the_picture(rembg: Remover) -> None:
    remove_background(Image.fromarray(inputs.rgba_u8()), rembg_session=None, force=True)
    assert rembg.calls == [{"mode": "RGBA", "session": None}]


def test_without_rembg_the_error_names_both_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rembg", None)
    with pytest.raises(ImportError, match=r"pip install rembg, or give a picture with transparency"):
        remove_background(Image.new("RGB", (8, 8)))
    image = Image.fromarray(inputs.rgba_u8())
    assert remove_background(image) is image


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
@pytest.mark.parametrize("fps", [30, 12])
def test_an_animation_needs_pillow_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, fps: int
) -> None:
    for name in ("imageio", "imageio.v2"):
        monkeypatch.setitem(sys.modules, name, None)
    frames = [Image.fromarray(np.full((16, 24, 3), 20 * i, np.uint8)) for i in range(12)]
    save_video(frames, str(tmp_path / f"turn{suffix}"), fps=fps)
    with Image.open(tmp_path / f"turn{suffix}") as read:
        assert read.n_frames == 12
        lasting = 0
        for i in range(12):
            read.seek(i)
            read.load()
            lasting += read.info["duration"]
            assert abs(np.asarray(read.convert("RGB")).mean() - 20 * i) < 3
    assert lasting == round(12 * 1000 / fps)


def test_a_video_without_ffmpeg_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [Image.new("RGB", (16, 16))]
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ImportError, match=r"pip install imageio\[ffmpeg\]"):
        save_video(frames, str(tmp_path / "turn.mp4"))
    monkeypatch.setitem(sys.modules, "imageio", None)
    monkeypatch.setitem(sys.modules, "imageio.v2", None)
    with pytest.raises(ImportError, match=r"pip install imageio\[ffmpeg\]"):
        save_video(frames, str(tmp_path / "turn.mp4"))
    assert list(tmp_path.iterdir()) == []


def test_a_video_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        save_video([], str(tmp_path / "turn.gif"))
    with pytest.raises(ValueError, match="positive"):
        save_video([Image.new("RGB", (4, 4))], str(tmp_path / "turn.gif"), fps=0)


def test_the_orientation_for_gradio_is_a_rotation_of_the_mesh_itself() -> None:
    corners = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 7.0], [0.0, -1.0, 2.0], [3.0, 1.0, 0.0]])
    mesh = trimesh.Trimesh(corners, [[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]], process=False)
    volume = mesh.volume
    turned = to_gradio_3d_orientation(mesh)
    assert turned is mesh
    assert np.array_equal(turned.vertices, np.stack([-corners[:, 1], corners[:, 2], -corners[:, 0]], axis=1))
    assert turned.volume == pytest.approx(volume, rel=1e-9)
