"""Pictures of a mesh: true alpha by supersampling, an unlit pass, and a plain world-fixed light.

The light has no view-dependent term: the same point has the same colour in every view. With a light fixed to the
camera the views of one object disagree by 5 to 8 ΔE, which reconstruction would have to average away.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from scratch3d.contracts.views import Camera

from .camera import basis, project
from .jit import kernel, parallel_kernel, prange
from .mesh import F32, F64, I32, U8, Array, Mesh, corner_normals, linear_to_srgb, to_u8
from .raster import Hits, rasterise

#: (direction to the light, strength): a key from the upper left front, a fill from the right, a rim from behind.
LIGHTS = (((-0.45, 0.75, 0.65), 0.62), ((0.85, 0.25, 0.45), 0.26), ((0.0, 0.45, -0.9), 0.22))
AMBIENT_SKY, AMBIENT_GROUND = 0.46, 0.28


@dataclass(frozen=True, kw_only=True, eq=False)
class Surface:
    """What can be drawn: geometry by face corner, and where its colour comes from."""

    vertices: Array
    faces: I32
    #: (m, 3, 3) float32 unit normals by face corner
    normals: F32
    #: (m, 3, 3) float32 linear RGB by face corner, or None with a texture
    colours_linear: F32 | None = None
    #: (m, 3, 2) float32 by face corner
    uv: F32 | None = None
    #: (h, w, 3) uint8 sRGB
    texture: U8 | None = None


def surface_of(mesh: Mesh, *, texture: U8 | None = None, crease_deg: float = 35.0) -> Surface:
    """A mesh with vertex colours, with UVs and a texture, or bare (drawn in light grey)."""
    normals = (
        mesh.normals[mesh.faces]
        if mesh.normals is not None
        else corner_normals(mesh.vertices, mesh.faces, crease_deg=crease_deg)
    )
    if texture is not None and mesh.uv is not None:
        return Surface(
            vertices=mesh.vertices, faces=mesh.faces, normals=normals, uv=mesh.uv[mesh.faces], texture=texture
        )
    colours = mesh.colours_linear if mesh.colours_linear is not None else np.full_like(mesh.vertices, 0.55)
    return Surface(vertices=mesh.vertices, faces=mesh.faces, normals=normals, colours_linear=colours[mesh.faces])


def render(surface: Surface, camera: Camera, size_px: int, *, samples: int = 4) -> tuple[U8, U8]:
    """Two (size, size, 4) uint8 sRGB pictures with straight alpha: lit and unlit; `samples`² rays per pixel.

    Samples are averaged in linear light over the rays that hit; alpha is the share of rays that hit.
    """
    hits = trace(surface, camera, size_px * samples)
    lit, unlit, count = _shade(
        hits.face, hits.bary, samples, surface.normals, *_paint(surface), basis(camera)[2], _lamps(), _SRGB_TABLE
    )
    alpha = (count / samples**2)[..., None]
    return to_u8(np.concatenate([linear_to_srgb(lit), alpha], axis=2)), to_u8(
        np.concatenate([linear_to_srgb(unlit), alpha], axis=2)
    )


def _paint(surface: Surface) -> tuple[F32, F32, U8]:
    """Colours by corner, UVs by corner and texture; the ones not used are empty."""
    if surface.texture is not None and surface.uv is not None:
        return np.zeros((0, 3, 3), np.float32), surface.uv, np.ascontiguousarray(surface.texture[..., :3])
    assert surface.colours_linear is not None, "a surface has colours or a texture"
    return surface.colours_linear, np.zeros((0, 3, 2), np.float32), np.zeros((0, 0, 3), np.uint8)


def _lamps() -> F32:
    """(n, 4) unit direction to each lamp and its strength."""
    return np.array([(*(np.array(d) / np.linalg.norm(d)), s) for d, s in LIGHTS], np.float32)


def trace(surface: Surface, camera: Camera, size_px: int) -> Hits:
    """One ray per pixel against the surface."""
    return rasterise(project(surface.vertices, camera, size_px), surface.faces, size_px, size_px)


@parallel_kernel
def _shade(
    face: I32,
    bary: F32,
    samples: int,
    normals: F32,
    colours: F32,
    uv: F32,
    texture: U8,
    back: F64,
    lamps: F32,
    table: F32,
) -> tuple[F32, F32, I32]:
    size = face.shape[0] // samples
    lit = np.zeros((size, size, 3), np.float32)
    unlit = np.zeros((size, size, 3), np.float32)
    count = np.zeros((size, size), np.int32)
    for row in prange(size):
        base = np.zeros(3, np.float32)
        for y in range(row * samples, (row + 1) * samples):
            for x in range(size * samples):
                f = face[y, x]
                if f < 0:
                    continue
                b, c = bary[y, x, 0], bary[y, x, 1]
                a = np.float32(1) - b - c
                if len(uv):
                    u = uv[f, 0, 0] * a + uv[f, 1, 0] * b + uv[f, 2, 0] * c
                    v = uv[f, 0, 1] * a + uv[f, 1, 1] * b + uv[f, 2, 1] * c
                    _texel(texture, table, u, v, base)
                else:
                    for k in range(3):
                        base[k] = colours[f, 0, k] * a + colours[f, 1, k] * b + colours[f, 2, k] * c
                light = _light(normals[f], a, b, c, back, lamps)
                column = x // samples
                count[row, column] += 1
                for k in range(3):
                    unlit[row, column, k] += base[k]
                    lit[row, column, k] += base[k] * light
        for column in range(size):
            if count[row, column]:
                for k in range(3):
                    lit[row, column, k] /= count[row, column]
                    unlit[row, column, k] /= count[row, column]
    return lit, unlit, count


@kernel
def _light(normals: F32, a: float, b: float, c: float, back: F64, lamps: F32) -> Any:
    """Light received: hemisphere ambient plus distant lamps; a face seen from behind is lit as if it faced us."""
    x = normals[0, 0] * a + normals[1, 0] * b + normals[2, 0] * c
    y = normals[0, 1] * a + normals[1, 1] * b + normals[2, 1] * c
    z = normals[0, 2] * a + normals[1, 2] * b + normals[2, 2] * c
    scale = 1.0 / max(np.sqrt(x * x + y * y + z * z), 1e-9)
    if x * back[0] + y * back[1] + z * back[2] < 0:
        scale = -scale
    x, y, z = x * scale, y * scale, z * scale
    total = AMBIENT_GROUND + (AMBIENT_SKY - AMBIENT_GROUND) * (y * 0.5 + 0.5)
    for lamp in range(len(lamps)):
        facing = x * lamps[lamp, 0] + y * lamps[lamp, 1] + z * lamps[lamp, 2]
        total += lamps[lamp, 3] * max(facing, 0.0)
    return total


@kernel
def _texel(texture: U8, table: F32, u: float, v: float, out: F32) -> None:
    """Bilinear lookup in linear light, clamped at the border."""
    height, width = texture.shape[0], texture.shape[1]
    x = min(max(u * width - 0.5, 0.0), width - 1.0)
    y = min(max(v * height - 0.5, 0.0), height - 1.0)
    x0, y0 = int(x), int(y)
    x1, y1 = min(x0 + 1, width - 1), min(y0 + 1, height - 1)
    fx, fy = x - x0, y - y0
    for k in range(3):
        top = table[texture[y0, x0, k]] * (1 - fx) + table[texture[y0, x1, k]] * fx
        bottom = table[texture[y1, x0, k]] * (1 - fx) + table[texture[y1, x1, k]] * fx
        out[k] = top * (1 - fy) + bottom * fy


def _srgb_table() -> F32:
    c = np.arange(256) / 255.0
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4).astype(np.float32)


_SRGB_TABLE = _srgb_table()
