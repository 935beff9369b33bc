"""Jobs in Redis 6.2 or later, a single node or behind Sentinel.

Every change is one Lua script (see lua/); key names exist there and in this file, nowhere else. Time in leases is
Redis' own, never a worker's. a command whose reply was lost is sent again, so every script recognises a repetition.
"""

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from scratch3d.contracts.jobs import PROGRESS_AT, JobEvent, State
from scratch3d.contracts.problems import Problem
from scratch3d.servicekit.errors import Conflict
from scratch3d.slots import RedisWire, Ride

from .domain import (
    MESSAGES,
    SCHEMA,
    TAKEN_BACK,
    Job,
    StageResult,
    advanced,
    event_of,
    failed,
    requeued,
    resumed,
    told_as,
    waiting,
)
from .errors import (
    AlreadyFinal,
    EventsGone,
    JobNotFound,
    KeyReused,
    LeaseLost,
    QueueFull,
    StoreUnavailable,
    TooManyJobs,
)
from .live import LiveChannel
from .problems import CANCELLED
from .redis_jobs import changed_fields, event_text, from_fields, new_fields, read_event
from .redis_link import RedisLink
from .store import Census, Feed, Idempotency, Page, Watch, is_after

QUEUE, LEASES, CLAIMS, PACE, OUTBOX = "3d:queue", "3d:leases", "3d:claims", "3d:pace", "3d:events"
WORKERS = "3d:workers"
#: How long an idempotency key is remembered.
KEY_LIFE_S = 24 * 3600
#: A worker's write is tried again for this long while Redis is away; its lease has ended by then.
PATIENCE_S = 20.0
#: Pause when what is in the queue is for others.
NOT_OURS_PAUSE_S = 0.5
#: A look at the queue that takes less did not wait for anything.
BACKLOG_S = 0.002
#: A queue in which a job is not simply searched.
LONG_QUEUE = 500
#: How long the order of a long queue is remembered for questions about positions.
ORDER_LIFE_S = 0.5

_SUBMITTED = event_text({"type": "submitted", "state": "queued", "progress": 0, "message": MESSAGES[State.QUEUED]})
_MESSAGES = json.dumps(MESSAGES)
#: The outbox keeps at least so many entries.
OUTBOX_ENTRIES = 20_000
SCRIPTS = ("submit", "remember", "claim", "beat", "write", "reap", "delete")


class RedisStore:
    """Implements JobStore."""

    def __init__(self, url: str) -> None:
        self._link = RedisLink(url, SCRIPTS, {"@SUBMITTED@": _SUBMITTED, "@OUTBOX_ENTRIES@": str(OUTBOX_ENTRIES)})
        self._happened: LiveChannel[Feed] = LiveChannel(url, "3d:live", _pass_on)
        self._stopped: LiveChannel[Watch] = LiveChannel(url, "3d:stop", _wake)
        self._backlog = True
        self._order: dict[str, int] = {}
        self._order_until = 0.0

    @property
    def wire(self) -> RedisWire:
        """The connection, for slots."""
        return self._link.wire

    async def submit(
        self, job: Job, *, max_queued: int, max_unfinished: int = 0, idempotency: Idempotency | None = None
    ) -> Job:
        """See JobStore."""
        kept = await self.submit_all(
            [job], max_queued=max_queued, max_unfinished=max_unfinished, idempotency=idempotency
        )
        return kept[0]

    async def submit_all(
        self,
        jobs: Sequence[Job],
        *,
        max_queued: int,
        max_unfinished: int = 0,
        idempotency: Idempotency | None = None,
    ) -> tuple[Job, ...]:
        """See JobStore."""
        owner = jobs[0].owner
        keys = [QUEUE, f"3d:jobs:{owner}", f"3d:unfinished:{owner}", _key_of(owner, idempotency)]
        body = idempotency.body_sha256 if idempotency else ""
        arguments: list[Any] = [owner, max_queued, max_unfinished, body, KEY_LIFE_S]
        for job in jobs:
            flat = _flat(new_fields(job))
            arguments += [job.id, len(flat), *flat]
        word, *found = await self._link.run("submit", keys, arguments)
        if word == "full":
            raise QueueFull(f"{found[0]} jobs are waiting already; nothing was accepted", retry_after_s=5.0)
        if word == "capped":
            raise TooManyJobs(f"{found[0]} of your jobs have not ended yet; nothing was accepted", retry_after_s=5.0)
        if word == "reused":
            raise KeyReused(field="Idempotency-Key")
        ours = {job.id: job for job in jobs}
        return tuple([ours.get(job_id) or await self._existing(job_id) for job_id in found])

    async def remember(self, owner: str, idempotency: Idempotency, job_id: str | None = None) -> tuple[str, ...]:
        """See JobStore."""
        arguments = [idempotency.body_sha256, job_id or "", KEY_LIFE_S]
        word, *ids = await self._link.run("remember", [_key_of(owner, idempotency)], arguments)
        if word == "reused":
            raise KeyReused(field="Idempotency-Key")
        return tuple(ids)

    async def get(self, job_id: str) -> Job | None:
        """See JobStore."""
        return _job(await self._link.ask("HGETALL", f"job:{job_id}"))

    async def claim(
        self,
        token: str,
        *,
        lease_s: float,
        wait_s: float,
        suspect_losses: int | None = None,
        ride: Ride | None = None,
    ) -> Job | None:
        """See JobStore."""
        suspect = "" if suspect_losses is None else suspect_losses
        arguments = [token, int(lease_s * 1000), SCHEMA, _MESSAGES, PROGRESS_AT[State.GENERATING_IMAGES], suspect]
        # Who has claimed nothing asks for nothing: the scripts of the ride look for the token, too.
        also = [(script, [*keys, CLAIMS], given) for script, keys, given in ride.calls] if ride else []
        calls = (self._link.call("claim", [QUEUE, LEASES, CLAIMS], arguments), *also)
        # While there is a backlog a claim is one round trip; while there is none, looking first saves the vain one.
        # A claim whose answer was lost is asked for again at once.
        backlog, self._backlog = self._backlog, True
        found, *replies = await self._link.run_all("claim", *calls) if backlog or wait_s <= 0 else [()]
        deadline = time.monotonic() + wait_s
        while not found and (left_s := deadline - time.monotonic()) > 0:
            began, backlog = time.monotonic(), False
            if await self._link.wait_for_item(QUEUE, left_s):
                backlog = time.monotonic() - began < BACKLOG_S
                found, *replies = await self._link.run_all("claim", *calls)  # somebody else may have been quicker
        self._backlog = backlog
        if found in (["newer"], ["suspect"]):
            await asyncio.sleep(min(wait_s, NOT_OURS_PAUSE_S))
            return None
        if ride and found:
            ride.arrived(replies)
        return _job(found)

    async def claimed(self, token: str) -> Job | None:
        """See JobStore."""
        job_id: Any = await self._link.ask("HGET", CLAIMS, token)
        return await self.get(job_id) if job_id else None

    async def beat(
        self, job: Job, *, lease_s: float, progress: int, phase: str | None, ride: Ride | None = None
    ) -> None:
        """See JobStore."""
        arguments = [job.id, job.token, int(lease_s * 1000), progress, phase or ""]
        if not await self._link.run("beat", [f"job:{job.id}", LEASES], arguments, ride=ride):
            raise LeaseLost(job.id)

    async def advance(self, job: Job, *results: StageResult, ride: Ride | None = None) -> Job:
        """See JobStore."""
        following, events, ran = job, list[str](), list[str]()
        for result in results:
            if not result.skipped:
                ran.append(f"{following.state.value} {result.duration_s:.3f}")
            following = advanced(following, result, time.time())
            events.append(event_text(event_of(following, told_as(following, result))))
        lease = "drop" if following.is_final else "keep"
        await self._write(job, following, events, lease=lease, ran=ran, ride=ride)
        return following

    async def fail(self, job: Job, problem: Problem) -> Job:
        """See JobStore."""
        return await self._write(job, failed(job, problem, time.time()), "failed", lease="drop")

    async def release(self, job: Job) -> None:
        """See JobStore."""
        await self._write(job, requeued(job), "requeued", lease="requeue")

    async def wait(self, job: Job, reason: str) -> Job:
        """See JobStore."""
        return await self._write(job, waiting(job, reason), "waiting", lease="drop")

    async def resume(self, job_id: str) -> Job:
        """See JobStore."""
        job = await self._existing(job_id)
        if not job.waiting_for or job.is_final:
            raise Conflict("the job does not wait for anybody")
        try:
            return await self._write(job, resumed(job), "resumed", lease="queue", whoever=True)
        except LeaseLost:
            raise Conflict("the job was resumed or cancelled by somebody else") from None

    async def cancel(self, job_id: str) -> Job:
        """See JobStore."""
        while True:
            job = await self._existing(job_id)
            if job.is_final:
                raise AlreadyFinal(f"the job is {job.state} already")
            try:
                ended = failed(job, CANCELLED, time.time())
                return await self._write(job, ended, "failed", lease="drop", whoever=True)
            except LeaseLost:
                continue  # it moved on between our look and our write: look again

    async def reap(self, *, by: str = "", present_s: float = 0.0) -> tuple[str, ...]:
        """See JobStore."""
        return tuple(await self._link.run("reap", [LEASES, CLAIMS, QUEUE, WORKERS], [TAKEN_BACK, by, present_s]))

    async def position(self, job_id: str) -> int | None:
        """See JobStore; in a long queue as it was half a second ago."""
        now = time.monotonic()
        if now < self._order_until and job_id in self._order:
            return self._order[job_id]
        # From the end: who is not known yet has likely just been submitted.
        place: int | None
        place, length = await self._link.ask_all(
            ("LPOS", QUEUE, job_id, "RANK", -1, "MAXLEN", LONG_QUEUE), ("LLEN", QUEUE)
        )
        if length > LONG_QUEUE and now >= self._order_until:
            # Searching a long list for every caller would hold up everybody: one look at it serves them all.
            self._order_until = now + ORDER_LIFE_S
            ids = await self._link.ask("LRANGE", QUEUE, 0, -1)
            self._order = {one: number for number, one in enumerate(ids)}
        return self._order.get(job_id, place) if length > LONG_QUEUE else place

    async def page(self, owner: str, *, state: State | None, limit: int, cursor: str | None) -> Page:
        """See JobStore."""
        index, found = f"3d:jobs:{owner}", list[Job]()
        start: Any = 0
        if cursor:
            start = await self._link.ask("ZREVRANK", index, cursor) or 0
        while len(found) <= limit:
            ids: Any = await self._link.ask("ZREVRANGE", index, start, start + limit)
            if not ids:
                break
            start += len(ids)
            hashes = [("HGETALL", f"job:{job_id}") for job_id in ids]
            jobs = map(_job, await self._link.ask_all(*hashes))
            found += [job for job in jobs if job and (state is None or job.state is state)]
        return Page(jobs=tuple(found[:limit]), next_cursor=found[limit].id if len(found) > limit else None)

    async def events(self, job_id: str, *, after: str = "0") -> Sequence[JobEvent]:
        """See JobStore."""
        least, stream = f"({after}" if after != "0" else "-", f"job:{job_id}:events"
        entries, begun, submitted = await self._link.ask_all(
            ("XRANGE", stream, least, "+"),
            ("EXISTS", stream),
            ("HGET", f"job:{job_id}", "submitted"),
        )
        if not begun and submitted and is_after(submitted, after):
            # The history of a job that nothing has happened to yet is its submission.
            first = read_event(job_id, submitted, _SUBMITTED)
            return [first] if first else []
        told = [read_event(job_id, entry_id, _paired(entry)["event"]) for entry_id, entry in entries]
        return [event for event in told if event]

    async def owner_events(self, owner: str, *, after: str) -> Sequence[JobEvent]:
        """See JobStore."""
        length, oldest, entries = await self._link.ask_all(
            ("XLEN", OUTBOX), ("XRANGE", OUTBOX, "-", "+", "COUNT", 1), ("XRANGE", OUTBOX, f"({after}", "+")
        )
        # Before it is full, the outbox holds everything that ever happened.
        if length >= OUTBOX_ENTRIES and is_after(oldest[0][0], after):
            raise EventsGone()
        ours = [(entry_id, e) for entry_id, pairs in entries if (e := _paired(pairs)).get("owner") == owner]
        told = [read_event(e["job_id"], entry_id, e["event"]) for entry_id, e in ours]
        return [event for event in told if event]

    async def last_event(self) -> str:
        """See JobStore."""
        newest: Any = await self._link.ask("XREVRANGE", OUTBOX, "+", "-", "COUNT", 1)
        return str(newest[0][0]) if newest else "0-1"

    def watch(self, job_id: str) -> AbstractAsyncContextManager[Feed]:
        """See JobStore."""
        return self._happened.listen(job_id, Feed())

    def watch_owner(self, owner: str) -> AbstractAsyncContextManager[Feed]:
        """See JobStore."""
        return self._happened.listen(f"@{owner}", Feed())

    def guard(self, job_id: str) -> AbstractAsyncContextManager[Watch]:
        """See JobStore."""
        return self._stopped.listen(job_id, Watch())

    async def delete(self, job: Job) -> None:
        """See JobStore."""
        keys = [f"job:{job.id}", f"job:{job.id}:events", f"3d:jobs:{job.owner}", f"3d:unfinished:{job.owner}"]
        if not await self._link.run("delete", keys, [job.id]):
            raise Conflict("the job has not ended: cancel it first")

    async def queue_length(self) -> int:
        """See JobStore."""
        return int(await self._link.ask("LLEN", QUEUE))

    async def pace(self) -> Mapping[State, float]:
        """See JobStore."""
        told = _paired(await self._link.ask("HGETALL", PACE))
        return {State(stage): float(seconds) for stage, seconds in told.items()}

    async def census(self) -> Census:
        """See JobStore."""
        queued, running, workers, memory = await self._link.ask_all(
            ("LLEN", QUEUE), ("ZCARD", LEASES), ("ZCARD", WORKERS), ("INFO", "memory")
        )
        return Census(
            queued=queued,
            running=running,
            workers=workers,
            memory_bytes=int(memory.split("used_memory:")[1].split()[0]),
        )

    async def ping(self) -> None:
        """See JobStore."""
        await self._link.ask("PING")

    async def close(self) -> None:
        """See JobStore."""
        await self._happened.close()
        await self._stopped.close()
        await self._link.close()

    async def _existing(self, job_id: str) -> Job:
        job = await self.get(job_id)
        if job is None:
            raise JobNotFound()
        return job

    async def _write(
        self,
        job: Job,
        following: Job,
        events: str | Sequence[str],
        *,
        lease: str,
        whoever: bool = False,
        ran: Sequence[str] = (),
        ride: Ride | None = None,
    ) -> Job:
        """`events` are texts, or the kind of the one event that this is."""
        if isinstance(events, str):
            events = [event_text(event_of(following, events))]
        keys = [f"job:{job.id}", LEASES, CLAIMS, QUEUE, f"3d:unfinished:{job.owner}", PACE]
        guard = [job.id, job.owner, job.state.value, job.version, "*" if whoever else job.token]
        told = ["\n".join(events), " ".join(ran), uuid.uuid4().hex]
        arguments = [*guard, lease, *told, *_flat(changed_fields(job, following))]
        word = await self._patiently(
            lambda: self._link.run("write", keys, arguments, ride=ride), 0.0 if whoever else PATIENCE_S
        )
        if word != "ok":
            raise LeaseLost(job.id)
        return following

    async def _patiently(self, call: Callable[[], Awaitable[Any]], patience_s: float) -> Any:
        """Repeat a write that Redis did not answer: it carries its own id, so it happens once."""
        deadline = time.monotonic() + patience_s
        while True:
            try:
                return await call()
            except StoreUnavailable:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.25)


def _pass_on(message: str, listeners: dict[str, set[Feed]]) -> None:
    entry_id, job_id, owner, event = message.split(" ", 3)
    interested = (*listeners.get(job_id, ()), *listeners.get(f"@{owner}", ()))
    if interested:
        told = read_event(job_id, entry_id, event)
        for feed in interested if told else ():
            feed.put(told)


def _wake(job_id: str, listeners: dict[str, set[Watch]]) -> None:
    for watch in listeners.get(job_id, ()):
        watch.interrupt()


def _paired(flat: Sequence[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _job(flat: Sequence[str]) -> Job | None:
    return from_fields(_paired(flat)) if flat else None


def _key_of(owner: str, idempotency: Idempotency | None) -> str:
    return f"3d:idem:{owner}:{idempotency.key if idempotency else '-'}"


def _flat(fields: dict[str, str]) -> list[str]:
    return [part for pair in fields.items() for part in pair]
