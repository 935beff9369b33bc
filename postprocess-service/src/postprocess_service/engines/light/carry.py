"""UVs of a mesh carried over to one with fewer faces, so that a texture it came with stays as it is.

A new face takes the chart of the old surface nearest to its middle. Each corner then takes its place in the texture from
the nearest old triangle of that chart, whose mapping is extended over its borders: a planar mapping is carried exactly,
however few faces are left.
"""

import numpy as np
from scipy.spatial import cKDTree

from scratch3d.geometry.jit import kernel
from scratch3d.geometry.measure import components
from scratch3d.geometry.mesh import F32, F64, I32, I64, U8, Array, Mesh, srgb_to_linear
from scratch3d.geometry.raster import rasterise

#: A mapping is extended over a triangle's border by at most this share of it.
REACH = 2.0
#: Old vertices whose triangles are looked at for one place.
NEIGHBOURS = 3


def sampled(texture: U8, uv: F32) -> F32:
    """(n, 3) linear colours of a texture at (n, 2) UVs, nearest texel."""
    height, width = texture.shape[:2]
    column = np.clip((uv[:, 0] * width).astype(int), 0, width - 1)
    row = np.clip((uv[:, 1] * height).astype(int), 0, height - 1)
    return np.asarray(srgb_to_linear(np.arange(256) / 255.0)[texture[row, column]])


def coverage(mesh: Mesh, texture: U8) -> Array:
    """(h, w) bool: texels inside some face of the UV map."""
    assert mesh.uv is not None, "coverage needs UVs"
    height, width = texture.shape[:2]
    screen = np.concatenate([mesh.uv.astype(np.float64) * (width, height), np.zeros((len(mesh.uv), 1))], axis=1)
    return rasterise(screen, mesh.faces, height, width).mask


def carried(source: Mesh, target: Mesh) -> tuple[Mesh, int]:
    """`target` with the UVs of `source`, its vertices split where charts meet; and the number of charts."""
    assert source.uv is not None, "there are UVs to carry"
    count, chart_of_face = components(len(source.vertices), source.faces)
    chart = _charts(source, chart_of_face, target)
    # Each pair of a vertex and a chart becomes a vertex of its own.
    keys = target.faces.astype(np.int64) * count + chart[:, None]
    pairs, faces = np.unique(keys, return_inverse=True)
    vertex, at_chart = pairs // count, pairs % count
    uv = np.empty((len(pairs), 2), np.float32)
    for name in np.unique(at_chart):
        mine = at_chart == name
        uv[mine] = _places(source, source.faces[chart_of_face == name], target.vertices[vertex[mine]])
    return (
        Mesh(
            vertices=target.vertices[vertex],
            faces=faces.reshape(-1, 3).astype(np.int32),
            normals=None if target.normals is None else target.normals[vertex],
            uv=np.clip(uv, 0.0, 1.0),
        ),
        len(np.unique(chart)),
    )


def _charts(source: Mesh, chart_of_face: I32, target: Mesh) -> I64:
    """(m,) chart of each face of `target`: that of the old face nearest to its middle which looks the same way."""
    old, new = (mesh.vertices[mesh.faces].astype(np.float64) for mesh in (source, target))
    towards = [np.cross(c[:, 1] - c[:, 0], c[:, 2] - c[:, 0]) for c in (old, new)]
    _, near = cKDTree(old.mean(axis=1)).query(new.mean(axis=1), k=min(8, len(old)), workers=-1)
    near = near.reshape(len(new), -1)
    agree = np.einsum("nkc,nc->nk", towards[0][near], towards[1]) > 0
    # The nearest that agrees; the very nearest where none does.
    return np.asarray(chart_of_face[near[np.arange(len(near)), agree.argmax(axis=1)]], np.int64)


def _places(source: Mesh, faces: I32, points: F32) -> F32:
    """(n, 2) UVs of points on or near the faces of one chart."""
    assert source.uv is not None, "there are UVs to carry"
    used, local = np.unique(faces, return_inverse=True)
    local = local.reshape(-1, 3)
    order = np.argsort(local.ravel(), kind="stable")
    starts = np.searchsorted(local.ravel()[order], np.arange(len(used) + 1))
    vertices = source.vertices[used].astype(np.float64)
    _, near = cKDTree(vertices).query(points, k=min(NEIGHBOURS, len(used)), workers=-1)
    near = np.ascontiguousarray(near.reshape(len(points), -1))
    return _extended(
        points.astype(np.float64),
        near,
        order // 3,
        starts,
        vertices,
        local.astype(np.int32),
        source.uv[used].astype(np.float64),
    )


@kernel
def _extended(points: F64, near: I64, around: I64, starts: I64, vertices: F64, faces: I32, uv: F64) -> F32:
    out = np.zeros((len(points), 2), np.float32)
    for n in range(len(points)):
        least = 1e300
        for k in range(near.shape[1]):
            for i in range(starts[near[n, k]], starts[near[n, k] + 1]):
                a, b, c = faces[around[i]]
                x, y, away, size = _barycentric(points[n], vertices[a], vertices[b], vertices[c])
                # A place beside the triangle is as far away as it is outside, and as it is above.
                outside = max(0.0, -x, -y, x + y - 1.0)
                if away + outside * outside * size < least and outside < REACH:
                    least = away + outside * outside * size
                    for axis in range(2):
                        out[n, axis] = uv[a, axis] + x * (uv[b, axis] - uv[a, axis]) + y * (uv[c, axis] - uv[a, axis])
        if least == 1e300:
            for axis in range(2):
                out[n, axis] = uv[near[n, 0], axis]
    return out


@kernel
def _barycentric(p: F64, a: F64, b: F64, c: F64) -> tuple[float, float, float, float]:
    """Shares of b and c at the foot of p on the plane of abc, p's squared distance from it, and abc's squared size."""
    ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    wx, wy, wz = p[0] - a[0], p[1] - a[1], p[2] - a[2]
    uu, uv, vv = ux * ux + uy * uy + uz * uz, ux * vx + uy * vy + uz * vz, vx * vx + vy * vy + vz * vz
    wu, wv = wx * ux + wy * uy + wz * uz, wx * vx + wy * vy + wz * vz
    area = uu * vv - uv * uv
    if area < 1e-24 * (uu + vv) ** 2 or area == 0.0:
        return 0.0, 0.0, wx * wx + wy * wy + wz * wz, uu + vv
    x, y = (vv * wu - uv * wv) / area, (uu * wv - uv * wu) / area
    dx, dy, dz = wx - x * ux - y * vx, wy - x * uy - y * vy, wz - x * uz - y * vz
    return x, y, dx * dx + dy * dy + dz * dz, max(uu, vv)
