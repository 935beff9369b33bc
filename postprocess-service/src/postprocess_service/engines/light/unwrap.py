"""UV atlas: our own charts, packed by xatlas.

xatlas grows charts in more than linear time and returns hundreds of small ones for a carved mesh. Charts of our own
(see charts.py) take a hundredth of a second for 20,000 faces; xatlas then only packs them, all together. Against one
plain call the whole is 5 to 20 times faster, fills the texture better and splits fewer vertices: benchmarks/unwrap.py.
"""

from dataclasses import dataclass

import numpy as np
import xatlas

from scratch3d.geometry.mesh import Mesh

from .charts import cut, projected

#: Free texels between charts, at the size of the texture.
PADDING_PX = 2
#: Packing tries every place at half the texture's resolution: a quarter of the time, as dense to a percent.
PACK_SHARE = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Unwrapped:
    """The mesh with UVs; face i is face i of the source."""

    mesh: Mesh
    charts: int


def unwrap(mesh: Mesh, texture_px: int) -> Unwrapped:
    """`mesh` with a UV atlas for a square texture of `texture_px`."""
    source, faces, places = projected(mesh, cut(mesh))
    places = (places - places.min(axis=0)) / max(float(np.ptp(places, axis=0).max()), 1e-20)
    atlas = xatlas.Atlas()
    atlas.add_mesh(mesh.vertices[source], faces.astype(np.uint32), uvs=places.astype(np.float32))
    atlas.generate(_given_charts(), _packing(texture_px))
    mapping, opened, uv = atlas[0]
    vertices = source[mapping]
    return Unwrapped(
        mesh=Mesh(
            vertices=mesh.vertices[vertices],
            faces=opened.astype(np.int32),
            normals=None if mesh.normals is None else mesh.normals[vertices],
            uv=np.clip(uv, 0.0, 1.0).astype(np.float32),
        ),
        charts=int(atlas.chart_count),
    )


def _given_charts() -> xatlas.ChartOptions:
    options = xatlas.ChartOptions()
    options.use_input_mesh_uvs = True
    return options


def _packing(texture_px: int) -> xatlas.PackOptions:
    options = xatlas.PackOptions()
    options.resolution = max(64, texture_px // PACK_SHARE)
    options.padding = max(1, PADDING_PX // PACK_SHARE)
    options.bilinear = options.bruteForce = True
    return options
