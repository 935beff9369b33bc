"""A description becomes geometry: placed, coloured, and scaled into the unit cube."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import ImageColor

from scratch3d.geometry.glb import Material, Part
from scratch3d.geometry.mesh import F64, Mesh, corner_normals, merged, split_creases, srgb_to_linear

from .grammar import Item
from .solids import SOLIDS
from .vocabulary import COLOURS, DEFAULT_MATERIAL, MATERIALS

#: Free space between things that stand beside each other, in units of their widths' mean.
GAP = 0.18
#: Round things sink this share of their height into what carries them: a touching point would hold nothing.
SINK = 0.03
_ROUND_BELOW = frozenset({"sphere", "ellipsoid", "capsule", "octahedron"})


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """Closed, coloured parts in our frame: longest side one metre, bounding box centred on the origin."""

    parts: tuple[Part, ...]

    @property
    def mesh(self) -> Mesh:
        """All parts as one mesh with vertex colours."""
        return merged([part.mesh for part in self.parts])


def build(items: Sequence[Item]) -> Scene:
    """Place the things from the last to the first, each against the one it relates to.

    Beside something means on the ground, clear of everything that is placed already: nothing ever floats.
    """
    meshes = [_sized(item) for item in items]
    offsets: list[F64] = [np.zeros(3)] * len(items)
    left = float(meshes[-1].bounds[0][0])
    for i in range(len(items) - 2, -1, -1):
        if items[i].relation == "on":
            offsets[i] = offsets[i + 1] + _rest_on(items[i], meshes[i], meshes[i + 1])
        else:
            offsets[i] = np.array([left - _clearance(meshes[i], meshes[i + 1]), 0.0, 0.0])
        left = min(left, float(meshes[i].bounds[0][0] + offsets[i][0]))
    placed = [mesh.vertices + offset for mesh, offset in zip(meshes, offsets, strict=True)]
    low = np.min([p.min(axis=0) for p in placed], axis=0)
    high = np.max([p.max(axis=0) for p in placed], axis=0)
    centre, scale = (low + high) / 2, 1.0 / (high - low).max()
    parts = [
        _part(item, mesh.evolve(vertices=((p - centre) * scale).astype(np.float32)), number)
        for number, (item, mesh, p) in enumerate(zip(items, meshes, placed, strict=True), start=1)
    ]
    return Scene(parts=tuple(parts))


def _sized(item: Item) -> Mesh:
    mesh = SOLIDS[item.solid]()
    return mesh.evolve(vertices=(mesh.vertices * np.asarray(item.scale)).astype(np.float32))


def _rest_on(item: Item, mesh: Mesh, below: Mesh) -> F64:
    height = mesh.bounds[1][1] - mesh.bounds[0][1]
    sink = SINK * height if item.solid in _ROUND_BELOW else 0.0
    return np.array([0.0, below.bounds[1][1] - mesh.bounds[0][1] - sink, 0.0])


def _clearance(mesh: Mesh, neighbour: Mesh) -> float:
    """How far left of an obstacle the mesh's own centre must stand."""
    widths = [high[0] - low[0] for low, high in (mesh.bounds, neighbour.bounds)]
    return float(mesh.bounds[1][0] + GAP * sum(widths) / 2)


def _part(item: Item, mesh: Mesh, number: int) -> Part:
    finish = MATERIALS[item.material or DEFAULT_MATERIAL]
    colour = ImageColor.getrgb(COLOURS[item.colour] if item.colour else finish.colour)
    r, g, b = (float(c) for c in srgb_to_linear(np.array(colour[:3]) / 255.0))
    coloured = mesh.evolve(colours_linear=np.broadcast_to(np.array([r, g, b], np.float32), mesh.vertices.shape).copy())
    name = f"{number}-{item.solid}"
    return Part(
        mesh=coloured, name=name, material=Material(name=name, metallic=finish.metallic, roughness=finish.roughness)
    )


def with_creases(part: Part) -> Part:
    """The part with vertices split along its creases, so that viewers draw sharp edges sharp."""
    mesh = split_creases(part.mesh, corner_normals(part.mesh.vertices, part.mesh.faces))
    return Part(mesh=mesh, material=part.material, name=part.name)
