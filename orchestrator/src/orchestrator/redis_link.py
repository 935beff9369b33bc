"""Redis as the store sees it: scripts by name, and in time a word that it is away."""

import asyncio
import contextlib
import re
import time
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from prometheus_client import Histogram
from redis.exceptions import RedisError, ResponseError

from scratch3d.servicekit.logging import get_logger
from scratch3d.servicekit.metrics import STORE_FAILURES, STORE_SECONDS
from scratch3d.slots import RedisWire, Ride, Script, ScriptCall, Word

from .errors import StoreUnavailable

#: A command is answered within this time, or Redis counts as away; one more try is made on a new connection.
ANSWER_S = 2.5
#: One blocking look at the queue; finite, so that a dead connection is noticed.
PEEK_S = 5.0

log = get_logger("redis")


class RedisLink:
    """A connection for scripts and commands, one for blocking looks; Redis' errors become StoreUnavailable."""

    def __init__(self, url: str, scripts: Sequence[str], texts: Mapping[str, str]) -> None:
        """`texts` stand for words of the scripts, as in `@SUBMITTED@`."""
        self.wire = RedisWire(url, answer_s=ANSWER_S)
        self._looking = RedisWire(url, answer_s=PEEK_S + 3.0)
        self._look: asyncio.Task[bool] | None = None
        self._scripts = {name: Script(_filled(_lua("prelude") + _lua(name), texts)) for name in scripts}

    async def run(self, name: str, keys: list[str], arguments: list[Any], *, ride: Ride | None = None) -> Any:
        """What a script answers; StoreUnavailable when Redis does not. A ride's calls go in the same round trip."""
        call = (self._scripts[name], keys, arguments)
        with _Watched(name):
            if ride is None or not ride.calls:
                (answer,) = await self.wire.run(call)
                if ride:
                    ride.arrived(())
                return answer
            return await self._with(ride, asyncio.ensure_future(self.wire.run(call, *ride.calls)))

    async def _with(self, ride: Ride, trip: "asyncio.Future[list[Any]]") -> Any:
        """A ride that has begun is made to its end: whoever is cancelled must know what it brought, to give it back."""
        try:
            await asyncio.shield(trip)
        except asyncio.CancelledError:
            await asyncio.wait({trip}, timeout=2 * ANSWER_S)
            if trip.done() and not trip.exception():
                ride.arrived(trip.result()[1:])
            raise
        answer, *replies = trip.result()
        ride.arrived(replies)
        return answer

    async def ask(self, *command: Word) -> Any:
        """What a plain command answers; StoreUnavailable when Redis does not."""
        with _Watched("command"):
            return (await self.wire.ask(command))[0]

    async def ask_all(self, *commands: Sequence[Word]) -> list[Any]:
        """What several commands answer, in one round trip."""
        with _Watched("command"):
            return await self.wire.ask(*commands)

    def call(self, name: str, keys: list[str], arguments: list[Any]) -> ScriptCall:
        """A script of ours, to be run."""
        return self._scripts[name], keys, arguments

    async def run_all(self, name: str, *calls: ScriptCall) -> list[Any]:
        """What several scripts answer, in one round trip, which is measured as `name`."""
        with _Watched(name):
            return await self.wire.run(*calls)

    async def wait_for_item(self, queue: str, wait_s: float) -> bool:
        """Whether something is in the list, after waiting at most `wait_s`. The list stays as it is."""
        # One look serves all who wait here, and goes on when one of them is cancelled.
        if self._look is None or self._look.done():
            self._look = asyncio.get_running_loop().create_task(self._peek(queue))
        look = self._look
        await asyncio.wait({look}, timeout=wait_s)
        with _Watched(None):
            return look.done() and look.result()

    async def _peek(self, queue: str) -> bool:
        # Head to head of the same list: no item is ever in flight. A claim in the same packet would save a round trip, and
        # would give a job to a worker that stands still.
        (item,) = await self._looking.ask(("BLMOVE", queue, queue, "LEFT", "LEFT", PEEK_S))
        return item is not None

    async def close(self) -> None:
        """Let go of all connections."""
        await self._looking.close()
        if self._look:
            self._look.cancel()
            with contextlib.suppress(asyncio.CancelledError, RedisError, OSError):
                await self._look
        await self.wire.close()


#: What Redis refuses in a state that passes; from inside a script it comes as text.
_PASSING = re.compile(r"\b(OOM|READONLY|MISCONF|LOADING|BUSY|MASTERDOWN|NOREPLICAS|UNKILLABLE|UNBLOCKED)\b")


class _Watched:
    """Measures a round trip, and translates Redis' errors: the caller's answer is 503, and nothing was accepted."""

    def __init__(self, name: str | None) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, RedisError | OSError):
            STORE_FAILURES.labels(type(error).__name__).inc()
            if isinstance(error, ResponseError) and not _PASSING.search(str(error)):
                return  # a fault of ours, not of Redis' state
            log.warning("redis_failed", what=self._name, reason=str(error)[:300])
            raise StoreUnavailable(retry_after_s=2.0) from error
        if self._name and error is None:
            _seconds(self._name).observe(time.perf_counter() - self._began)


@cache
def _seconds(name: str) -> Histogram:
    return STORE_SECONDS.labels(name)


def _filled(script: str, texts: Mapping[str, str]) -> str:
    for word, text in texts.items():
        script = script.replace(word, text)
    return script


def _lua(name: str) -> str:
    return files("orchestrator").joinpath("lua", f"{name}.lua").read_text()
