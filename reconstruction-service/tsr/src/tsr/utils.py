"""Around the network: pictures before it, videos and orientations after it."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import trimesh

#: Containers that pillow writes by itself, with the finest step of time they know, in milliseconds.
ANIMATIONS = {".gif": 10, ".webp": 1}
#: (x, y, z) → (-y, z, -x): from z up and front +x to y up and front -z.
GRADIO_ORIENTATION = np.array(
    [[0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)


def remove_background(
    image: Image.Image, rembg_session: Any = None, force: bool = False, **rembg_kwargs: Any
) -> Image.Image:
    """The picture as RGBA with a transparent background, by rembg (https://github.com/danielgatis/rembg).

    An RGBA picture that has any transparency is given back as it is, unless `force`. `rembg_kwargs` go to
    `rembg.remove`.

    Raises
    ------
    ImportError : the picture has no transparency (or `force`), and rembg is not installed
    """
    if not force and image.mode == "RGBA" and np.asarray(image)[..., 3].min() < 255:
        return image
    try:
        rembg = import_module("rembg")
    except ImportError as error:
        raise ImportError(
            "the background of a picture is removed by rembg: pip install rembg, or give a picture with transparency"
        ) from error
    removed: Image.Image = rembg.remove(image, session=rembg_session, **rembg_kwargs)
    return removed


def resize_foreground(image: Image.Image, ratio: float) -> Image.Image:
    """An RGBA picture cropped to its foreground, on a transparent square of which that takes `ratio` (0 to 1).

    Nothing is resampled. The last row and column of the foreground are left out, as the network saw it in training.

    Raises
    ------
    ValueError : the picture is not RGBA, `ratio` is not in (0, 1], or less than two rows and columns are foreground
    """
    if image.mode != "RGBA":
        raise ValueError(f"the foreground is found by transparency: the picture must be RGBA, not {image.mode}")
    if not 0 < ratio <= 1:
        raise ValueError(f"ratio must be more than 0 and at most 1, not {ratio}")
    pixels = np.asarray(image)
    rows, columns = np.nonzero(pixels[..., 3])
    if len(rows) == 0:
        raise ValueError("the picture has no foreground: every pixel is transparent")
    foreground = pixels[rows.min() : rows.max(), columns.min() : columns.max()]
    if foreground.size == 0:
        raise ValueError("the picture has hardly any foreground: it is less than two pixels high or wide")
    square = max(foreground.shape[:2])
    return Image.fromarray(_centred(_centred(foreground, square), int(square / ratio)))


def _centred(pixels: np.ndarray[Any, Any], side: int) -> np.ndarray[Any, Any]:
    """On a transparent square; an odd pixel of margin comes after."""
    spare = [side - extent for extent in pixels.shape[:2]]
    margins = [(one // 2, one - one // 2) for one in spare]
    return np.pad(pixels, [*margins, (0, 0)])


def save_video(frames: Sequence[Image.Image], output_path: str | Path, fps: int = 30) -> None:
    """Pictures of one size as a video, of the kind the path's suffix names: .gif and .webp by pillow, others by imageio.

    Raises
    ------
    ValueError : there is no frame, or `fps` is not positive
    ImportError : the container needs imageio and its ffmpeg, and they are not installed
    """
    if not frames or fps <= 0:
        raise ValueError("a video needs at least one frame, and a positive number of them per second")
    step = ANIMATIONS.get(Path(output_path).suffix.lower())
    if step is None:
        _save_by_ffmpeg(frames, str(output_path), fps)
    else:
        # Rounded ends, not rounded durations: the whole takes the time it should.
        ends = np.round(np.arange(len(frames) + 1) * (1000.0 / fps / step)).astype(int) * step
        frames[0].save(
            output_path, save_all=True, append_images=list(frames[1:]), duration=np.diff(ends).tolist(), loop=0
        )


def _save_by_ffmpeg(frames: Sequence[Image.Image], output_path: str, fps: int) -> None:
    try:
        import imageio.v2 as imageio

        # Left to choose, imageio without ffmpeg hands a video to whatever else is there.
        imageio.mimwrite(output_path, [np.asarray(frame.convert("RGB")) for frame in frames], format="FFMPEG", fps=fps)
    except ImportError as error:
        raise ImportError(
            f"{output_path}: this kind of video needs ffmpeg: pip install imageio[ffmpeg], or save a .gif or .webp"
        ) from error


def to_gradio_3d_orientation(mesh: "trimesh.Trimesh") -> "trimesh.Trimesh":
    """The mesh itself, turned in place as gradio's viewer wants it: (x, y, z) to (-y, z, -x)."""
    mesh.apply_transform(GRADIO_ORIENTATION)
    return mesh
