"""The picture as texture: planar UVs, and colours carried outwards so that no background shows at the rim."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from scratch3d.geometry.mesh import F32, U8, Array, Mesh, split_creases, vertex_normals

#: Alpha from which a pixel's colour is the object's own.
OPAQUE = 250
#: An object of which less than this share is opaque is taken with its half transparent parts.
MOSTLY = 0.8


@dataclass(frozen=True, kw_only=True, eq=False)
class Skin:
    """One texture for both sides, and where in it each side lies."""

    #: (h, w, 3) uint8 sRGB
    texture: U8
    #: the back's share of u: (start, width); negative width: seen mirrored. The front's is (0, front_width)
    front_width: float
    back: tuple[float, float]


def mirrored(front: U8) -> Skin:
    """The back shows what the front shows."""
    return Skin(texture=_carried(front), front_width=1.0, back=(0.0, 1.0))


def plain(front: U8, colour: tuple[int, int, int] | None) -> Skin:
    """The back has one colour: the given one, or the median of the front's."""
    picture = _carried(front)
    if colour is None:
        r, g, b = np.median(front[front[..., 3] > 127][:, :3], axis=0)
        colour = (int(r), int(g), int(b))
    strip = np.broadcast_to(np.array(colour, np.uint8), (len(picture), 16, 3))
    whole = np.concatenate([picture, strip], axis=1)
    width = picture.shape[1] / whole.shape[1]
    return Skin(texture=whole, front_width=width, back=((1.0 + width) / 2, 0.0))


def two_sided(front: U8, behind: U8) -> Skin:
    """The back has a picture of its own, taken from behind."""
    whole = np.concatenate([_carried(front), _carried(behind)], axis=1)
    # From behind right is left: the back's picture runs the other way.
    return Skin(texture=whole, front_width=0.5, back=(1.0, -0.5))


def dressed(mesh: Mesh, places: F32, skin: Skin) -> Mesh:
    """The mesh with normals and UVs; `places` (n, 2) are the vertices in the picture, 0..1, origin at the top left.

    Vertices are split where front and back meet, unless both show the same.
    """
    normals = vertex_normals(mesh.vertices, mesh.faces)
    if skin.back == (0.0, skin.front_width):
        return mesh.evolve(normals=normals, uv=places)
    # A mark per corner, carried as a normal through the splitting: the side its face looks to.
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    front = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] >= 0
    mark = np.where(front, 1.0, -1.0)[:, None, None] * np.array([0.0, 0.0, 1.0])
    carrier = mesh.evolve(uv=places, colours_linear=normals)
    split = split_creases(carrier, np.broadcast_to(mark, corners.shape).astype(np.float32))
    assert split.normals is not None and split.uv is not None, "split keeps what it was given"
    u, v = split.uv.T
    start, width = skin.back
    on_front = split.normals[:, 2] > 0
    uv = np.stack([np.where(on_front, u * skin.front_width, start + u * width), v], axis=1).astype(np.float32)
    return Mesh(vertices=split.vertices, faces=split.faces, normals=split.colours_linear, uv=uv)


def _carried(rgba: U8) -> Array:
    """(h, w, 3): every pixel that is not wholly the object's has the colour of the nearest one that is."""
    opaque, inside = rgba[..., 3] >= OPAQUE, rgba[..., 3] > 127
    if opaque.sum() < MOSTLY * inside.sum():
        opaque = inside  # glass, smoke, soft fur: what is half transparent has a colour of its own
    nearest = ndimage.distance_transform_edt(~opaque, return_distances=False, return_indices=True)
    return np.asarray(rgba[..., :3][tuple(nearest)])
