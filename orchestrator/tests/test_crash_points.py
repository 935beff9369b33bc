"""A worker that dies between any two commands to Redis, before or after each was carried out: every job ends once.

A real worker carries two jobs with the real steps over a real Redis; only the services behind the steps are played, in
process. At every point in turn the worker's process "ends": nothing it does reaches Redis any more. A second worker goes
on. In the same way the reply to every command is lost in turn, so that the client sends it again.
"""

import asyncio
import contextlib
import json
import os
import re
import signal
import uuid
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import hiredis
import httpx
import pytest
from builders import age, new_job, plain, result_of

from orchestrator.app import pools, run_worker, steps
from orchestrator.domain import NEXT, STAGES, Job
from orchestrator.errors import AlreadyFinal
from orchestrator.settings import Settings
from orchestrator.store_redis import LEASES, RedisStore
from orchestrator.worker import Worker
from scratch3d.contracts.images import ImagineResult
from scratch3d.contracts.jobs import State
from scratch3d.contracts.meshes import CleanResult, MeshReport, OutputFile, ReconstructResult
from scratch3d.contracts.problems import Problem
from scratch3d.contracts.progress import ProblemLine, ResultLine
from scratch3d.contracts.views import Camera, View
from scratch3d.servicekit.artifacts import ArtifactStore
from scratch3d.slots import RedisSlots

LEASE_S, END_S = 9.0, 20.0
#: What only reads, or leaves things as they are, changes nothing whether it was carried out or not.
READS = frozenset(
    [
        "HGETALL",
        "HGET",
        "HMGET",
        "HLEN",
        "TIME",
        "EXISTS",
        "LPOS",
        "LLEN",
        "LRANGE",
        "XRANGE",
        "XREVRANGE",
        "ZCARD",
        "ZSCORE",
        "BLMOVE",
        "PING",
    ]
)
#: The whole road is cut at every point each time, its variants at every third unless there is time.
FULL = bool(os.environ.get("FULL"))
STAGE_OF = {"imagine": STAGES[0], "reconstruct": STAGES[1], "postprocess": STAGES[2]}


async def stopped(work: "asyncio.Task[Any]") -> None:
    """The worker was told to stop, and has; asyncio.wait_for of Python 3.11 may swallow one request."""
    while not work.done():
        work.cancel()
        await asyncio.wait({work}, timeout=0.1)


async def ended(but: Callable[[], set["asyncio.Task[Any]"]]) -> None:
    """Every task but these is gone, whatever it wanted to do on its way out."""
    while left := asyncio.all_tasks() - but():
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=0.005)
        for task in left:
            if task.done() and not task.cancelled():
                task.exception()  # it died, as it was meant to


class Life:
    """One worker process as Redis sees it, through a wire that may be cut at any command.

    It ends at a given point (every command is two: before it is passed on, and when it was carried out but the answer has
    not come back), or the answers to some commands are lost together with their connection.
    """

    def __init__(self, url: str, *, ends_at: int = -1, loses: range = range(0)) -> None:
        self.redis, self.ends_at, self.loses = urlsplit(url), ends_at, loses
        self.points = self.commands = 0
        self.ended = asyncio.Event()
        #: it ended at the given point, and not by itself
        self.crashed = False
        self.url = ""
        #: what carries the wire, and must not be taken for the process itself
        self.carriers: set[asyncio.Task[Any]] = set()
        self._wires: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> "Life":
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.end()
        self._server.close()
        for wire in self._wires:
            wire.close()
        await self._server.wait_closed()
        await asyncio.gather(*self.carriers, return_exceptions=True)

    def end(self) -> None:
        """From here on nothing of this process gets through."""
        self.ended.set()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._wires.add(writer)
        self.carriers.add(asyncio.create_task(self._carry(reader, writer)))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self.redis.hostname, self.redis.port)
        self._wires.add(back)
        fates: deque[str] = deque()
        answers = asyncio.create_task(self._answers(there, writer, fates))
        self.carriers.add(answers)
        with contextlib.suppress(OSError):
            await self._commands(reader, back, fates)
        back.close()
        await asyncio.wait({answers})
        writer.close()

    async def _commands(self, reader: asyncio.StreamReader, back: asyncio.StreamWriter, fates: deque[str]) -> None:
        parser = hiredis.Reader()
        while data := await reader.read(65536):
            parser.feed(data)
            while (words := parser.gets()) is not False:
                fate = self._fate(words[0].decode().upper())
                if self.ended.is_set():
                    return
                fates.append(fate)
                back.write(hiredis.pack_command(tuple(words)))
                if fate == "end":
                    await self.ended.wait()  # nothing more is sent; the answer comes to nobody
                    return

    def _fate(self, command: str) -> str:
        if command in READS or self.ended.is_set():
            return "subscribe" if command == "SUBSCRIBE" else ""
        if self.points == self.ends_at:
            self.crashed = True
            self.end()
        self.points += 2
        self.commands += 1
        self.crashed = self.crashed or self.points - 1 == self.ends_at
        if self.points - 1 == self.ends_at:
            return "end"
        return "lose" if self.commands - 1 in self.loses else ""

    async def _answers(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter, fates: deque[str]) -> None:
        parser = hiredis.Reader()
        listens = False
        while data := await there.read(65536):
            parser.feed(data)
            while not listens and parser.gets() is not False:
                fate = fates.popleft()
                listens = fate == "subscribe"  # what comes now are messages
                if fate == "end":
                    self.end()
                if fate == "lose":
                    writer.close()
                    return
            if self.ended.is_set():
                return
            writer.write(data)
        writer.close()


Trouble = Callable[["World", State], Awaitable[Problem | None]]


class World:
    """A Redis, a data directory, two jobs and the services; `trouble` happens to the first job."""

    def __init__(self, url: str, data_dir: Path, trouble: Trouble | None) -> None:
        self.settings = Settings(redis_url=url, data_dir=data_dir, lease_s=LEASE_S, worker_concurrency=1)
        self.artifacts = ArtifactStore(data_dir)
        self.artifacts.prepare()
        self.trouble = trouble
        self.store = RedisStore(url)
        self.life = Life(url)
        #: (job, stage, attempt) of every call a service got
        self.calls: list[tuple[str, State, int]] = []
        self.jobs: list[Job] = []

    async def __aenter__(self) -> "World":
        await plain(self.store).flushdb()
        self.jobs = [await self.store.submit(new_job(), max_queued=5) for _ in range(2)]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.store.close()

    async def serve(self, request: httpx.Request) -> httpx.Response:
        """All three services."""
        if self.life.ended.is_set():
            await asyncio.Event().wait()
        if request.method == "GET":
            return httpx.Response(200)
        wish = json.loads(await request.aread())
        stage = STAGE_OF[request.url.path.split("/")[1]]
        job_id, attempt = wish["output_prefix"].split("/")[1:]
        self.calls.append((job_id, stage, int(attempt)))
        line: Any = ResultLine(result=self.make(stage, wish["output_prefix"]))
        if job_id == self.jobs[0].id:
            problem = await self.trouble(self, stage) if self.trouble else None
            line = ProblemLine(problem=problem) if problem else line
        elif self.life.ends_at >= 0:
            self.life.end()  # the first job is behind us, and the second one is a job that a dead worker held
        if self.life.ended.is_set():
            await asyncio.Event().wait()
        return httpx.Response(200, content=line.model_dump_json().encode() + b"\n")

    def make(self, stage: State, prefix: str) -> dict[str, Any]:
        named: dict[str, Any] = {"engine": "e", "engine_version": "1"}
        if stage is State.GENERATING_IMAGES:
            ref = self.artifacts.put(f"{prefix}/front.png", b"\x89PNG")
            view = View(name="front", ref=ref, camera=Camera(azimuth_deg=0))
            return ImagineResult(**named, seed=1, views=(view,)).model_dump(mode="json")
        ref = self.artifacts.put(f"{prefix}/{stage}.glb", b"glTF")
        if stage is State.RECONSTRUCTING_3D:
            return ReconstructResult(**named, mesh=ref, faces=1, vertices=3).model_dump(mode="json")
        output = OutputFile(name="model.glb", role="asset", format="glb", ref=ref, primary=True)
        return CleanResult(**named, outputs=(output,), report=REPORT).model_dump(mode="json")

    async def live(self, life: Life) -> None:
        """A worker from its start to its end: both jobs have ended, or it dies."""
        self.life = life
        store = RedisStore(life.url)
        slots = RedisSlots(store.wire, lease_s=LEASE_S)
        http = httpx.AsyncClient(transport=httpx.MockTransport(self.serve))
        stage_pools = pools(self.settings, http)
        worker = Worker(store, slots, steps(stage_pools, self.settings), self.settings, stage_pools)
        before = asyncio.all_tasks()
        work = asyncio.create_task(worker.work())
        over = asyncio.create_task(self.over())
        died = asyncio.create_task(life.ended.wait())
        await asyncio.wait({over, died, work}, return_when=asyncio.FIRST_COMPLETED)
        if not life.ended.is_set():
            assert not work.done() and over.done() and not over.exception(), (work, over)
            await stopped(work)
        await ended(lambda: before | life.carriers)
        await store.close()
        await http.aclose()

    async def over(self) -> None:
        """Until both jobs have ended."""
        async with asyncio.timeout(END_S):
            while not all(job.is_final for job in await self.now()):
                await asyncio.sleep(0.005)

    async def now(self) -> list[Job]:
        found = [await self.store.get(job.id) for job in self.jobs]
        return [job for job in found if job]

    async def age(self) -> None:
        """Whatever dead workers held has ended: leases of jobs and of replicas, and places in lines."""
        redis = plain(self.store)
        await age(self.store, *await redis.zrange(LEASES, 0, -1))
        async for key in redis.scan_iter("3d:slots:*:held"):
            for url, held in (await redis.hgetall(key)).items():
                await redis.hset(key, url, f"{held.split()[0]} 1")
        async for key in redis.scan_iter("3d:slots:*:seen"):
            for ticket in await redis.zrange(key, 0, -1):
                await redis.zadd(key, {ticket: 1})

    async def check(self, code: str | None, *, again: int) -> None:
        """The first job ended as it should, the second one well; at most `again` calls were made a second time."""
        first, second = await self.now()
        assert first.state is (State.FAILED if code else State.COMPLETED), first
        assert (first.problem and first.problem.code) == code
        assert second.state is State.COMPLETED, second
        for job in (first, second):
            await self.check_history(job)
            await self.check_results(job, again)
        await self.check_nothing_left()

    async def check_history(self, job: Job) -> None:
        events = await self.store.events(job.id)
        ends = [event.type for event in events if event.type in {"completed", "failed"}]
        assert ends == [job.state.value] and events[-1].type == ends[0] and events[0].type == "submitted"
        for here, there in pairwise(events):
            assert here.state is there.state or there.state in NEXT[here.state]
            assert here.progress <= there.progress
        kept = Counter(event.type for event in events)
        assert kept["stage"] + kept["completed"] == len(job.results) and kept["skipped"] == 0
        assert kept["claimed"] == job.attempt

    async def check_results(self, job: Job, again: int) -> None:
        calls = [(stage, attempt) for job_id, stage, attempt in self.calls if job_id == job.id]
        assert len(calls) - len({stage for stage, _ in calls}) <= again
        assert [stage for stage, _ in calls] == sorted((stage for stage, _ in calls), key=STAGES.index)
        for stage, result in job.results.items():
            # What was kept is what the last call made, and after it was kept there was no other.
            attempt = max(attempt for called, attempt in calls if called is stage)
            assert {ref.key.split("/")[2] for ref in result.artifacts} == {str(attempt)}

    async def check_nothing_left(self) -> None:
        redis = plain(self.store)
        kept = rf"job:({'|'.join(job.id for job in self.jobs)})(:events)?|3d:(events|jobs:me|pace|workers)"
        async for key in redis.scan_iter("*"):
            if key.endswith(":held"):
                assert all(held.endswith(" 1") for held in await redis.hvals(key)), "a replica that nobody gave back"
            else:
                assert re.fullmatch(kept, key) or key.endswith(":arrival"), f"{key} is left over"


REPORT = MeshReport(
    watertight=True,
    manifold=True,
    components=1,
    faces=1,
    vertices=3,
    area_m2=1.0,
    volume_m3=None,
    bounds_min_m=(0.0, 0.0, 0.0),
    bounds_max_m=(1.0, 1.0, 1.0),
    faces_in=1,
    faces_asked=None,
)
BROKEN = Problem(title="Broken", status=500, code="broken", detail="it broke")


async def fails(_: World, stage: State) -> Problem | None:
    return BROKEN if stage is State.RECONSTRUCTING_3D else None


async def is_cancelled(world: World, stage: State) -> Problem | None:
    """The owner cancels while the stage runs; the stage ends all the same."""
    if stage is State.RECONSTRUCTING_3D:
        with contextlib.suppress(AlreadyFinal):
            await world.store.cancel(world.jobs[0].id)
    return None


async def is_cancelled_and_stopped(world: World, stage: State) -> Problem | None:
    """The owner cancels while the stage runs, and the stage runs until it is stopped."""
    if stage is State.RECONSTRUCTING_3D:
        await is_cancelled(world, stage)
        await asyncio.Event().wait()
    return None


async def kills(world: World, stage: State) -> Problem | None:
    """The job takes its worker down."""
    if stage is State.RECONSTRUCTING_3D:
        world.life.end()
    return None


#: What happens to the first job, how it ends, and how many lives it may cost.
TROUBLES: dict[str, tuple[Trouble | None, str | None, int]] = {
    "whole road": (None, None, 2),
    "failing stage": (fails, "broken", 2),
    "cancel": (is_cancelled, "cancelled", 2),
    "cancel that stops": (is_cancelled_and_stopped, "cancelled", 2),
    "poison": (kills, "attempts_exhausted", 5),
}


@pytest.mark.parametrize("name", TROUBLES)
async def test_crash_at_every_point(redis_url: str, tmp_path: Path, name: str) -> None:
    trouble, code, lives = TROUBLES[name]
    point, crashed = 0, True
    while crashed:
        first = Life(redis_url, ends_at=point)
        async with World(redis_url, tmp_path, trouble) as world:
            for life in (first, *(Life(redis_url) for _ in range(lives - 1))):
                async with life:
                    await world.live(life)
                await world.age()
                if all(job.is_final for job in await world.now()):
                    break
            await world.check(code, again=lives - 1)
        crashed, point = first.crashed, point + (1 if FULL or name == "whole road" else 3)
    assert point > 8  # a claim, a grant and what follows, each before and after


#: With one lost reply the client sends the command again by itself; with three it gives up, and the worker must ask anew.
@pytest.mark.parametrize("losses", [1, 3])
@pytest.mark.parametrize("name", ["whole road", "failing stage", "cancel"])
async def test_every_reply_lost_in_turn(redis_url: str, tmp_path: Path, name: str, losses: int) -> None:
    trouble, code, _ = TROUBLES[name]
    number, lost = 0, True
    while lost:
        life = Life(redis_url, loses=range(number, number + losses))
        async with World(redis_url, tmp_path, trouble) as world, life:
            await world.live(life)
            # Nobody died: nothing was done twice, and nobody else was needed.
            await world.check(code, again=0)
            assert [job.attempt for job in await world.now()] == [1, 1]
        lost, number = life.commands > number, number + losses
    assert number > 6 * losses


async def carry_with_review(store: RedisStore, job_id: str) -> None:
    """A worker that asks a person before the mesh is made, and the person, who agrees; as far as this process lives."""
    while True:
        job = await store.get(job_id)
        assert job
        if job.waiting_for:
            await store.resume(job_id)
        held = await store.claim(uuid.uuid4().hex, lease_s=LEASE_S, wait_s=0)
        while held:
            asked = "waiting" in [event.type for event in await store.events(job_id)]
            if held.state is State.RECONSTRUCTING_3D and not asked:
                await store.wait(held, "review")
                break
            held = await store.advance(held, result_of(held))
            if held.is_final:
                return
        else:
            return  # a dead worker holds it, or it has ended


async def test_crash_at_every_point_of_a_review(redis_url: str) -> None:
    point, crashed = 0, True
    while crashed:
        owner = RedisStore(redis_url)
        await plain(owner).flushdb()
        job = await owner.submit(new_job(), max_queued=5)
        first = Life(redis_url, ends_at=point)
        for life in (first, Life(redis_url)):
            async with life:
                store = RedisStore(life.url)
                before = asyncio.all_tasks()
                work = asyncio.create_task(carry_with_review(store, job.id))
                died = asyncio.create_task(life.ended.wait())
                await asyncio.wait({work, died}, return_when=asyncio.FIRST_COMPLETED, timeout=END_S)
                await ended(lambda before=before, life=life: before | life.carriers)
                await store.close()
            await age(owner, job.id)
            await owner.reap()
        kept = await owner.get(job.id)
        assert kept and kept.state is State.COMPLETED, kept
        history = Counter(event.type for event in await owner.events(job.id))
        assert history == Counter(
            {"submitted": 1, "claimed": kept.attempt, "stage": 2, "waiting": 1, "resumed": 1, "completed": 1}
            | ({"requeued": kept.losses} if kept.losses else {})
        )
        assert kept.losses <= 1 and await owner.queue_length() == 0 and await plain(owner).zcard(LEASES) == 0
        await owner.close()
        crashed, point = first.crashed, point + 1
    assert point > 14  # two claims, three advances, wait and resume, each before and after


async def test_a_worker_stops_whenever_it_is_told_to(redis_url: str, tmp_path: Path) -> None:
    """Told once, at one turn of the loop after another; its jobs are handed back at once."""
    loop = asyncio.get_running_loop()
    # The worker's own handler takes its place; a signal that came too early must not end the tests.
    loop.add_signal_handler(signal.SIGTERM, lambda: None)
    for turns in range(1, 300, 5 if FULL else 13):
        async with World(redis_url, tmp_path, None) as world:
            before = asyncio.all_tasks()
            work = asyncio.create_task(run_worker(world.settings))
            for _ in range(turns):
                await asyncio.sleep(0)
            os.kill(os.getpid(), signal.SIGTERM)
            done, _ = await asyncio.wait({work}, timeout=4.0)
            await ended(lambda before=before: before)
            assert done, f"told to stop after {turns} turns, it goes on"
            assert await plain(world.store).zcard(LEASES) == 0, f"told to stop after {turns} turns, it kept its job"
    loop.remove_signal_handler(signal.SIGTERM)
