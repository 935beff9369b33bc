"""All that anyone may ask. Every door joins here."""

import asyncio
import hashlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import Any

from scratch3d.contracts.engines import PublicEngines
from scratch3d.contracts.jobs import FromImageRequest, GenerateRequest, JobEvent, JobOptions, State
from scratch3d.servicekit.artifacts import ArtifactStore
from scratch3d.servicekit.errors import Unprocessable
from scratch3d.servicekit.logging import get_logger
from scratch3d.servicekit.metrics import JOBS_SUBMITTED

from .admission import plan_from_image, plan_generate
from .domain import Job, Plan
from .engines import Engines
from .errors import JobNotFound
from .settings import Settings
from .store import Idempotency, JobStore, Page

#: A silent stream looks at the store this often, should a wake-up have been lost.
LOOK_EVERY_S = 5.0
#: A cancelled engine is stopped within two seconds; twice that is safe.
LINGER_S = 5.0

log = get_logger("jobs")


class Jobs:
    """Submit, look, list, watch, cancel, delete: for one owner at a time; others' jobs do not exist."""

    def __init__(self, store: JobStore, engines: Engines, artifacts: ArtifactStore, settings: Settings) -> None:
        self.store, self.artifacts = store, artifacts
        self._engines, self._settings = engines, settings

    async def generate(self, request: GenerateRequest, *, owner: str, key: str | None = None) -> Job:
        """Accept a prompt; Unprocessable, NotAvailable, QueueFull or StoreUnavailable, and then nothing was kept."""
        plan = await plan_generate(request, self._engines)
        return await self._submit("generate", request, plan, owner=owner, key=key, job_id=str(uuid.uuid4()))

    async def from_image(
        self,
        request: FromImageRequest,
        *,
        owner: str,
        key: str | None = None,
        job_id: str | None = None,
        digests: Mapping[str, str] = MappingProxyType({}),
    ) -> Job:
        """Accept pictures that lie under inputs/; errors as above.

        `job_id` is given when files were stored for it, `digests` are those files' sha256 by path: the same pictures
        sent again under the same key are the same request, whatever they are called here.
        """
        job_id = job_id or str(uuid.uuid4())
        plan = await plan_from_image(request, self._engines, job_id=job_id)
        return await self._submit("from_image", request, plan, owner=owner, key=key, job_id=job_id, digests=digests)

    async def get(self, job_id: str, *, owner: str) -> Job:
        """The job; JobNotFound for unknown ids and for others' jobs alike."""
        job = await self.store.get(_checked_id(job_id))
        if job is None or job.owner != owner:
            raise JobNotFound()
        return job

    async def position(self, job: Job) -> int | None:
        """Jobs before this one, while it waits."""
        return await self.store.position(job.id) if job.state is State.QUEUED else None

    async def page(self, *, owner: str, state: State | None, limit: int, cursor: str | None) -> Page:
        """The owner's jobs, newest first."""
        return await self.store.page(owner, state=state, limit=limit, cursor=cursor)

    async def cancel(self, job_id: str, *, owner: str) -> Job:
        """End the job whatever it does; AlreadyFinal when it has ended."""
        await self.get(job_id, owner=owner)
        job = await self.store.cancel(job_id)
        log.info("job_cancelled", job_id=job.id)
        return job

    async def delete(self, job_id: str, *, owner: str) -> None:
        """Forget an ended job and remove its files; Conflict when it has not ended."""
        job = await self.get(job_id, owner=owner)
        await self.store.delete(job)
        self._remove_files(job.id)
        if time.time() - (job.finished_at or 0.0) < LINGER_S:
            # An engine that was cancelled a moment ago may still write its last file.
            asyncio.get_running_loop().call_later(LINGER_S, self._remove_files, job.id)

    def _remove_files(self, job_id: str) -> None:
        for root in ("inputs", "outputs"):
            self.artifacts.delete_tree(f"{root}/{job_id}")

    async def watch(self, job_id: str, *, owner: str, after: str = "0") -> AsyncIterator[JobEvent]:
        """The job's history behind an event id, then what happens, until it has ended."""
        await self.get(job_id, owner=owner)
        async with self.store.watch(job_id) as watch:
            while True:
                for event in await self.store.events(job_id, after=after):
                    after = event.id
                    yield event
                    if event.type in {"completed", "failed"}:
                        return
                woken = await watch.wait(LOOK_EVERY_S)
                ended = not woken and (await self.get(job_id, owner=owner)).is_final
                if ended and not await self.store.events(job_id, after=after):
                    return

    async def engines(self) -> PublicEngines:
        """What is installed, and why something is not."""
        return await self._engines.public()

    async def _submit(
        self,
        kind: str,
        request: JobOptions,
        plan: Plan,
        *,
        owner: str,
        key: str | None,
        job_id: str,
        digests: Mapping[str, str] = MappingProxyType({}),
    ) -> Job:
        asked: dict[str, Any] = request.model_dump(mode="json", exclude_defaults=True)
        job = Job(id=job_id, owner=owner, kind=kind, request=asked, plan=plan, created_at=time.time())
        kept = await self.store.submit(
            job, max_queued=self._settings.max_queued, idempotency=_idempotency(key, kind, request, digests)
        )
        if kept.id == job.id:
            JOBS_SUBMITTED.labels(kind).inc()
            log.info("job_submitted", job_id=job.id, kind=kind, engine=plan.reconstruction_engine)
        return kept


def _idempotency(key: str | None, kind: str, request: JobOptions, digests: Mapping[str, str]) -> Idempotency | None:
    if key is None:
        return None
    if not 1 <= len(key) <= 255 or not key.isascii() or not key.isprintable() or " " in key:
        raise Unprocessable("must be 1 to 255 printable ASCII characters without spaces", field="Idempotency-Key")
    document = request.model_dump(mode="json")
    for item in (*document.get("image_paths", ()), *document.get("image_urls", ())):
        if isinstance(item, dict) and item.get("path") in digests:
            item["path"] = digests[item["path"]]
    body = hashlib.sha256(json.dumps([kind, document], sort_keys=True).encode()).hexdigest()
    return Idempotency(key=key, body_sha256=body)


def _checked_id(job_id: str) -> str:
    try:
        return str(uuid.UUID(job_id))
    except ValueError:
        raise JobNotFound() from None
