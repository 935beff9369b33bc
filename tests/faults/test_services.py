"""Services that answer badly, and files that are not what they should be (F10, F11)."""

import json
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import invariants
import psutil
import pytest
from processes import Mesh, until
from stub_files import glb, png

from orchestrator.pipeline import RETRIES
from scratch3d.contracts.views import View, cameras_of
from scratch3d.servicekit.artifacts import ArtifactStore
from scratch3d.servicekit.errors import ServiceError

PATHS = {"image": "/imagine/generate", "reconstruction": "/reconstruct/mesh", "postprocess": "/postprocess/clean"}
STAGES = {"image": "generating_images", "reconstruction": "reconstructing_3d", "postprocess": "post_processing"}
STAGE_DEADLINE_S = 4.0
MEGABYTES = 40

#: What a stage call may come to, and the codes that say so.
PASSING = {
    "status_500": {"engine_crashed"},
    "rst_mid_body": {"service_unreachable", "service_gone", "deadline_exceeded"},
    "half_line": {"service_gone", "bad_reply"},
    "empty_200": {"service_gone", "bad_reply"},
}
#: These say “come back later”: they are waited for until the stage's deadline, not counted.
WAITABLE = {
    "status_503": {"unavailable", "deadline_exceeded"},
    "status_429": {"busy", "deadline_exceeded"},
    "bare_502": {"unavailable", "service_unreachable", "deadline_exceeded"},
    "bare_503": {"unavailable", "service_unreachable", "deadline_exceeded"},
}
NONSENSE = {fault: {"bad_reply"} for fault in ("html_200", "wrong_type", "bad_json_line")}
FLOODS = {fault: {"bad_reply"} for fault in ("endless_body", "endless_lines", "endless_error")}
SILENT = {
    "hang": {"deadline_exceeded", "service_unreachable"},
    "slow_body": {"deadline_exceeded", "bad_reply"},
    "never_ending_progress": {"deadline_exceeded"},
}
BROKEN = ("wrong_sha", "wrong_size", "missing_file", "empty_file", "other_jobs_key")


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """Enough replicas that one bad reply does not hold up all jobs until the replica is let back in."""
    settings = {"LEASE_S": "3", "STAGE_DEADLINE_S": "30", "WORKER_CONCURRENCY": "16"}
    engines = {"image": 6, "reconstruction": 2}
    with Mesh(tmp_path_factory.mktemp("services"), engines=engines, settings=settings) as running:
        yield running
        invariants.check(running)


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A mesh that gives up after a few seconds."""
    settings = {"LEASE_S": "3", "STAGE_DEADLINE_S": str(STAGE_DEADLINE_S), "WORKER_CONCURRENCY": "16"}
    with Mesh(
        tmp_path_factory.mktemp("hasty"), engines={"image": 3, "reconstruction": 2}, settings=settings
    ) as running:
        yield running
        invariants.check(running)


@pytest.fixture(autouse=True)
def _well_again(mesh: Mesh) -> Iterator[None]:
    yield
    for service in PATHS:
        mesh.script(service, [])


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a job ended that met a fault, and what the services noted of it."""

    status: dict[str, Any]
    calls: list[dict[str, Any]]

    @property
    def code(self) -> str:
        return str(self.status["problem"]["code"]) if self.status.get("problem") else "completed"


def held(mesh: Mesh, count: int) -> list[str]:
    """Jobs that nobody works on, because the worker stands; the caller lets it go on."""
    mesh.stop("worker-1")
    return [mesh.submit(labels={"number": str(number)}).job_id for number in range(count)]


def outcome(mesh: Mesh, job_id: str, service: str) -> Outcome:
    until(lambda: mesh.state(job_id) in {"completed", "failed"}, 45, what=f"end of {job_id}")
    calls = [line for line in mesh.journal() if line["job_id"] == job_id and line["path"] == PATHS[service]]
    return Outcome(status=mesh.status(job_id), calls=calls)


def storm(mesh: Mesh, service: str, rules: dict[str, dict[str, Any]], *, well: int = 3) -> dict[str, Outcome]:
    """One job for each rule, all at once, and some that meet none of them; those complete."""
    ids = held(mesh, len(rules) + well)
    named = dict(zip(rules, ids, strict=False))
    mesh.script(service, [{"match": {"job_id": named[name]}, **rule} for name, rule in rules.items()])
    mesh.cont("worker-1")
    for job_id in ids[len(rules) :]:
        assert outcome(mesh, job_id, service).code == "completed", "the others must be served meanwhile"
    return {name: outcome(mesh, job_id, service) for name, job_id in named.items()}


def check_failed(found: Outcome, codes: set[str], service: str) -> None:
    assert found.status["state"] == "failed", found.status
    problem = found.status["problem"]
    assert problem["code"] in codes, problem
    assert problem["stage"] == STAGES[service] and isinstance(problem["retryable"], bool), problem


def await_cancelled(mesh: Mesh, job_id: str) -> None:
    """The engine that ran the job was told to stop."""

    def last() -> str:
        return str([line["event"] for line in mesh.journal() if line["job_id"] == job_id][-1])

    until(lambda: last() == "cancelled", 3, what="the engine's stop")


def begun(found: Outcome) -> list[float]:
    return [line["at"] for line in found.calls if line["event"] == "begin"]


# -- F10: bad replies --------------------------------------------------------------------------------------------


def test_a_bad_reply_for_ever_fails_the_job_after_a_few_tries(mesh: Mesh) -> None:
    expected = PASSING | NONSENSE
    for fault, found in storm(mesh, "image", {fault: {"fault": fault} for fault in expected}).items():
        check_failed(found, expected[fault], "image")
        calls = begun(found)
        assert 1 <= len(calls) <= RETRIES + 1, f"{fault}: called {len(calls)} times"
        assert all(later - earlier > 0.2 for earlier, later in pairwise(calls)), f"{fault}: no pause between {calls}"


def test_a_bad_reply_that_passes_is_survived(mesh: Mesh) -> None:
    once = {fault: {"fault": fault, "times": 1} for fault in ("status_500", "rst_mid_body", "bare_503", "status_429")}
    for fault, found in storm(mesh, "postprocess", once).items():
        assert found.code == "completed", f"{fault}: {found.status['problem']}"
        assert len(begun(found)) == 2, f"{fault}: {found.calls}"


def test_a_bad_reply_of_one_replica_is_mended_by_another(mesh: Mesh) -> None:
    faults = (*PASSING, *WAITABLE)
    sick = mesh.stubs["reconstruction-1"]
    jobs = held(mesh, len(faults))
    rules = [{"match": {"job_id": job_id}, "fault": fault} for job_id, fault in zip(jobs, faults, strict=True)]
    httpx.post(f"{sick}/_stub/rules", json=rules, trust_env=False).raise_for_status()
    mesh.cont("worker-1")
    for job_id, fault in zip(jobs, faults, strict=True):
        found = outcome(mesh, job_id, "reconstruction")
        assert found.code == "completed", f"{fault}: {found.status['problem']}"


def test_a_service_that_stays_busy_is_waited_for_until_the_deadline(hasty: Mesh) -> None:
    for fault, found in storm(hasty, "postprocess", {f: {"fault": f} for f in WAITABLE}, well=0).items():
        check_failed(found, WAITABLE[fault], "postprocess")
        calls = begun(found)
        gaps = [later - earlier for earlier, later in pairwise(calls)]
        assert len(calls) <= STAGE_DEADLINE_S / 0.1, f"{fault}: called {len(calls)} times"
        assert all(gap > 0.1 for gap in gaps), f"{fault}: Retry-After was not kept: {gaps}"
    hasty.script("postprocess", [])
    assert outcome(hasty, hasty.submit().job_id, "postprocess").code == "completed", "it serves again"


def test_silence_ends_at_the_deadline(hasty: Mesh) -> None:
    ids = held(hasty, len(PATHS))
    met = dict(zip(ids, zip(PATHS, SILENT, strict=True), strict=True))
    for job_id, (service, fault) in met.items():
        hasty.script(service, [{"match": {"job_id": job_id}, "fault": fault}])
    hasty.cont("worker-1")
    for job_id, (service, fault) in met.items():
        found = outcome(hasty, job_id, service)
        check_failed(found, SILENT[fault], service)
        assert found.status["finished_at"] - found.status["started_at"] < 3 * STAGE_DEADLINE_S, fault
        await_cancelled(hasty, job_id)


def test_a_reply_without_end_is_cut_off(mesh: Mesh) -> None:
    worker = psutil.Process(mesh.pid("worker-1"))
    before = worker.memory_info().rss
    rules = {fault: {"fault": fault, "megabytes": MEGABYTES} for fault in FLOODS}
    for fault, found in storm(mesh, "image", rules).items():
        check_failed(found, FLOODS[fault], "image")
        ends = {line["event"] for line in found.calls if line["event"] != "begin"}
        assert ends == {"cancelled"}, f"{fault}: all {MEGABYTES} MB were read"
    assert worker.memory_info().rss - before < len(FLOODS) * 32 * 2**20


def test_cards_without_end_are_not_read(mesh: Mesh) -> None:
    mesh.script("image", [{"match": {"path": "/engines"}, "fault": "endless_body", "megabytes": 150}])
    mesh.kill("api")
    mesh.start("api")  # it knows no cards yet
    api = psutil.Process(mesh.pid("api"))
    before = api.memory_info().rss
    assert "image-service" in mesh.get("/3d/engines").json()["unreachable"]
    refused = mesh.submit()
    assert refused.status == 503 and refused.body["retryable"], refused
    assert api.memory_info().rss - before < 75 * 2**20
    mesh.script("image", [])
    until(lambda: mesh.submit().status == 202, 15, what="reading the cards again")


def test_fields_nobody_knows_are_left_alone(mesh: Mesh) -> None:
    for service in PATHS:
        mesh.script(service, [{"fault": "unknown_fields"}])
    assert outcome(mesh, mesh.submit().job_id, "image").code == "completed"


def test_a_crash_in_the_middle_is_retried(mesh: Mesh) -> None:
    mesh.script("postprocess", [{"fault": "crash", "times": 1}])
    job_id = mesh.submit().job_id
    until(lambda: not mesh.alive("postprocess-1"), 10, what="the crash")
    mesh.start("postprocess-1")
    assert outcome(mesh, job_id, "postprocess").code == "completed"


def test_a_replica_that_fails_leaves_the_pool_and_returns(mesh: Mesh) -> None:
    sick = mesh.stubs["reconstruction-1"]
    port = int(sick.rsplit(":", 1)[1])
    rules = [{"fault": "bare_502"}, {"fault": "unready"}]
    httpx.post(f"{sick}/_stub/rules", json=rules, trust_env=False).raise_for_status()
    jobs = [mesh.submit().job_id for _ in range(16)]
    found = [outcome(mesh, job_id, "reconstruction") for job_id in jobs]
    assert [one.code for one in found] == ["completed"] * len(jobs)
    asked = [line for one in found for line in one.calls if line["port"] == port and line["event"] == "begin"]
    assert len(asked) <= len(jobs) / 2, f"a replica that always fails was asked {len(asked)} times by {len(jobs)} jobs"
    httpx.post(f"{sick}/_stub/rules", json=[], trust_env=False).raise_for_status()

    def works_again() -> bool:
        done = outcome(mesh, mesh.submit().job_id, "reconstruction")
        return any(line["port"] == port and line["event"] == "end" for line in done.calls)

    until(works_again, 60, what="return of the replica")


# -- F11: broken files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", list(PATHS))
def test_a_broken_file_ends_its_job_with_a_code(mesh: Mesh, service: str) -> None:
    done = mesh.submit().job_id
    until(lambda: mesh.state(done) == "completed", what="a job to steal from")
    theirs = mesh.status(done)["asset_path"].lstrip("/")
    rules = {fault: {"fault": fault, "key": theirs} for fault in BROKEN}
    for fault, found in storm(mesh, service, rules).items():
        assert found.status["state"] == "failed", f"{fault} of {service} was taken for good"
        check_failed(found, {"artifact_damaged", "bad_artifact", "bad_reply", "not_found"}, service)
        assert len(begun(found)) <= RETRIES + 1
    assert mesh.get(f"/3d/download/{done}").content[:4] == b"glTF"


Intake = Callable[[bytes], dict[str, Any]]


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    made = ArtifactStore(tmp_path)
    made.prepare()
    return made


@pytest.fixture
def reconstruct(tmp_path: Path, artifacts: ArtifactStore) -> Intake:
    """The real reconstruction service's work, on four views of which the first is given."""
    from reconstruction_service.settings import Settings
    from reconstruction_service.work import ReconstructWork

    work = ReconstructWork("visual-hull", Settings(data_dir=tmp_path))

    def run(content: bytes) -> dict[str, Any]:
        given = [content, png(), png(), png()]
        views = [
            View(name=name, ref=artifacts.put(f"inputs/job/1/{name}.png", picture), camera=camera, alpha_trusted=True)
            for picture, (name, camera) in zip(given, cameras_of("carve-4").items(), strict=True)
        ]
        wish = {"views": [view.model_dump(mode="json") for view in views], "resolution": 32}
        return work.run(wish, lambda *_: None)

    return run


@pytest.fixture
def clean(tmp_path: Path, artifacts: ArtifactStore) -> Intake:
    """The real post-processing service's work on a mesh."""
    from postprocess_service.settings import Settings
    from postprocess_service.work import CleanWork

    work = CleanWork("trimesh", Settings(data_dir=tmp_path))

    def run(content: bytes) -> dict[str, Any]:
        ref = artifacts.put("outputs/job/1/raw.glb", content)
        return work.run({"mesh": ref.model_dump(mode="json"), "texture": False}, lambda *_: None)

    return run


@pytest.mark.parametrize("fault", ["truncated_png", "zero_size_png", "empty_file"])
def test_a_broken_picture_is_refused_by_the_real_reconstruction(reconstruct: Intake, fault: str) -> None:
    with pytest.raises(ServiceError) as refused:
        reconstruct(png(fault))
    assert refused.value.problem().code == "bad_views", refused.value.problem()


@pytest.mark.parametrize("fault", ["black_png", "white_png"])
def test_a_picture_of_nothing_but_colour_is_a_solid_or_a_named_failure(reconstruct: Intake, fault: str) -> None:
    try:
        made = reconstruct(png(fault))
    except ServiceError as error:
        assert error.problem().code in {"bad_views", "empty_mesh", "no_surface"}
    else:
        assert made["faces"] > 0 and made["mesh"]["size_bytes"] > 0


@pytest.mark.parametrize("fault", ["nan_mesh", "empty_mesh", "index_out_of_range", "empty_file", "huge_header_mesh"])
def test_a_broken_mesh_is_refused_by_the_real_postprocess(clean: Intake, fault: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ServiceError) as refused:
            clean(glb(fault))
        assert tracemalloc.get_traced_memory()[1] < 50 * 2**20, "memory was taken on the word of a header"
    finally:
        tracemalloc.stop()
    assert refused.value.problem().code == "bad_mesh", refused.value.problem()


def test_a_mesh_with_an_edge_of_five_faces_is_finished_and_reported(clean: Intake) -> None:
    made = clean(glb("non_manifold"))
    assert made["report"]["faces"] > 0 and json.dumps(made["report"], allow_nan=False)
