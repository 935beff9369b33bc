"""A prompt or pictures in, files out: through the real processes."""

import base64
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from conftest import Mesh, ended, validate
from scratch3d.client import ApiError, Client
from scratch3d.contracts.jobs import JobStatus, State
from scratch3d.contracts.views import NAMED_VIEWS, Camera
from scratch3d.geometry.glb import read_glb, read_mesh
from scratch3d.geometry.measure import closedness, euler_number, volume_m3
from scratch3d.geometry.render import render, surface_of
from scratch3d.servicekit.artifacts import ArtifactStore

TEN_PROMPTS = (
    "a red cube on a wooden cylinder",
    "a golden torus",
    "a small blue sphere on a big stone box",
    "a green cone beside a red pyramid",
    "a hot pink octahedron on a gray cylinder",
    "a tall white capsule",
    "a teal prism next to an orange egg",
    "a dark olive green hemisphere",
    "a tiny yellow ball on a huge brick made of stone",
    "a rubber ring on a ceramic cube and a glass cone",
)


def test_prompt_becomes_a_checked_textured_glb(mesh: Mesh, client: Client) -> None:
    accepted = client.generate("a red cube on a wooden cylinder", seed=7)
    assert accepted.status_url == f"/3d/status/{accepted.job_id}"
    events = list(client.events(accepted.job_id))
    assert [e.type for e in events if e.type != "progress"] == ["submitted", "claimed", "stage", "stage", "completed"]
    assert [e.progress for e in events] == sorted(e.progress for e in events)
    done = client.status(accepted.job_id)
    assert done.state is State.COMPLETED and done.progress == 100
    assert done.asset_path == f"/outputs/{done.job_id}/1/model.glb"
    assert done.engines == {
        "generating_images": "procedural",
        "reconstructing_3d": "visual-hull",
        "post_processing": "trimesh",
    }
    part = read_glb(mesh.path(done.asset_path).read_bytes()).parts[0]
    assert part.material.texture_png and part.material.metallic == 0
    texture = np.asarray(Image.open(io.BytesIO(part.material.texture_png)).convert("RGB")).reshape(-1, 3)
    assert (np.abs(texture.astype(int) - (255, 0, 0)).sum(1) < 20).mean() > 0.2
    report = json.loads(mesh.path(f"outputs/{done.job_id}/1/report.json").read_text())
    assert report["watertight"] and report["manifold"]
    assert 0.99 * 20_000 <= report["faces"] <= 20_000
    assert report["bounds_min_m"][1] == 0 and max(report["bounds_max_m"]) == pytest.approx(1, abs=1e-5)
    roles = {output.role for output in done.outputs}
    assert roles == {"asset", "preview", "turntable", "report", "recipe", "view", "scene", "raw_mesh"}
    recipe = json.loads(mesh.path(f"outputs/{done.job_id}/1/recipe.json").read_text())
    assert recipe["plan"]["seed"] == 7 and done.job_id not in json.dumps(recipe)


def test_ten_prompts_pass_the_khronos_validator(mesh: Mesh, client: Client) -> None:
    jobs = [client.generate(prompt, quality_tier="fast").job_id for prompt in TEN_PROMPTS]
    finished = [ended(client, job_id, 120) for job_id in jobs]
    assert all(job.state is State.COMPLETED for job in finished), [job.problem for job in finished]
    files = [mesh.path(str(job.asset_path)) for job in finished]
    files += [Path(_key(job.outputs, "scene", mesh)) for job in finished]
    for report in validate(*files):
        assert (report["errors"], report["warnings"]) == (0, 0), report
    for job in finished:
        raw = read_mesh(Path(_key(job.outputs, "raw_mesh", mesh)).read_bytes())
        assert closedness(raw.faces).watertight


def _key(outputs: Any, role: str, mesh: Mesh) -> str:
    found = next(o for o in outputs if o.role == role)
    job_id = found.url.split("/")[3]
    root = "inputs" if role == "scene" else "outputs"
    return str(mesh.data_dir / root / job_id / "1" / found.name)


def test_the_seeds_own_curl_calls(http: httpx.Client) -> None:
    reply = http.post(
        "/3d/generate",
        content='{"prompt": "a red cube", "output_format": "glb"}',
        headers={"Content-Type": "application/json"},
    )
    assert reply.status_code == 202 and set(reply.json()) == {"job_id", "status_url"}
    assert reply.headers["location"] == reply.json()["status_url"]
    with Client(str(http.base_url)) as client:
        ended(client, reply.json()["job_id"])
    got = http.get(f"/3d/download/{reply.json()['job_id']}")
    assert got.status_code == 200 and got.content[:4] == b"glTF"
    assert got.headers["content-type"] == "model/gltf-binary"
    assert got.headers["content-disposition"] == f'attachment; filename="{reply.json()["job_id"]}.glb"'
    assert got.headers["x-content-type-options"] == "nosniff"
    part = http.get(f"/3d/download/{reply.json()['job_id']}", headers={"Range": "bytes=0-3"})
    assert part.status_code == 206 and part.content == b"glTF"
    same = http.get(f"/3d/download/{reply.json()['job_id']}", headers={"If-None-Match": got.headers["etag"]})
    assert same.status_code == 304
    assert http.get("/health").json() == {"status": "ok"}


def pictures(directory: Path, *, transparent: bool = True) -> dict[str, Path]:
    """Four named views of an L-shaped body, drawn here: 400 px, one camera."""
    from scratch3d.geometry.mesh import Mesh as Body
    from scratch3d.geometry.mesh import merged

    def box(low: tuple[float, ...], high: tuple[float, ...], colour: tuple[float, ...]) -> Body:
        corners = np.array(
            [[(low, high)[i >> 2][0], (low, high)[i >> 1 & 1][1], (low, high)[i & 1][2]] for i in range(8)]
        )
        quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
        faces = np.array([f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))], np.int32)
        tint = np.tile(np.array(colour, np.float32), (8, 1))
        return Body(vertices=corners.astype(np.float32), faces=faces, colours_linear=tint)

    body = merged(
        [box((-0.4, -0.5, -0.2), (0.4, 0, 0.2), (0.8, 0.1, 0.1)), box((-0.4, 0, -0.2), (0, 0.5, 0.2), (0.1, 0.1, 0.8))]
    )
    made = {}
    for name in ("front", "right", "back", "left"):
        azimuth, elevation = NAMED_VIEWS[name]
        rgba = render(surface_of(body), Camera(azimuth_deg=azimuth, elevation_deg=elevation, half_width_m=0.7), 400)[1]
        image = Image.fromarray(rgba)
        if not transparent:
            flat = Image.new("RGB", image.size, (250, 250, 250))
            flat.paste(image, (0, 0), image)
            image = flat
        made[name] = directory / f"{name}.png"
        image.save(made[name])
    return made


def check_l_shape(mesh: Mesh, client: Client, job_id: str) -> None:
    done = ended(client, job_id)
    assert done.state is State.COMPLETED, done.problem
    raw = read_mesh((mesh.data_dir / "outputs" / job_id / "1" / "raw.glb").read_bytes())
    assert closedness(raw.faces).watertight
    # An L of two half boxes under ring views is its own hull: volume of the body, longest side one metre.
    assert volume_m3(raw) == pytest.approx(0.8 * 0.5 * 0.4 + 0.4 * 0.5 * 0.4, rel=0.02)
    assert raw.colours_linear is not None
    low, high = raw.vertices[:, 1] < -0.1, raw.vertices[:, 1] > 0.1
    assert np.median(raw.colours_linear[low], axis=0) @ [1, 0, -1] > 0.5
    assert np.median(raw.colours_linear[high], axis=0) @ [-1, 0, 1] > 0.5


def test_four_named_views_as_paths(mesh: Mesh, client: Client, http: httpx.Client, tmp_path: Path) -> None:
    store = ArtifactStore(mesh.data_dir)
    for name, path in pictures(tmp_path).items():
        store.put(f"inputs/l-shape/{name}.png", path.read_bytes())
    spellings = ("l-shape/front.png", "inputs/l-shape/right.png", "/inputs/l-shape/back.png", "l-shape/left.png")
    body = {
        "image_paths": [
            {"path": p, "view": v} for p, v in zip(spellings, ("front", "right", "back", "left"), strict=True)
        ]
    }
    reply = http.post("/3d/from-image", json=body)
    assert reply.status_code == 202, reply.text
    check_l_shape(mesh, client, reply.json()["job_id"])


@pytest.mark.parametrize("transparent", [True, False])
def test_four_named_views_as_uploads(mesh: Mesh, client: Client, tmp_path: Path, transparent: bool) -> None:
    files = pictures(tmp_path, transparent=transparent)
    accepted = client.from_image(list(files.values()), views=list(files), seed=3)
    check_l_shape(mesh, client, accepted.job_id)
    client.delete(accepted.job_id)
    assert not (mesh.data_dir / "inputs" / accepted.job_id).exists()
    assert not (mesh.data_dir / "outputs" / accepted.job_id).exists()
    with pytest.raises(ApiError) as caught:
        client.status(accepted.job_id)
    assert caught.value.problem.code == "job_not_found"


def test_the_same_upload_under_the_same_key_is_the_same_job(client: Client, tmp_path: Path) -> None:
    files = pictures(tmp_path)
    jobs = {
        client.from_image(list(files.values()), views=list(files), idempotency_key="upload-1").job_id for _ in range(2)
    }
    assert len(jobs) == 1
    with pytest.raises(ApiError) as caught:
        client.from_image(list(files.values())[:2], views=list(files)[:2], idempotency_key="upload-1")
    assert caught.value.problem.code == "idempotency_key_reused"
    (job_id,) = jobs
    with httpx.Client(base_url=client._http.base_url) as other:
        paths = [{"path": f"{job_id}/upload-{n}.png", "view": v} for n, v in ((1, "front"), (2, "right"))]
        reply = other.post("/3d/from-image", json={"image_paths": paths})
    assert reply.status_code == 422 and "another job" in reply.text
    done = ended(client, job_id)
    assert done.state is State.COMPLETED
    recipe = next(o for o in done.outputs if o.role == "recipe")
    assert job_id not in client.download(job_id, tmp_path / "recipe.json", artifact=recipe.name).read_text()


def portrait(directory: Path) -> Path:
    """A photograph of a kind: a red ring with a blue bar, before a light that falls off."""
    y, x = (np.mgrid[:600, :600] - 300) / 300
    radius = np.hypot(x, y)
    shown = np.empty((600, 600, 3))
    shown[:] = (222, 220, 214)
    shown *= (1 - 0.2 * (x**2 + y**2))[..., None]
    shown[np.abs(radius - 0.5) < 0.18] = (190, 40, 40)
    shown[(np.abs(y) < 0.08) & (np.abs(x) < 0.5)] = (40, 60, 180)
    path = directory / "portrait.jpg"
    Image.fromarray(np.clip(shown, 0, 255).astype(np.uint8)).save(path, quality=92)
    return path


def check_portrait(mesh: Mesh, done: JobStatus) -> None:
    assert done.state is State.COMPLETED, done.problem
    assert done.engines["reconstructing_3d"] == "inflate" and not done.warnings
    part = read_glb(mesh.path(str(done.asset_path)).read_bytes()).parts[0]
    report = json.loads(mesh.path(f"outputs/{done.job_id}/1/report.json").read_text())
    assert report["watertight"] and part.material.texture_png
    # A ring with a bar across has two holes: what they join is one body.
    welded = np.unique(part.mesh.vertices, axis=0, return_inverse=True)[1].reshape(-1)[part.mesh.faces]
    assert euler_number(welded.astype(np.int32)) == 2 - 2 * 2
    assert done.preview_url


def test_one_picture_becomes_a_solid_with_its_holes(mesh: Mesh, client: Client, tmp_path: Path) -> None:
    picture = portrait(tmp_path)
    check_portrait(mesh, ended(client, client.from_image([picture], quality_tier="auto").job_id))
    plain = client.from_image([picture], engine="inflate", engine_options={"back": "plain", "thickness": 0.3})
    check_portrait(mesh, ended(client, plain.job_id))


def test_a_picture_in_the_request_itself(mesh: Mesh, client: Client, tmp_path: Path) -> None:
    uri = "data:image/jpeg;base64," + base64.b64encode(portrait(tmp_path).read_bytes()).decode()
    done = ended(client, client.from_image([uri], seed=5).job_id)
    check_portrait(mesh, done)
    assert "base64" not in json.dumps(done.request), "a job keeps references, never bytes"


@pytest.mark.parametrize(
    ("options", "field"), [({"thickness": 9}, "engine_options.thickness"), ({"depth": 1}, "engine_options")]
)
def test_options_no_engine_has_are_refused(client: Client, tmp_path: Path, options: dict[str, Any], field: str) -> None:
    with pytest.raises(ApiError) as caught:
        client.from_image([portrait(tmp_path)], engine_options=options)
    assert caught.value.problem.errors[0].field == field


def test_quick_path_and_styles(mesh: Mesh, client: Client) -> None:
    one = ended(client, client.generate("a golden key", views=1).job_id)
    assert one.state is State.COMPLETED and one.engines["reconstructing_3d"] == "inflate", one.problem
    cubes = ended(client, client.generate("a heart", style="voxel", quality_tier="fast").job_id)
    assert cubes.state is State.COMPLETED, cubes.problem


def test_views_that_do_not_agree_are_told(client: Client, tmp_path: Path) -> None:
    files = pictures(tmp_path)
    image = Image.open(files["right"])
    image.rotate(20).save(files["right"])
    done = ended(client, client.from_image(list(files.values()), views=list(files)).job_id)
    assert done.state is State.COMPLETED and done.engines["reconstructing_3d"] == "soft-hull", done.problem
    assert any("right and left" in warning for warning in done.warnings)


@pytest.mark.parametrize("form", ["obj", "stl", "ply"])
def test_other_formats_are_read_by_trimesh(client: Client, tmp_path: Path, form: str) -> None:
    import trimesh

    done = ended(client, client.generate("a wooden cube", output_format=form, quality_tier="fast").job_id)
    assert done.state is State.COMPLETED, done.problem
    target = client.download(done.job_id, tmp_path / f"model.{form}")
    if form == "obj":
        with zipfile.ZipFile(target) as archive:
            assert sorted(archive.namelist()) == ["model-base-colour.png", "model.mtl", "model.obj"]
            archive.extractall(tmp_path / "zip")
        loaded = trimesh.load_mesh(tmp_path / "zip" / "model.obj")
        assert loaded.visual.material.image.size == (1024, 1024)
    else:
        loaded = trimesh.load_mesh(target)
    size = loaded.bounds[1] - loaded.bounds[0]
    assert size.max() == pytest.approx(1000 if form == "stl" else 1, rel=1e-4)
    if form == "ply":
        wood = np.array([168, 112, 58])
        assert np.abs(np.median(loaded.visual.vertex_colors[:, :3], axis=0) - wood).max() <= 3


def test_options_change_what_is_made(mesh: Mesh, client: Client) -> None:
    few = ended(client, client.generate("a cube", target_faces=500, texture=False, quality_tier="fast").job_id)
    report = json.loads((mesh.data_dir / "outputs" / few.job_id / "1" / "report.json").read_text())
    assert report["faces"] <= 500 and report["texture"] is None and report["watertight"]
    raw = ended(client, client.generate("a cube", postprocess=False, quality_tier="fast").job_id)
    report = json.loads((mesh.data_dir / "outputs" / raw.job_id / "1" / "report.json").read_text())
    assert report["faces"] == report["faces_in"] and report["faces_asked"] is None


def test_unknown_words_are_told_and_unknown_prompts_refused_with_the_vocabulary(client: Client) -> None:
    done = ended(client, client.generate("a fluffy red cube", quality_tier="fast").job_id)
    assert any("fluffy" in warning for warning in done.warnings)
    with pytest.raises(ApiError) as caught:
        client.generate("a dragon")
    found = caught.value.problem
    assert (found.status, found.code, found.errors[0].field) == (422, "unknown_prompt", "prompt")
    assert "cube" in found.detail and "docs/engines.md" in found.detail


def test_same_request_and_seed_same_bytes(client: Client) -> None:
    digests = set()
    for _ in range(2):
        done = ended(client, client.generate("a red cube on a wooden cylinder", seed=42, quality_tier="fast").job_id)
        digests.add(tuple((o.name, o.sha256) for o in done.outputs))
    assert len(digests) == 1


NOT_AVAILABLE: list[tuple[dict[str, Any], str]] = [
    *(({"output_format": form}, "output_format") for form in ("fbx", "usdz", "3mf", "gltf")),
    ({"engine": "triposr"}, "engine"),
    ({"engine": "soft-hull"}, "engine"),
    ({"image_engine": "flux"}, "image_engine"),
    ({"postprocess_engine": "blender"}, "postprocess_engine"),
    ({"views": 2}, "views"),
    ({"engine": "inflate", "views": 8}, "views"),
    ({"style": "baroque"}, "style"),
    ({"webhook_url": "https://example.org/hook"}, "webhook_url"),
]


@pytest.mark.parametrize(("change", "field"), NOT_AVAILABLE, ids=[json.dumps(c) for c, _ in NOT_AVAILABLE])
def test_what_has_not_landed_is_refused_not_ignored(http: httpx.Client, change: dict[str, Any], field: str) -> None:
    reply = http.post("/3d/generate", json={"prompt": "a cube", **change})
    assert reply.status_code == 422, reply.text
    assert reply.json()["code"] == "not_available" and reply.json()["errors"][0]["field"] == field


INVALID: list[tuple[str, Any, int, str]] = [
    ("/3d/generate", {}, 422, "prompt"),
    ("/3d/generate", {"prompt": ""}, 422, "prompt"),
    ("/3d/generate", {"prompt": "a cube\u0007"}, 422, "prompt"),
    ("/3d/generate", {"prompt": "a cube " * 400}, 422, "prompt"),
    ("/3d/generate", {"prompt": "a cube", "seed": -1}, 422, "seed"),
    ("/3d/generate", {"prompt": "a cube", "colour": "red"}, 422, "colour"),
    ("/3d/generate", {"prompt": "a cube", "output_format": "exe"}, 422, "output_format"),
    ("/3d/from-image", {}, 422, "body"),
    ("/3d/from-image", {"image_paths": ["../../etc/passwd"]}, 422, "image_paths[0]"),
    ("/3d/from-image", {"image_paths": ["nothing.png"]}, 422, "image_paths[0]"),
    ("/3d/from-image", {"image_paths": [{"path": "x.png"}], "engine": "soft-hull"}, 422, "engine"),
    ("/3d/from-image", {"image_paths": ["x.png"], "matting_engine": "rembg"}, 422, "matting_engine"),
    ("/3d/generate", {"prompt": "a cube", "engine_options": {"x": 1}}, 422, "engine_options"),
    (
        "/3d/from-image",
        {"image_paths": [{"path": "no.png", "view": v} for v in ("front", "right")]},
        422,
        "image_paths[0]",
    ),
    ("/3d/from-image", {"image_paths": [{"path": "x.png", "view": "inside"}]}, 422, "image_paths[0].view"),
    ("/3d/from-image", {"image_urls": ["ftp://example.org/a.png"]}, 422, "image_urls[0]"),
    ("/3d/from-image", {"image_urls": ["http://169.254.169.254/latest"]}, 422, "image_urls[0]"),
    ("/3d/from-image", {"image_urls": ["data:image/png;base64,AAAA"]}, 422, "image_urls[0]"),
    ("/3d/from-image", {"image_urls": ["data:text/html;base64,AAAA"]}, 422, "image_urls[0]"),
]


@pytest.mark.parametrize(
    ("path", "body", "status", "field"), INVALID, ids=[f"{p} {str(b)[:40]}" for p, b, _, _ in INVALID]
)
def test_bad_input_names_the_field(http: httpx.Client, path: str, body: Any, status: int, field: str) -> None:
    reply = http.post(path, json=body)
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    assert field in [e["field"] for e in reply.json()["errors"]], reply.json()


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"\xff\xfe",
        b'{"prompt": NaN}',
        b"[]",
        b'"text"',
        b"[" * 5000,
        b'{"prompt": "\\ud800 cube"}',
        b'{"prompt":"a cube","seed":1e999}',
    ],
)
def test_odd_bodies_get_a_4xx(http: httpx.Client, content: bytes) -> None:
    for path in ("/3d/generate", "/3d/from-image"):
        reply = http.post(path, content=content, headers={"Content-Type": "application/json"})
        assert 400 <= reply.status_code < 500, (path, content[:20], reply.text)
    assert (
        http.post("/3d/generate", content=b"x" * 300_000, headers={"Content-Type": "application/json"}).status_code
        == 413
    )


def test_uploads_that_are_no_pictures_are_refused_and_leave_nothing(mesh: Mesh, http: httpx.Client) -> None:
    before = set((mesh.data_dir / "inputs").iterdir())
    for content in (b"hello", b"\x89PNG\r\n\x1a\n broken", b""):
        files = [("images", ("a.png", content)), ("images", ("b.png", content))]
        reply = http.post("/3d/from-image", files=files, data={"views": ["front", "right"]})
        assert reply.status_code == 422 and reply.json()["errors"][0]["field"] == "images[0]", reply.text
    assert set((mesh.data_dir / "inputs").iterdir()) == before


def test_operations(http: httpx.Client) -> None:
    assert http.get("/ready").json()["ready"] is True
    assert "scratch3d_jobs_submitted_total" in http.get("/metrics").text
    assert "cube" in http.get("/3d/engines").json()["images"][0]["vocabulary"]["things"]
    assert "<title>scratch-3d</title>" in http.get("/3d-test/").text
    assert http.get("/openapi.json").json()["info"]["title"] == "scratch-3d"
    assert http.get("/3d/status/not-a-uuid").status_code == 404
    assert http.get("/3d/download/00000000-0000-4000-8000-000000000000").json()["code"] == "job_not_found"
