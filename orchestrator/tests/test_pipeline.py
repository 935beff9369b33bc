"""The trip of a job with fake steps: kept stages are walked through, and `until` ends it early."""

from builders import new_job

from orchestrator.berth import Berth
from orchestrator.domain import STAGES, Job, StageResult
from orchestrator.pipeline import run
from orchestrator.store_memory import MemoryStore
from scratch3d.contracts.artifacts import ArtifactRef
from scratch3d.contracts.jobs import State
from scratch3d.slots import MemorySlots

REF = ArtifactRef(key="inputs/x/1/front.png", media_type="image/png", size_bytes=3, sha256="0" * 64)


class Fake:
    """A step that counts its calls."""

    def __init__(self, value: dict[str, object] | None = None) -> None:
        self.calls, self.value = 0, value or {}

    async def call(self, job: Job, progress: object, berth: object) -> StageResult:
        self.calls += 1
        return StageResult(
            engine="fake",
            engine_version="1",
            inputs_sha256="s",
            started_at=0,
            duration_s=0,
            value=self.value,  # type: ignore[arg-type]
        )


async def trip(job: Job) -> tuple[Job, dict[State, Fake], list[str]]:
    store = MemoryStore()
    await store.submit(job, max_queued=1)
    held = await store.claim("t", lease_s=10, wait_s=1)
    assert held
    views = {"views": [{"ref": REF.model_dump()}]}
    steps = {stage: Fake(views if stage is State.GENERATING_IMAGES else None) for stage in STAGES}
    done = await run(held, steps, store, lambda *_: None, Berth(MemorySlots(), {}))
    return done, steps, [e.type for e in await store.events(job.id)]


async def test_every_stage_runs_once() -> None:
    done, steps, history = await trip(new_job())
    assert done.state is State.COMPLETED and [s.calls for s in steps.values()] == [1, 1, 1]
    assert history == ["submitted", "claimed", "stage", "stage", "completed"]


async def test_kept_stages_are_walked_through() -> None:
    kept = await Fake({"views": []}).call(new_job(), None, None)
    done, steps, history = await trip(new_job(results={State.GENERATING_IMAGES: kept}))
    assert done.state is State.COMPLETED and [s.calls for s in steps.values()] == [0, 1, 1]
    assert history == ["submitted", "claimed", "skipped", "stage", "completed"]
    assert done.results[State.GENERATING_IMAGES].skipped


async def test_until_completes_with_the_views() -> None:
    done, steps, history = await trip(new_job(until="generating_images"))
    assert done.state is State.COMPLETED and [s.calls for s in steps.values()] == [1, 0, 0]
    assert history == ["submitted", "claimed", "stage", "skipped", "completed"]
    assert done.asset and done.asset.role == "view"
