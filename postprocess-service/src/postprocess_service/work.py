"""What runs in the engine's process: read the raw mesh, finish it, write every file, measure what was written."""

import json
from time import perf_counter
from typing import Any

import numpy as np

from scratch3d.contracts.artifacts import ArtifactRef
from scratch3d.contracts.meshes import CleanRequest, CleanResult, MeshReport, OutputFile, TextureReport
from scratch3d.geometry.glb import read_part
from scratch3d.geometry.measure import area_m2, closedness, components, volume_m3
from scratch3d.geometry.mesh import U8, InvalidMesh, Mesh, vertex_normals
from scratch3d.servicekit import registry
from scratch3d.servicekit.artifacts import ArtifactStore, key_from_path
from scratch3d.servicekit.errors import NotAvailable, NotFound, Unprocessable
from scratch3d.servicekit.runner import Payload, Report

from . import export, pictures
from .engines import GROUP
from .engines.base import Finished, Postprocessor, Wish
from .engines.light.carry import coverage, sampled
from .engines.light.clean import weld
from .errors import BadMesh
from .intake import judged, texture_of
from .settings import Settings


class CleanWork:
    """One post-processing engine with its file handling."""

    def __init__(self, engine_name: str, settings: Settings) -> None:
        self.artifacts = ArtifactStore(settings.data_dir)
        self.engine_name = engine_name
        self.engine: Postprocessor = registry.create(GROUP, engine_name, settings)

    def load(self) -> None:
        """Bring the engine up, and compile the renderer before the first request."""
        self.engine.load()
        tetrahedron = Mesh(
            vertices=np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32),
            faces=np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]], np.int32),
        )
        pictures.preview(tetrahedron, None)

    def run(self, request: Payload, report: Report) -> Payload:
        """A CleanRequest to a CleanResult."""
        started = perf_counter()
        wish = CleanRequest.model_validate(request)
        if wish.output_format not in export.WRITERS:
            known = ", ".join(export.WRITERS)
            raise NotAvailable(f"{wish.output_format} is not available here; {known} are", field="output_format")
        report(0.02, "reading")
        raw, painted = self._read(wish)
        finished = self._finish(raw, painted, wish, report)
        model = _model(finished)
        prefix = wish.output_prefix or "cache/postprocess-service"
        report(0.7, "exporting")
        files = export.WRITERS[wish.output_format](model)
        outputs = self._keep_files(prefix, files, wish.output_format)
        report(0.75, "picturing")
        outputs += self._keep_pictures(prefix, model, report)
        report(0.97, "reporting")
        measured = _measure(model, finished, wish, raw, files)
        outputs += self._keep_papers(prefix, measured, wish, outputs)
        return CleanResult(
            engine=self.engine_name,
            engine_version=self.engine.card().version,
            outputs=tuple(outputs),
            report=measured,
            warnings=finished.warnings,
            duration_s=round(perf_counter() - started, 4),
            asset_path=outputs[0].ref.public_path,
        ).model_dump(mode="json")

    def close(self) -> None:
        """Close the engine."""
        self.engine.close()

    def _read(self, wish: CleanRequest) -> tuple[Mesh, U8 | None]:
        """The raw mesh, with vertex colours in any case, and the texture it came with."""
        if (wish.mesh is None) == (wish.mesh_path is None):
            raise BadMesh("give exactly one of mesh and mesh_path", field="mesh")
        try:
            ref = wish.mesh or self.artifacts.reference(key_from_path(str(wish.mesh_path), field="mesh_path"))
            part = read_part(self.artifacts.get(ref))
            return judged(part.mesh), texture_of(part)
        except NotFound as error:
            raise Unprocessable(error.detail, code="not_found", field="mesh") from None
        except InvalidMesh as error:
            raise BadMesh(f"cannot be read as a GLB of this system: {error}", field="mesh") from None

    def _finish(self, raw: Mesh, painted: U8 | None, wish: CleanRequest, report: Report) -> Finished:
        if painted is not None and raw.uv is not None:
            raw = raw.evolve(colours_linear=sampled(painted, raw.uv))
        if not wish.postprocess:
            welded = weld(raw)
            welded = welded.evolve(normals=vertex_normals(welded.vertices, welded.faces))
            if painted is None or raw.uv is None:
                return Finished(welded=welded)
            # Welding joins what UVs cut: the faces stay the same, one by one.
            return Finished(welded=welded, unwrapped=raw, texture=painted, covered=coverage(raw, painted))
        todo = Wish(
            target_faces=wish.target_faces, texture=wish.texture, texture_px=wish.texture_px, source_texture=painted
        )
        return self.engine.process(raw, todo, lambda f, phase: report(0.05 + 0.65 * f, phase))

    def _keep_files(self, prefix: str, files: dict[str, bytes], form: str) -> list[OutputFile]:
        outputs = []
        for number, (name, content) in enumerate(files.items()):
            ref = self.artifacts.put(f"{prefix}/{name}", content)
            role = "asset" if number == 0 else "companion"
            outputs.append(_output(ref, role, form if number == 0 else name.rsplit(".", 1)[-1], primary=number == 0))
        return outputs

    def _keep_pictures(self, prefix: str, model: export.Model, report: Report) -> list[OutputFile]:
        still = self.artifacts.put(f"{prefix}/preview.png", pictures.preview(model.drawn, model.texture))
        report(0.8, "turning")
        turning = self.artifacts.put(f"{prefix}/turntable.webp", pictures.turntable(model.drawn, model.texture))
        return [_output(still, "preview", "png"), _output(turning, "turntable", "webp")]

    def _keep_papers(
        self, prefix: str, measured: MeshReport, wish: CleanRequest, outputs: list[OutputFile]
    ) -> list[OutputFile]:
        recipe = {
            **wish.recipe,
            "postprocess": {
                "engine": self.engine_name,
                "engine_version": self.engine.card().version,
                "options": wish.model_dump(mode="json", exclude={"recipe", "views", "output_prefix", "mesh", "engine"}),
                "mesh_sha256": wish.mesh.sha256 if wish.mesh else None,
            },
            "outputs": {output.name: output.ref.sha256 for output in outputs},
        }
        kept = [("report", measured.model_dump(mode="json")), ("recipe", recipe)]
        return [
            _output(self.artifacts.put(f"{prefix}/{role}.json", _json(content)), role, "json") for role, content in kept
        ]


def create(arguments: dict[str, Any]) -> CleanWork:
    """Called in the child process by the runner."""
    return CleanWork(arguments["engine"], Settings.model_validate(arguments["settings"]))


def _model(finished: Finished) -> export.Model:
    scale, offset = export.normalised(finished.welded)
    opened = finished.unwrapped
    return export.Model(
        welded=export.moved(finished.welded, scale, offset),
        unwrapped=None if opened is None else export.moved(opened, scale, offset),
        texture=finished.texture,
    )


def _measure(
    model: export.Model, finished: Finished, wish: CleanRequest, raw: Mesh, files: dict[str, bytes]
) -> MeshReport:
    welded = model.welded
    closed = closedness(welded.faces)
    low, high = welded.bounds
    texture = None
    if finished.covered is not None:
        texture = TextureReport(
            size_px=max(finished.covered.shape),
            uv_coverage=round(float(np.mean(finished.covered)), 4),
            charts=finished.counts.charts,
        )
    return MeshReport(
        watertight=closed.watertight,
        manifold=closed.manifold,
        components=components(len(welded.vertices), welded.faces)[0],
        faces=len(welded.faces),
        vertices=len(model.drawn.vertices),
        area_m2=round(area_m2(welded), 9),
        volume_m3=round(volume_m3(welded), 9) if closed.watertight else None,
        bounds_min_m=_triple(low),
        bounds_max_m=_triple(high),
        faces_in=len(raw.faces),
        faces_asked=wish.target_faces if wish.postprocess else None,
        removed_components=finished.counts.removed_components,
        removed_faces=finished.counts.removed_faces,
        filled_holes=finished.counts.filled_holes,
        texture=texture,
        file_size_bytes=len(next(iter(files.values()))),
        file_sizes_bytes={name: len(content) for name, content in files.items()},
    )


def _triple(point: Any) -> tuple[float, float, float]:
    return (round(float(point[0]), 6), round(float(point[1]), 6), round(float(point[2]), 6))


def _output(ref: ArtifactRef, role: Any, form: str, *, primary: bool = False) -> OutputFile:
    return OutputFile(name=ref.name, role=role, format=form, ref=ref, primary=primary)


def _json(content: Any) -> bytes:
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"
