"""Processes that die, are told to stop, or stand still for a while: workers, the API, engines."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import invariants
import pytest
from dooms import Doom
from invariants import ended
from processes import Mesh, until

from conftest import FULL

STAGE_OF = {
    "/imagine/generate": "generating_images",
    "/reconstruct/mesh": "reconstructing_3d",
    "/postprocess/clean": "post_processing",
}
SERVICE_OF = {"/imagine/generate": "image", "/reconstruct/mesh": "reconstruction", "/postprocess/clean": "postprocess"}
#: Before and after every write to Redis and every call that a worker makes for a job.
POINTS = [
    f"{name}:{moment}:{count}"
    for name, count in [
        ("claim", 1),
        ("call.mesh", 1),
        ("stage", 1),
        ("grant", 1),
        ("completed", 1),
        ("call.generate", 1),
        ("hold", 2),
        ("stage", 2),
        ("beat", 1),
        ("call.clean", 1),
        ("hold", 1),
    ]
    for moment in ("before", "after")
]
AT_ONCE = 12
#: A job of a dead worker is taken up again within this time, with the settings as they are shipped.
TAKEOVER_S = 15.0


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """Replicas enough for the grants that the dead still hold, and no worker: each test starts its own."""
    workers = AT_ONCE + 2
    names = [f"worker-{number}" for number in range(1, workers + 1)]
    engines = {"image": 6, "reconstruction": 4, "postprocess": 3}
    with Mesh(tmp_path_factory.mktemp("processes"), workers=workers, engines=engines, idle=names) as running:
        yield running


@contextmanager
def crew(mesh: Mesh, *environments: dict[str, str]) -> Iterator[list[str]]:
    """Workers with these environments, for a while."""
    names = [f"worker-{number}" for number in range(1, len(environments) + 1)]
    for name, environment in zip(names, environments, strict=True):
        mesh.start(name, environment, wait=False)
    try:
        for name in names:
            mesh.wait_up(name)
        yield names
    finally:
        for name in names:
            if mesh.alive(name):
                mesh.kill(name)
        for service in SERVICE_OF.values():
            mesh.script(service, [])


def slow(mesh: Mesh, path: str, duration_s: float, job_id: str | None = None) -> None:
    """The next call of that path, of that job, takes so long."""
    match = {"path": path, **({"job_id": job_id} if job_id else {})}
    mesh.script(SERVICE_OF[path], [{"match": match, "times": 1, "duration_s": duration_s}])


def begun(mesh: Mesh, path: str, job_id: str) -> dict[str, Any]:
    """The journal's line, once an engine works on that job; later calls take as long as usual again."""

    def look() -> dict[str, Any] | None:
        lines = [entry for entry in mesh.journal() if entry["event"] == "begin"]
        return next((entry for entry in lines if (entry["job_id"], entry["path"]) == (job_id, path)), None)

    found: dict[str, Any] = until(look, what=f"{path} of {job_id}")
    mesh.script(SERVICE_OF[path], [])
    return found


def claims_of(mesh: Mesh, job_id: str) -> list[float]:
    return [event["at"] for event in mesh.events(job_id) if event["type"] == "claimed"]


@contextmanager
def dooms(mesh: Mesh, *points: str) -> Iterator[list[Doom]]:
    """One for each of the first workers."""
    made = [Doom(mesh, f"worker-{number}", point) for number, point in enumerate(points, 1)]
    try:
        yield made
    finally:
        for doom in made:
            doom.close()


def takeovers(mesh: Mesh, deaths: list[Doom], job_ids: list[str]) -> list[float]:
    """Seconds from a worker's death until its job was claimed again."""
    found = []
    for death in deaths:
        # A worker that died before it could say what it claimed has left one of these.
        jobs = [death.job_id] if death.job_id in job_ids else job_ids
        later = [at for job_id in jobs for at in claims_of(mesh, job_id) if at > death.struck_at]
        found += [min(later) - death.struck_at] if later else []
    return found


@pytest.mark.reps(1)
def test_f1_kill_9_of_a_worker_at_any_point(mesh: Mesh, seed: int, record_property: Any) -> None:
    points = [POINTS[(seed * AT_ONCE + n) % len(POINTS)] for n in range(AT_ONCE)]
    alone, survivor = {"WORKER_CONCURRENCY": "1"}, {"WORKER_CONCURRENCY": "4"}
    # One more takes jobs back and dies before it can say so; the last one does the work.
    with dooms(mesh, *points, "reap:after:1") as fates:
        environments = [{**alone, **fate.environment} for fate in fates]
        environments[-1]["WORKER_CONCURRENCY"] = "0"
        with crew(mesh, *environments, survivor) as names:
            *dying, reaping, living = names
            for service in SERVICE_OF.values():
                mesh.script(service, [{"duration_s": 0.4}])
            mesh.stop(living)
            jobs = [mesh.submit().job_id for _ in points]
            until(lambda: not any(map(mesh.alive, dying)), 40, what=f"the death at each of {points}")
            until(lambda: not mesh.alive(reaping), 20, what="the death of the one who takes jobs back")
            mesh.cont(living)
            found = invariants.check(mesh)
            waited = takeovers(mesh, fates[:-1], jobs)
    record_property("takeover_s", max(waited))
    assert max(waited) <= TAKEOVER_S, f"I10: {waited}"
    assert ended(job for job in found if job.id in jobs) == {"completed": AT_ONCE}


@pytest.mark.reps(1)
def test_f1_kill_9_of_a_worker_that_records_a_failure(mesh: Mesh, seed: int) -> None:
    quick = {"LEASE_S": "1"}
    with dooms(mesh, "failed:before:1", "failed:after:1") as fates:
        environments = [{"WORKER_CONCURRENCY": "1", **quick, **fate.environment} for fate in fates]
        with crew(mesh, *environments, quick) as (first, second, living):
            mesh.stop(living)
            mesh.script("reconstruction", [{"fault": "html_200"}])
            jobs = [mesh.submit().job_id for _ in range(2)]
            until(lambda: not mesh.alive(first) and not mesh.alive(second), what="the death of both")
            mesh.cont(living)
            found = [job for job in invariants.check(mesh) if job.id in jobs]
    assert [job.state for job in found] == ["failed"] * 2
    assert sorted(job.attempt for job in found) == [1, 2]


def test_f1_kill_9_of_the_api_while_it_accepts(mesh: Mesh, seed: int) -> None:
    moment = ("before", "after")[seed % 2]
    key, prompt = f"key-{seed}", f"a cube number {seed} {moment}"
    doom = Doom(mesh, "api", f"submit:{moment}:1")
    with crew(mesh, {}):
        mesh.kill("api")
        mesh.start("api", doom.environment)
        assert mesh.submit(key=key, prompt=prompt).status == 0
        until(lambda: not mesh.alive("api"))
        doom.close()
        mesh.start("api")
        again = [mesh.submit(key=key, prompt=prompt).job_id for _ in range(2)]
        found = invariants.check(mesh)
        assert again[0] == again[1]
        assert len(with_prompt(mesh, prompt)) == 1
        assert ended(job for job in found if job.id == again[0]) == {"completed": 1}


def with_prompt(mesh: Mesh, prompt: str) -> list[str]:
    """Jobs in Redis, acknowledged or not, with that prompt."""
    with mesh.redis() as connection:
        jobs = [key for key in connection.scan_iter("job:*", 1000) if not key.endswith(":events")]
        return [job for job in jobs if prompt in (connection.hget(job, "request") or "")]


@pytest.mark.reps(1)
def test_f2_sigterm_during_every_stage(mesh: Mesh, seed: int) -> None:
    """Odd seeds: one of them is killed in the act of handing back; all others hand back and go."""
    moment = ("before", "after")[seed // 2 % 2]
    with dooms(mesh, *[f"requeued:{moment}:1"][: seed % 2]) as fates:
        alone = {"WORKER_CONCURRENCY": "1", "LEASE_S": "2"}
        environments = [{**alone, **(fates[n].environment if n < len(fates) else {})} for n in range(3)]
        with crew(mesh, *environments, {"LEASE_S": "2"}) as names:
            *leaving, living = names
            for name in names:
                mesh.stop(name)
            jobs = [mesh.submit().job_id for _ in STAGE_OF]
            for path, job_id in zip(STAGE_OF, jobs, strict=True):
                slow(mesh, path, 6.0, job_id)
            for name in leaving:
                mesh.cont(name)
            for path, job_id in zip(STAGE_OF, jobs, strict=True):
                begun(mesh, path, job_id)
            began = time.monotonic()
            for name in leaving:
                mesh.terminate(name)
            until(lambda: not any(map(mesh.alive, leaving)), 8, what="leaving within the grace")
            assert time.monotonic() - began < 4.0, "a stopped worker hands back at once; it does not finish the stage"
            assert {mesh.exit_code(name) for name in leaving[len(fates) :]} == {0}
            mesh.cont(living)
            found = [job for job in invariants.check(mesh) if job.id in jobs]
    assert ended(found) == {"completed": 3}
    assert sum(job.losses for job in found) <= len(fates), "a polite return is no loss"


def test_f3_kill_9_of_a_service_with_another_replica(mesh: Mesh, seed: int) -> None:
    rng, path = random.Random(seed), list(STAGE_OF)[seed % len(STAGE_OF)]
    with crew(mesh, {}):
        slow(mesh, path, 1.0)
        job_id = mesh.submit().job_id
        port = begun(mesh, path, job_id)["port"]
        time.sleep(rng.uniform(0.0, 0.8))
        victim = next(name for name, url in mesh.stubs.items() if url.endswith(f":{port}"))
        mesh.kill(victim)
        try:
            found = invariants.check(mesh)
        finally:
            mesh.start(victim)
        assert ended(job for job in found if job.id == job_id) == {"completed": 1}


@pytest.mark.reps(1)
def test_f3_kill_9_of_the_only_service_that_comes_back(mesh: Mesh, seed: int) -> None:
    rng = random.Random(seed)
    path = rng.choice(list(STAGE_OF))
    only, *others = mesh.names(SERVICE_OF[path])
    for name in others:
        mesh.kill(name)
    try:
        with crew(mesh, {}):
            slow(mesh, path, 1.0)
            job_id = mesh.submit().job_id
            begun(mesh, path, job_id)
            time.sleep(rng.uniform(0.0, 0.8))
            mesh.kill(only)
            time.sleep(rng.uniform(0.0, 1.0))
            mesh.start(only)
            found = invariants.check(mesh)
            assert ended(job for job in found if job.id == job_id) == {"completed": 1}
    finally:
        for name in others:
            mesh.start(name, wait=False)
        for name in others:
            mesh.wait_up(name)


@pytest.mark.reps(1)
def test_f4_a_worker_that_stood_still_is_fenced(mesh: Mesh, seed: int, record_property: Any) -> None:
    rng = random.Random(seed)
    path, lease = rng.choice(list(STAGE_OF)), {"LEASE_S": "2"}
    with crew(mesh, lease, lease) as (zombie, living):
        mesh.stop(living)
        slow(mesh, path, 1.0)
        job_id = mesh.submit().job_id
        begun(mesh, path, job_id)
        time.sleep(rng.uniform(0.0, 0.8))
        mesh.stop(zombie)
        stopped_at = time.time()
        mesh.cont(living)
        mesh.wait_all()
        claims = claims_of(mesh, job_id)
        assert len(claims) == 2, "I10: somebody else took the job up"
        record_property("takeover_s", claims[1] - stopped_at)
        assert claims[1] - stopped_at <= TAKEOVER_S
        before, history, files = (
            mesh.fields(job_id),
            mesh.events(job_id),
            sorted(mesh.data_dir.rglob(f"*{job_id}*/**/*")),
        )
        mesh.cont(zombie)
        until(
            lambda: '"job_lost"' in mesh.logs(zombie) or '"job_stopped"' in mesh.logs(zombie),
            what="I4: the zombie's leave",
        )
        invariants.check(mesh)
        assert mesh.fields(job_id) == before, "I4: the zombie wrote"
        assert mesh.events(job_id) == history, "I4: the zombie told"
        assert sorted(mesh.data_dir.rglob(f"*{job_id}*/**/*")) == files, "I4: the zombie published"
        mesh.kill(living)
        again = mesh.submit().job_id
        assert ended(job for job in invariants.check(mesh) if job.id == again) == {"completed": 1}


@pytest.mark.reps(1)
def test_f16_a_poison_job_harms_nobody_else(mesh: Mesh, seed: int) -> None:
    rng = random.Random(seed)
    environment = {"DIE_AT": "call.generate:before:1:poison", "LEASE_S": "1"}
    good = 50 if FULL else 12
    with crew(mesh, environment, environment) as names:
        poison = rng.randrange(3)
        prompts = ["a poison cube" if n == poison else "a red cube" for n in range(good + 1)]
        jobs = [mesh.submit(prompt=prompt).job_id for prompt in prompts]

        def all_ended() -> bool:
            for name in names:
                if not mesh.alive(name):
                    mesh.start(name, environment, wait=False)
            return all(mesh.state(job_id) in {"completed", "failed"} for job_id in jobs)

        until(all_ended, 60, what="I10: the end of all jobs")
        found = {job.id: job for job in invariants.check(mesh) if job.id in jobs}
        assert ended([found.pop(jobs[poison])]) == {"attempts_exhausted": 1}
        assert ended(found.values()) == {"completed": good}, "I10: a good job paid for the poison"
