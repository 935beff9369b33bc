"""Fewer faces, same shape: quadric edge collapse (Garland & Heckbert 1997) by fast-simplification."""

from dataclasses import dataclass

import fast_simplification
import numpy as np

from scratch3d.geometry.measure import closedness
from scratch3d.geometry.mesh import Mesh

from .clean import compact, resample

#: Tried in turn: gentle collapses keep the shape best but may stop early or open the mesh.
AGGRESSIVENESS = (7.0, 5.0, 3.0)
#: A count within this share of the target is a hit.
TOLERANCE = 0.01


@dataclass(frozen=True, kw_only=True, eq=False)
class Decimated:
    """The smaller mesh, and why it is not smaller."""

    mesh: Mesh
    warnings: tuple[str, ...] = ()


def decimate(mesh: Mesh, target_faces: int) -> Decimated:
    """At most `target_faces` faces, colours taken over; a closed mesh stays closed or is left as it was."""
    if len(mesh.faces) <= target_faces:
        return Decimated(mesh=mesh)
    was_closed = closedness(mesh.faces).watertight
    best: Mesh | None = None
    for aggressiveness in AGGRESSIVENESS:
        small = _collapse(mesh, target_faces, aggressiveness)
        if small is None or (was_closed and not closedness(small.faces).watertight):
            continue
        if best is None or len(small.faces) < len(best.faces):
            best = small
        if len(best.faces) <= target_faces * (1 + TOLERANCE):
            break
    if best is None:
        return Decimated(mesh=mesh, warnings=("not decimated: every attempt would have opened the closed mesh",))
    warnings: tuple[str, ...] = ()
    if len(best.faces) > target_faces * (1 + TOLERANCE):
        warnings = (f"decimation stopped at {len(best.faces)} faces, {target_faces} were asked",)
    return Decimated(mesh=best.evolve(colours_linear=resample(mesh, best.vertices)), warnings=warnings)


def _collapse(mesh: Mesh, target_faces: int, aggressiveness: float) -> Mesh | None:
    vertices, faces = fast_simplification.simplify(
        mesh.vertices, mesh.faces, target_count=target_faces, agg=aggressiveness
    )
    small = Mesh(vertices=np.asarray(vertices, np.float32), faces=np.asarray(faces, np.int32))
    if small.is_empty or not np.isfinite(small.vertices).all():
        return None
    f = small.faces
    return compact(small, (f[:, 0] != f[:, 1]) & (f[:, 1] != f[:, 2]) & (f[:, 2] != f[:, 0]))
