"""Pictures of the finished model: a preview on the ground and a turntable."""

import io

import numpy as np
from PIL import Image, ImageFilter

from scratch3d.contracts.views import Camera
from scratch3d.geometry.camera import project
from scratch3d.geometry.mesh import U8, Mesh, to_u8
from scratch3d.geometry.raster import rasterise
from scratch3d.geometry.render import Surface, render, surface_of

PREVIEW_PX, TURNTABLE_PX, FRAMES = 640, 320, 24
ELEVATION_DEG, AZIMUTH_DEG = 18.0, 32.0
FRAME_MS = 80
BACKDROP_TOP, BACKDROP_BOTTOM = (243, 244, 246), (214, 217, 222)


def preview(mesh: Mesh, texture: U8 | None) -> bytes:
    """A PNG of the model seen from the front, a little right and above, with a soft shadow on the ground."""
    centred, reach = _centred(mesh)
    camera = Camera(azimuth_deg=AZIMUTH_DEG, elevation_deg=ELEVATION_DEG, half_width_m=reach)
    surface = surface_of(centred, texture=texture)
    picture = Image.fromarray(render(surface, camera, PREVIEW_PX, samples=3)[0])
    canvas = _backdrop(PREVIEW_PX)
    shadow = _shadow(centred, camera, PREVIEW_PX)
    canvas.paste(Image.new("RGB", canvas.size, (60, 64, 72)), (0, 0), shadow)
    canvas.paste(picture, (0, 0), picture)
    buffer = io.BytesIO()
    canvas.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def turntable(mesh: Mesh, texture: U8 | None) -> bytes:
    """An animated WebP of one turn, counter-clockwise seen from above."""
    centred, reach = _centred(mesh)
    surface = surface_of(centred, texture=texture)
    backdrop = _backdrop(TURNTABLE_PX)
    frames = [_frame(surface, backdrop, AZIMUTH_DEG + 360.0 * n / FRAMES, reach) for n in range(FRAMES)]
    buffer = io.BytesIO()
    frames[0].save(
        buffer, "WEBP", save_all=True, append_images=frames[1:], duration=FRAME_MS, loop=0, quality=80, method=2
    )
    return buffer.getvalue()


def _frame(surface: Surface, backdrop: Image.Image, azimuth_deg: float, reach: float) -> Image.Image:
    turned = (azimuth_deg + 180.0) % 360.0 - 180.0
    camera = Camera(azimuth_deg=turned, elevation_deg=ELEVATION_DEG, half_width_m=reach)
    picture = Image.fromarray(render(surface, camera, TURNTABLE_PX, samples=2)[0])
    canvas = backdrop.copy()
    canvas.paste(picture, (0, 0), picture)
    return canvas


def _centred(mesh: Mesh) -> tuple[Mesh, float]:
    """The mesh with its middle at the origin, and a half width that holds it from every side."""
    low, high = mesh.bounds
    moved = (mesh.vertices - (low + high) / 2).astype(np.float32)
    radius = float(np.hypot(moved[:, 0], moved[:, 2]).max())
    e = np.radians(ELEVATION_DEG)
    upright = float((high[1] - low[1]) / 2 * np.cos(e) + radius * np.sin(e))
    return mesh.evolve(vertices=moved), round(max(radius, upright) * 1.12, 6)


def _backdrop(size: int) -> Image.Image:
    t = np.linspace(0, 1, size)[:, None, None]
    column = np.asarray(BACKDROP_TOP) * (1 - t) + np.asarray(BACKDROP_BOTTOM) * t
    return Image.fromarray(np.broadcast_to(np.rint(column), (size, size, 3)).astype(np.uint8))


def _shadow(mesh: Mesh, camera: Camera, size: int) -> Image.Image:
    """The model pressed flat onto the ground, away from the key light, as a soft mask."""
    ground = mesh.vertices[:, 1].min()
    flat = mesh.vertices.astype(np.float64).copy()
    height = flat[:, 1] - ground
    flat[:, 0] += 0.14 * height
    flat[:, 2] -= 0.14 * height
    flat[:, 1] = ground
    mask = rasterise(project(flat, camera, size), mesh.faces, size, size).mask
    return Image.fromarray(to_u8(mask * 0.42)).filter(ImageFilter.GaussianBlur(size / 64))
