"""Jobs in Redis 6.2 or later, a single node or behind Sentinel.

Every change is one Lua script (see lua/); key names exist there and in this file, nowhere else. Time in leases is
Redis' own, never a worker's. redis-py repeats a command whose reply was lost, so every script recognises a repetition.
"""

import json
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from scratch3d.contracts.jobs import PROGRESS_AT, JobEvent, State
from scratch3d.contracts.problems import Problem
from scratch3d.servicekit.errors import Conflict

from .domain import MESSAGES, Job, StageResult, advanced, event_of, failed, requeued, resumed, told_as, waiting
from .errors import AlreadyFinal, JobNotFound, KeyReused, LeaseLost, QueueFull, StoreUnavailable
from .live import LiveFeed
from .problems import CANCELLED
from .store import Idempotency, Page, Watch

QUEUE, LEASES, CLAIMS = "3d:queue", "3d:leases", "3d:claims"
#: How long an idempotency key is remembered.
KEY_LIFE_S = 24 * 3600
#: One blocking look at the queue; short, so that a dead connection is noticed.
PEEK_S = 5.0

_JSON_FIELDS = {"request", "plan", "results", "outputs", "problem", "engines", "warnings"}
_TIME_FIELDS = {"created_at", "started_at", "finished_at"}


class RedisStore:
    """Implements JobStore."""

    def __init__(self, url: str) -> None:
        self._redis = Redis.from_url(url, decode_responses=True, socket_connect_timeout=5, health_check_interval=30)
        # Blocking reads get a connection without a socket timeout: with one, redis-py 8 gives up on the reply,
        # tries again, and an item popped into the dead socket would be lost.
        self._consumer = Redis.from_url(url, decode_responses=True, socket_timeout=None, socket_connect_timeout=5)
        self._live = LiveFeed(url)
        prelude = _lua("prelude")
        self._scripts = {
            name: self._redis.register_script(prelude + _lua(name))
            for name in ("submit", "claim", "beat", "write", "reap", "delete")
        }

    @property
    def redis(self) -> Redis:
        """The plain connection pool, for slots."""
        return self._redis

    async def submit(self, job: Job, *, max_queued: int, idempotency: Idempotency | None = None) -> Job:
        """See JobStore."""
        key = idempotency.key if idempotency else "-"
        keys = [QUEUE, f"job:{job.id}", f"3d:jobs:{job.owner}", f"3d:idem:{job.owner}:{key}"]
        body = idempotency.body_sha256 if idempotency else ""
        arguments = [job.id, max_queued, body, KEY_LIFE_S, _event(job, "submitted"), *_flat(to_fields(job))]
        word, value = await self._run("submit", keys, arguments)
        if word == "full":
            raise QueueFull(f"{value} jobs are waiting already; nothing was accepted", retry_after_s=5.0)
        if word == "reused":
            raise KeyReused(field="Idempotency-Key")
        return job if value == job.id else await self._existing(value)

    async def get(self, job_id: str) -> Job | None:
        """See JobStore."""
        with _translated():
            fields: Any = await self._redis.hgetall(f"job:{job_id}")
        return from_fields(fields) if fields else None

    async def claim(self, token: str, *, lease_s: float, wait_s: float) -> Job | None:
        """See JobStore."""
        with _translated():
            # A blocking look that leaves the queue as it is (head to head of the same list): no item is ever in flight.
            if not await self._consumer.blmove(QUEUE, QUEUE, max(1, int(min(wait_s, PEEK_S))), "LEFT", "LEFT"):
                return None
        first = State.GENERATING_IMAGES
        arguments = [token, int(lease_s * 1000), repr(time.time()), MESSAGES[first], PROGRESS_AT[first]]
        flat = await self._run("claim", [QUEUE, LEASES, CLAIMS], arguments)
        return from_fields(dict(zip(flat[::2], flat[1::2], strict=True))) if flat else None

    async def beat(self, job: Job, *, lease_s: float, progress: int, phase: str | None) -> None:
        """See JobStore."""
        arguments = [job.id, job.token, int(lease_s * 1000), progress, phase or ""]
        if not await self._run("beat", [f"job:{job.id}", LEASES], arguments):
            raise LeaseLost(job.id)

    async def advance(self, job: Job, result: StageResult) -> Job:
        """See JobStore."""
        following = advanced(job, result, time.time())
        kind = told_as(following, result)
        return await self._write(job, following, kind, lease="drop" if following.is_final else "keep")

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

    async def reap(self) -> tuple[str, ...]:
        """See JobStore."""
        return tuple(await self._run("reap", [LEASES, CLAIMS, QUEUE], ["Taken back; waiting for a worker"]))

    async def position(self, job_id: str) -> int | None:
        """See JobStore."""
        with _translated():
            place: Any = await self._redis.lpos(QUEUE, job_id)
        return None if place is None else int(place)

    async def page(self, owner: str, *, state: State | None, limit: int, cursor: str | None) -> Page:
        """See JobStore."""
        index, found = f"3d:jobs:{owner}", list[Job]()
        with _translated():
            start: Any = (await self._redis.zrevrank(index, cursor) or 0) if cursor else 0
            while len(found) <= limit:
                ids: Any = await self._redis.zrevrange(index, start, start + limit)
                if not ids:
                    break
                start += len(ids)
                pipeline = self._redis.pipeline(transaction=False)
                for job_id in ids:
                    pipeline.hgetall(f"job:{job_id}")
                jobs = [from_fields(fields) for fields in await pipeline.execute() if fields]
                found += [job for job in jobs if state is None or job.state is state]
        return Page(jobs=tuple(found[:limit]), next_cursor=found[limit].id if len(found) > limit else None)

    async def events(self, job_id: str, *, after: str = "0") -> Sequence[JobEvent]:
        """See JobStore."""
        with _translated():
            entries: Any = await self._redis.xrange(f"job:{job_id}:events", min=f"({after}" if after != "0" else "-")
        return [_read_event(job_id, entry_id, fields) for entry_id, fields in entries]

    @asynccontextmanager
    async def watch(self, job_id: str) -> AsyncIterator[Watch]:
        """See JobStore."""
        async with self._live.watch(job_id) as watch:
            yield watch

    async def delete(self, job: Job) -> None:
        """See JobStore."""
        keys = [f"job:{job.id}", f"job:{job.id}:events", f"3d:jobs:{job.owner}"]
        if not await self._run("delete", keys, [job.id]):
            raise Conflict("the job has not ended: cancel it first")

    async def queue_length(self) -> int:
        """See JobStore."""
        with _translated():
            return int(await self._redis.llen(QUEUE))

    async def ping(self) -> None:
        """See JobStore."""
        with _translated():
            await self._redis.ping()

    async def close(self) -> None:
        """See JobStore."""
        await self._live.close()
        await self._consumer.aclose()
        await self._redis.aclose()

    async def _existing(self, job_id: str) -> Job:
        job = await self.get(job_id)
        if job is None:
            raise JobNotFound()
        return job

    async def _write(self, job: Job, following: Job, kind: str, *, lease: str, whoever: bool = False) -> Job:
        keys = [f"job:{job.id}", LEASES, CLAIMS, QUEUE]
        fields = {**to_fields(following), "write_id": uuid.uuid4().hex}
        guard = [job.id, job.state.value, job.version, "*" if whoever else job.token]
        word = await self._run("write", keys, [*guard, lease, _event(following, kind), *_flat(fields)])
        if word != "ok":
            raise LeaseLost(job.id)
        return following

    async def _run(self, name: str, keys: list[str], arguments: list[Any]) -> Any:
        with _translated():
            return await self._scripts[name](keys=keys, args=arguments)


class _translated:
    """Redis' errors become StoreUnavailable: the caller's answer is 503, and nothing was accepted."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, RedisError | OSError):
            raise StoreUnavailable(f"Redis does not answer: {error}", retry_after_s=2.0) from error


def to_fields(job: Job) -> dict[str, str]:
    """The hash of a job. Besides the job's own fields it holds what people read with HGETALL."""
    document = job.model_dump(mode="json", exclude={"schema_version"})
    document["schema"] = job.schema_version
    document["asset_path"] = job.asset.ref.public_path if job.asset else ""
    document["stage"] = job.state.value if job.remaining() else ""
    document["engines"] = {stage.value: result.engine for stage, result in job.results.items()}
    document["warnings"] = job.warnings
    document["error_code"] = job.problem.code if job.problem else ""
    return {name: _text(name, value) for name, value in document.items()}


def from_fields(fields: dict[str, str]) -> Job:
    """The job of a hash; fields we do not know are left alone."""
    document: dict[str, Any] = {"schema_version": fields["schema"]}
    for name in Job.model_fields.keys() & fields.keys():
        text = fields[name]
        if text != "" or name == "token":
            document[name] = json.loads(text) if name in _JSON_FIELDS else text
    return Job.model_validate(document)


def _text(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name in _JSON_FIELDS:
        return json.dumps(value, separators=(",", ":"))
    return repr(value) if name in _TIME_FIELDS else str(value)


def _flat(fields: dict[str, str]) -> list[str]:
    return [part for pair in fields.items() for part in pair]


def _event(job: Job, kind: str) -> str:
    return event_of(job, kind).model_dump_json(exclude={"id", "at", "job_id"}, exclude_none=True)


def _read_event(job_id: str, entry_id: str, fields: dict[str, str]) -> JobEvent:
    at = int(entry_id.split("-")[0]) / 1000
    return JobEvent.model_validate({**json.loads(fields["event"]), "id": entry_id, "job_id": job_id, "at": at})


def _lua(name: str) -> str:
    return files("orchestrator").joinpath("lua", f"{name}.lua").read_text()
