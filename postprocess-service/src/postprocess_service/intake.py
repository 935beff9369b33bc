"""What a mesh must be before anything is done to it: of a size that floats can tell apart, with faces that have area."""

import io

import numpy as np
from PIL import Image

from scratch3d.geometry.glb import Part
from scratch3d.geometry.measure import area_m2
from scratch3d.geometry.mesh import U8, InvalidMesh, Mesh

from .errors import BadMesh

#: Metres. Outside these, areas and normals leave the range of floats, and libraries loop or divide by zero.
LEAST_EXTENT_M, FARTHEST_M = 1e-6, 1e6
#: A surface thinner than this share of its extent is a line or a point.
LEAST_AREA_SHARE = 1e-9
MAX_TEXTURE_PX = 8192


def judged(mesh: Mesh) -> Mesh:
    """The same mesh, or BadMesh with what is wrong with it."""
    if mesh.is_empty:
        raise BadMesh("has no faces", field="mesh")
    corners = mesh.vertices[mesh.faces.reshape(-1)]
    low, high = corners.min(axis=0).astype(float), corners.max(axis=0).astype(float)
    extent = float((high - low).max())
    if np.abs([low, high]).max() > FARTHEST_M:
        raise BadMesh(f"reaches farther than {FARTHEST_M:g} m from the origin", field="mesh")
    if extent < LEAST_EXTENT_M:
        raise BadMesh(f"is smaller than {LEAST_EXTENT_M:g} m", field="mesh")
    if area_m2(mesh) < LEAST_AREA_SHARE * extent**2:
        raise BadMesh("has no area: all its faces are lines or points", field="mesh")
    return mesh


def texture_of(part: Part) -> U8 | None:
    """(h, w, 3) uint8 sRGB of the mesh's base colour, where it has UVs; BadMesh when it cannot be read."""
    if part.material.texture_png is None or part.mesh.uv is None:
        return None
    try:
        image = Image.open(io.BytesIO(part.material.texture_png), formats=("PNG",))
        if max(image.size) > MAX_TEXTURE_PX:
            raise InvalidMesh(f"its texture is {image.width} × {image.height}; at most {MAX_TEXTURE_PX} are read")
        return np.array(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        if isinstance(error, InvalidMesh):
            raise
        raise BadMesh("its texture is not a PNG that can be read", field="mesh") from None
