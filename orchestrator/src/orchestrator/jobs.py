"""All that anyone may ask. Every door joins here."""

import asyncio
import hashlib
import json
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from scratch3d.contracts.engines import PublicEngines
from scratch3d.contracts.jobs import (
    BatchRequest,
    FromImageRequest,
    GenerateRequest,
    JobEvent,
    JobOptions,
    ReplayRequest,
    State,
)
from scratch3d.servicekit.artifacts import ArtifactStore
from scratch3d.servicekit.errors import ServiceError, Unprocessable
from scratch3d.servicekit.logging import get_logger
from scratch3d.servicekit.metrics import JOBS_REFUSED, JOBS_SUBMITTED

from .admission import plan_again, plan_from_image, plan_generate
from .domain import Job, Plan
from .engines import Engines
from .errors import JobNotFound, QueueFull, StoreUnavailable, TooManyJobs
from .heirs import as_asked, changed_request, for_replay, for_retry, inherit, new_id
from .outlook import Outlook
from .settings import Settings
from .store import Feed, Idempotency, JobStore, Page, is_after

#: A silent stream looks at the store this often, should a wake-up have been lost.
LOOK_EVERY_S = 10.0
#: Kinds of events behind which no others come.
_ENDS = frozenset({"completed", "failed"})
#: A cancelled engine is stopped within two seconds; twice that is safe.
LINGER_S = 5.0

log = get_logger("jobs")


class Jobs:
    """Submit, look, list, watch, cancel, go on, delete: for one owner at a time; others' jobs do not exist."""

    def __init__(self, store: JobStore, engines: Engines, artifacts: ArtifactStore, settings: Settings) -> None:
        self.store, self.artifacts = store, artifacts
        self._engines, self._settings = engines, settings
        self._outlook = Outlook(store, engines)

    async def generate(self, request: GenerateRequest, *, owner: str, key: str | None = None) -> Job:
        """Accept a prompt; Unprocessable, NotAvailable, QueueFull, TooManyJobs or StoreUnavailable: nothing was kept."""
        wish = _idempotency(key, "generate", request.model_dump(mode="json") if key else {})
        if known := await self._known(owner, wish):
            return known[0]
        job = _new_job("generate", request, await plan_generate(request, self._engines), owner=owner, job_id=new_id())
        return (await self._submit([job], wish))[0]

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
        job_id = job_id or new_id()
        wish = _idempotency(key, "from_image", _with_digests(request, digests) if key else {})
        if known := await self._known(owner, wish):
            return known[0]
        plan = await plan_from_image(request, self._engines, job_id=job_id)
        return (await self._submit([_new_job("from_image", request, plan, owner=owner, job_id=job_id)], wish))[0]

    async def batch(self, batch: BatchRequest, *, owner: str, key: str | None = None) -> tuple[Job, ...]:
        """Accept all requests or none; errors as above, the field with its place in the list."""
        wish = _idempotency(key, "batch", batch.model_dump(mode="json") if key else {})
        if known := await self._known(owner, wish):
            return known
        jobs = []
        for number, request in enumerate(batch.requests):
            job_id = new_id()
            try:
                plan = await self._plan(request, job_id=job_id)
            except ServiceError as error:
                error.field = f"requests[{number}].{error.field}" if error.field else f"requests[{number}]"
                raise
            kind = "generate" if isinstance(request, GenerateRequest) else "from_image"
            jobs.append(_new_job(kind, request, plan, owner=owner, job_id=job_id))
        return await self._submit(jobs, wish)

    async def retry(self, job_id: str, *, owner: str, key: str | None = None) -> Job:
        """A new job that tries again what failed, with the same steps, from the stage that failed.

        Conflict when the job has not failed; otherwise as above.
        """
        parent = await self.get(job_id, owner=owner)
        wish = _idempotency(key, "retry", {"job": parent.id})
        if known := await self._known(owner, wish):
            return known[0]
        kept = for_retry(parent)
        heir = Job.model_validate({**_lineage(parent), "request": parent.request, "plan": parent.plan, "results": kept})
        return await self._submit_heir(parent, heir, wish)

    async def replay(self, job_id: str, again: ReplayRequest, *, owner: str, key: str | None = None) -> Job:
        """A new job that goes on from a kept stage, with some things changed.

        NotKept when there is no result to go on from; otherwise as above.
        """
        parent = await self.get(job_id, owner=owner)
        stage, changes = State(again.from_stage), again.changes
        wish = _idempotency(key, "replay", {"job": parent.id, "from": stage.value, "changes": changes})
        if known := await self._known(owner, wish):
            return known[0]
        kept = for_replay(parent, stage, changes)
        request = changed_request(parent, changes)
        if stage is State.GENERATING_IMAGES:
            plan = await self._plan(request, job_id=parent.id)
        else:
            plan = await plan_again(request, parent.plan, stage, self._engines, job_id=parent.id)
        heir = Job.model_validate({**_lineage(parent), "request": as_asked(request), "plan": plan, "results": kept})
        return await self._submit_heir(parent, heir, wish)

    async def _plan(self, request: GenerateRequest | FromImageRequest, *, job_id: str) -> Plan:
        if isinstance(request, GenerateRequest):
            return await plan_generate(request, self._engines)
        return await plan_from_image(request, self._engines, job_id=job_id)

    async def _submit_heir(self, parent: Job, heir: Job, wish: Idempotency | None) -> Job:
        try:
            heir = await asyncio.to_thread(inherit, parent, heir, self.artifacts)
            kept = (await self._submit([heir], wish))[0]
        except StoreUnavailable:
            raise  # whether the job was kept is not known: its files must stay
        except ServiceError:
            await asyncio.to_thread(self._remove_files, heir.id)
            raise
        if kept.id != heir.id:
            await asyncio.to_thread(self._remove_files, heir.id)
        return kept

    async def get(self, job_id: str, *, owner: str) -> Job:
        """The job; JobNotFound for unknown ids and for others' jobs alike."""
        job = await self.store.get(_checked_id(job_id))
        if job is None or job.owner != owner:
            raise JobNotFound()
        return job

    async def outlook(self, job: Job) -> tuple[int | None, float | None]:
        """Jobs before this one while it waits, and the seconds until it is likely done, where they are known."""
        return await self._outlook.of(job)

    async def page(self, *, owner: str, state: State | None, limit: int, cursor: str | None) -> Page:
        """The owner's jobs, newest first."""
        return await self.store.page(owner, state=state, limit=limit, cursor=cursor)

    async def cancel(self, job_id: str, *, owner: str, key: str | None = None) -> Job:
        """End the job whatever it does; AlreadyFinal when it has ended, unless the same key ended it."""
        job = await self.get(job_id, owner=owner)
        wish = _idempotency(key, "cancel", {"job": job.id})
        if wish and await self.store.remember(owner, wish, job.id) and job.is_final:
            return job
        ended = await self.store.cancel(job.id)
        log.info("job_cancelled", job_id=ended.id)
        return ended

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

    async def watch(self, job_id: str, *, owner: str, after: str = "0") -> AsyncGenerator[Sequence[JobEvent], None]:
        """The job's history behind an event id, then what happens, until it has ended; nothing when nothing did for long."""
        async with self.store.watch(job_id) as feed:
            if (await self.get(job_id, owner=owner)).is_final and not await self.store.events(job_id, after=after):
                return  # who comes back after the end has seen it
            async for events in _followed(feed, lambda last: self.store.events(job_id, after=last), after):
                last = events[-1].type if events else ""
                yield events
                del events  # a long history would be held until the next event
                if last in _ENDS:
                    return

    async def watch_all(self, *, owner: str, after: str | None = None) -> AsyncGenerator[Sequence[JobEvent], None]:
        """What happens to all jobs of the owner, from an event id or from now on, for ever; nothing as above.

        EventsGone when what came behind the id is not kept any more.
        """
        async with self.store.watch_owner(owner) as feed:
            begin = after or await self.store.last_event()
            async for events in _followed(feed, lambda last: self.store.owner_events(owner, after=last), begin):
                yield events
                del events

    async def engines(self) -> PublicEngines:
        """What is installed, and why something is not."""
        return await self._engines.public()

    async def _known(self, owner: str, wish: Idempotency | None) -> tuple[Job, ...]:
        """The jobs that this very request made before; asked first, because a repetition must not be refused."""
        if wish is None:
            return ()
        found = [await self.store.get(job_id) for job_id in await self.store.remember(owner, wish)]
        jobs = tuple(job for job in found if job)
        return jobs if len(jobs) == len(found) else ()

    async def _submit(self, jobs: Sequence[Job], wish: Idempotency | None) -> tuple[Job, ...]:
        settings = self._settings
        try:
            kept = await self.store.submit_all(
                jobs, max_queued=settings.max_queued, max_unfinished=settings.max_per_key, idempotency=wish
            )
        except (QueueFull, TooManyJobs) as refusal:
            refusal.retry_after_s = await self._outlook.next_place_s()
            JOBS_REFUSED.labels(refusal.problem_code).inc()
            raise
        for job, asked in zip(kept, jobs, strict=True):
            if job.id == asked.id:
                JOBS_SUBMITTED.labels(job.kind).inc()
                log.info("job_submitted", job_id=job.id, kind=job.kind, engine=job.plan.reconstruction_engine)
        return kept


async def _followed(
    feed: Feed, read: Callable[[str], Awaitable[Sequence[JobEvent]]], after: str
) -> AsyncIterator[Sequence[JobEvent]]:
    """The history behind an event id, then what comes; after a gap, or a long silence, the history again."""
    while True:
        missed = await read(after)
        after = missed[-1].id if missed else after
        yield missed
        del missed
        while news := await feed.news(LOOK_EVERY_S):
            # What was written while the history was read may be in both.
            if news := [event for event in news if is_after(event.id, after)]:
                after = news[-1].id
                yield news


def _new_job(kind: str, request: JobOptions, plan: Plan, *, owner: str, job_id: str) -> Job:
    asked = as_asked(request)
    return Job(id=job_id, owner=owner, kind=kind, request=asked, plan=plan, created_at=time.time())


def _lineage(parent: Job) -> dict[str, Any]:
    return {
        "id": new_id(),
        "owner": parent.owner,
        "kind": parent.kind,
        "parent": parent.id,
        "until": parent.until,
        "created_at": time.time(),
    }


def _with_digests(request: FromImageRequest, digests: Mapping[str, str]) -> dict[str, Any]:
    document = request.model_dump(mode="json")
    for item in (*document["image_paths"], *document["image_urls"]):
        if isinstance(item, dict) and item.get("path") in digests:
            item["path"] = digests[item["path"]]
    return document


def _idempotency(key: str | None, kind: str, document: Mapping[str, Any]) -> Idempotency | None:
    if key is None:
        return None
    if not 1 <= len(key) <= 255 or not key.isascii() or not key.isprintable() or " " in key:
        raise Unprocessable("must be 1 to 255 printable ASCII characters without spaces", field="Idempotency-Key")
    body = hashlib.sha256(json.dumps([kind, document], sort_keys=True).encode()).hexdigest()
    return Idempotency(key=key, body_sha256=body)


def _checked_id(job_id: str) -> str:
    try:
        return str(uuid.UUID(job_id))
    except ValueError:
        raise JobNotFound() from None
