"""What runs in the engine's process: load the views, reconstruct, check, store the mesh."""

import io
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np
from PIL import Image

from scratch3d.contracts.artifacts import ArtifactRef
from scratch3d.contracts.meshes import ReconstructRequest, ReconstructResult
from scratch3d.contracts.views import NAMED_VIEWS, Camera, View
from scratch3d.geometry.glb import Material, Part, write_glb
from scratch3d.geometry.mesh import U8, InvalidMesh, Mesh, checked
from scratch3d.servicekit import registry
from scratch3d.servicekit.artifacts import ArtifactStore, key_from_path
from scratch3d.servicekit.errors import NotFound, Unprocessable
from scratch3d.servicekit.runner import Payload, Report

from .engines import GROUP
from .engines.base import Reconstruction, Reconstructor, Sight
from .errors import BadViews, EmptyMesh, NotFinite, WrongType
from .settings import Settings

#: What the seed's bare `image_paths` show, in their order.
RING = ("front", "right", "back", "left")
#: Half width of the cameras that the seed's bare `image_paths` are taken with.
SEED_HALF_WIDTH_M = 0.6


class ReconstructWork:
    """One reconstruction engine with its file handling."""

    def __init__(self, engine_name: str, settings: Settings) -> None:
        self.artifacts = ArtifactStore(settings.data_dir)
        self.engine_name = engine_name
        self.engine: Reconstructor = registry.create(GROUP, engine_name, settings)

    def load(self) -> None:
        """Bring the engine up."""
        self.engine.load()

    def run(self, request: Payload, report: Report) -> Payload:
        """A ReconstructRequest to a ReconstructResult."""
        started = perf_counter()
        wish = ReconstructRequest.model_validate(request)
        sights = [self._sight(view) for view in self._views(wish)]
        made = self.engine.reconstruct(
            sights,
            resolution=wish.resolution,
            seed=wish.seed,
            options=wish.options,
            report=lambda f, phase: report(0.05 + 0.85 * f, phase),
        )
        mesh = _checked(made)
        report(0.92, "storing")
        glb = write_glb([Part(mesh=mesh, material=_material(made))])
        ref = self.artifacts.put(f"{wish.output_prefix or 'cache/reconstruction-service'}/raw.glb", glb)
        return ReconstructResult(
            engine=self.engine_name,
            engine_version=self.engine.card().version,
            mesh=ref,
            faces=len(mesh.faces),
            vertices=len(mesh.vertices),
            warnings=made.warnings,
            duration_s=round(perf_counter() - started, 4),
            mesh_path=ref.public_path,
        ).model_dump(mode="json")

    def close(self) -> None:
        """Close the engine."""
        self.engine.close()

    def _views(self, wish: ReconstructRequest) -> Sequence[View]:
        if bool(wish.views) == bool(wish.image_paths):
            raise BadViews("give exactly one of views and image_paths", field="views")
        if wish.views:
            return wish.views
        if len(wish.image_paths) > len(RING):
            raise BadViews("image_paths are front, right, back, left; use views for more", field="image_paths")
        return [self._named_view(n, p, i) for i, (n, p) in enumerate(zip(RING, wish.image_paths, strict=False))]

    def _named_view(self, name: str, path: str, number: int) -> View:
        field = f"image_paths[{number}]"
        try:
            ref = self.artifacts.reference(key_from_path(path, field=field))
        except NotFound as error:
            raise Unprocessable(error.detail, code="not_found", field=field) from None
        azimuth, elevation = NAMED_VIEWS[name]
        camera = Camera(azimuth_deg=azimuth, elevation_deg=elevation, half_width_m=SEED_HALF_WIDTH_M)
        return View(name=name, ref=ref, camera=camera, alpha_trusted=True, calibrated=False)

    def _sight(self, view: View) -> Sight:
        return Sight(
            name=view.name,
            camera=view.camera,
            rgba=self._picture(view.name, view.ref),
            unlit_rgba=self._picture(view.name, view.unlit_ref) if view.unlit_ref else None,
            alpha_trusted=view.alpha_trusted,
            calibrated=view.calibrated,
        )

    def _picture(self, name: str, ref: ArtifactRef) -> U8:
        try:
            content = self.artifacts.get(ref)
            image = Image.open(io.BytesIO(content), formats=("PNG",))
            if image.width != image.height or image.width > 2048:
                raise BadViews(f"view {name} is {image.width} × {image.height}: square views up to 2048 are read")
            return np.array(image.convert("RGBA"))
        except (NotFound, OSError, ValueError, SyntaxError) as error:
            raise BadViews(f"view {name} cannot be read: {error}", field="views") from None


def create(arguments: dict[str, Any]) -> ReconstructWork:
    """Called in the child process by the runner."""
    return ReconstructWork(arguments["engine"], Settings.model_validate(arguments["settings"]))


def _material(made: Reconstruction) -> Material:
    if made.texture is None:
        return Material(name="vertex_colour")
    buffer = io.BytesIO()
    Image.fromarray(made.texture).save(buffer, "PNG", compress_level=1)
    return Material(name="texture", texture_png=buffer.getvalue())


def _checked(made: object) -> Mesh:
    """The mesh an engine gave, or what is wrong with it: engines are strangers."""
    if not isinstance(made, Reconstruction) or not isinstance(made.mesh, Mesh):
        raise WrongType(f"the engine returned {type(made).__name__}, not a mesh")
    if made.mesh.is_empty:
        raise EmptyMesh()
    if not np.isfinite(made.mesh.vertices).all():
        raise NotFinite()
    try:
        return checked(made.mesh)
    except InvalidMesh as error:
        raise WrongType(str(error)) from None
