"""Fewer faces, same shape: quadric edge collapse (Garland & Heckbert 1997) by fast-simplification."""

from dataclasses import dataclass

import fast_simplification
import numpy as np

from scratch3d.geometry.measure import closedness, euler_number
from scratch3d.geometry.mesh import Mesh, compact

from .clean import resample

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
    was_closed, euler = closedness(mesh.faces).watertight, euler_number(mesh.faces)
    best, other = None, None
    for target, aggressiveness in _attempts(target_faces, len(mesh.faces)):
        small = _collapse(mesh, target, aggressiveness)
        if small is None or (was_closed and not closedness(small.faces).watertight):
            continue
        if was_closed and euler_number(small.faces) != euler:
            # A hole was closed, or a thin part pinched off: better than a mesh nobody can use, if nothing else works.
            other = _smaller(small, other)
            continue
        best = _smaller(small, best)
        if len(best.faces) <= target * (1 + TOLERANCE):
            break
    chosen = best if best is not None else other
    if chosen is None:
        return Decimated(mesh=mesh, warnings=("not decimated: every attempt would have opened the closed mesh",))
    warnings = []
    if best is None:
        warnings.append("decimation closed holes of the shape, or cut thin parts off: ask for more faces to keep them")
    if len(chosen.faces) > target_faces * (1 + TOLERANCE):
        warnings.append(f"decimation stopped at {len(chosen.faces)} faces, {target_faces} were asked")
    return Decimated(mesh=chosen.evolve(colours_linear=resample(mesh, chosen.vertices)), warnings=tuple(warnings))


def _attempts(target_faces: int, faces: int) -> list[tuple[int, float]]:
    """(target, aggressiveness), the best first: gently as few as were asked, then more faces."""
    asked = [(target_faces, aggressiveness) for aggressiveness in AGGRESSIVENESS]
    return asked + [(target_faces * more, AGGRESSIVENESS[-1]) for more in (2, 4) if target_faces * more < faces]


def _smaller(one: Mesh, other: Mesh | None) -> Mesh:
    return one if other is None or len(one.faces) < len(other.faces) else other


def _collapse(mesh: Mesh, target_faces: int, aggressiveness: float) -> Mesh | None:
    vertices, faces = fast_simplification.simplify(
        mesh.vertices, mesh.faces, target_count=target_faces, agg=aggressiveness
    )
    small = Mesh(vertices=np.asarray(vertices, np.float32), faces=np.asarray(faces, np.int32))
    if small.is_empty or not np.isfinite(small.vertices).all():
        return None
    f = small.faces
    return compact(small, (f[:, 0] != f[:, 1]) & (f[:, 1] != f[:, 2]) & (f[:, 2] != f[:, 0]))
