"""reconstruction-service and postprocess-service: views in, mesh out; mesh in, files out."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from .artifacts import ArtifactKey, ArtifactRef
from .engines import Seed
from .values import Request, Value
from .views import View

MeshFormat = Literal["glb", "obj", "fbx", "stl", "ply", "usdz", "3mf", "gltf"]


class ReconstructRequest(Request):
    """`POST /reconstruct/mesh`. `image_paths` is the seed's spelling: front, right, back, left in this order."""

    views: Annotated[tuple[View, ...], Field(max_length=32)] = ()
    image_paths: Annotated[tuple[str, ...], Field(max_length=32)] = ()
    engine: str = "auto"
    #: Cells along the longest side of the object.
    resolution: Annotated[int, Field(ge=32, le=512)] = 256
    seed: Seed = 0
    #: What the engine's card lists under `options`.
    options: dict[str, JsonValue] = Field(default_factory=dict)
    output_format: Literal["glb"] = "glb"
    output_prefix: ArtifactKey | None = None


class ReconstructResult(Value):
    """One mesh: float32, our frame, COLOR_0 linear."""

    engine: str
    engine_version: str
    mesh: ArtifactRef
    faces: int
    vertices: int
    warnings: tuple[str, ...] = ()
    duration_s: float = 0.0
    #: The seed's spelling.
    mesh_path: str = ""


class CleanRequest(Request):
    """`POST /postprocess/clean`. `mesh_path` is the seed's spelling of `mesh`."""

    mesh: ArtifactRef | None = None
    mesh_path: str | None = None
    views: Annotated[tuple[View, ...], Field(max_length=32)] = ()
    engine: str = "auto"
    output_format: MeshFormat = "glb"
    target_faces: Annotated[int, Field(ge=100, le=2_000_000)] = 20_000
    texture: bool = True
    texture_px: Annotated[int, Field(ge=64, le=4096)] = 1024
    #: False: export only; the mesh is not cleaned, decimated or textured.
    postprocess: bool = True
    output_prefix: ArtifactKey | None = None
    #: What the caller knows of the way here (prompt, seeds, engines, digests); kept in the recipe.
    recipe: dict[str, JsonValue] = Field(default_factory=dict)


class TextureReport(Value):
    """The baked texture."""

    size_px: int
    uv_coverage: Annotated[float, Field(description="share of the texture used by charts, 0 to 1")]
    charts: int


class MeshReport(Value):
    """What was measured on the exported mesh (metres, our frame)."""

    watertight: bool
    manifold: bool
    components: int
    faces: int
    vertices: int
    area_m2: float
    volume_m3: float | None
    bounds_min_m: tuple[float, float, float]
    bounds_max_m: tuple[float, float, float]
    faces_in: int
    faces_asked: int | None
    removed_components: int = 0
    removed_faces: int = 0
    filled_holes: int = 0
    texture: TextureReport | None = None
    file_size_bytes: int = 0
    file_sizes_bytes: dict[str, int] = Field(default_factory=dict)


class OutputFile(Value):
    """One file of a finished job."""

    name: str
    role: Literal["asset", "companion", "view", "raw_mesh", "preview", "turntable", "report", "recipe", "scene"]
    format: str
    profile: str | None = None
    ref: ArtifactRef
    primary: bool = False
    checks: tuple[str, ...] = ()


class CleanResult(Value):
    """The exported files, exactly one of them primary, and the report."""

    engine: str
    engine_version: str
    outputs: tuple[OutputFile, ...]
    report: MeshReport
    warnings: tuple[str, ...] = ()
    duration_s: float = 0.0
    #: The seed's spelling.
    asset_path: str = ""
