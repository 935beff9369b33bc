"""The colour of the network's surface as a texture."""

from dataclasses import dataclass

import numpy as np
import torch

from scratch3d.geometry.mesh import U8, Array, Mesh
from scratch3d.servicekit.runner import Report
from tsr.bake_texture import bake_texture
from tsr.isosurface import Surface
from tsr.system import TSR


@dataclass(frozen=True, kw_only=True)
class _Triangles:
    vertices: Array
    faces: Array


def textured(network: TSR, code: torch.Tensor, found: Surface, texture_px: int, report: Report) -> tuple[Mesh, U8]:
    """The surface with UVs, still in the network's frame, and its (texture_px, texture_px, 3) texture."""
    report(0.0, "unwrapping")
    triangles = _Triangles(vertices=found.vertices.cpu().numpy(), faces=found.faces.cpu().numpy())
    baked = bake_texture(triangles, network, code, texture_px)
    report(0.9, "texturing")
    # Row 0 of the texture is v = 0 there and at the top in glTF, where v = 0 is the top: neither has to be turned.
    mesh = Mesh(
        vertices=triangles.vertices[baked["vmapping"]],
        faces=baked["indices"].astype(np.int32),
        uv=np.clip(baked["uvs"], 0, 1).astype(np.float32),
    )
    return mesh, np.rint(baked["colors"][..., :3] * 255).astype(np.uint8)
