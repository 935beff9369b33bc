"""Both stores."""

from collections.abc import AsyncIterator

import pytest

from orchestrator.store import JobStore
from orchestrator.store_memory import MemoryStore
from orchestrator.store_redis import RedisStore


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[JobStore]:
    made: JobStore = MemoryStore() if request.param == "memory" else RedisStore(request.getfixturevalue("redis_url"))
    yield made
    await made.close()
