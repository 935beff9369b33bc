"""Shared by all suites: a real Redis of our own, one per test session, emptied before each test that asks for it."""

import subprocess
import time
from collections.abc import Iterator

import pytest
import redis

from scratch3d.up import redis_server
from scratch3d.up.supervisor import free_port


@pytest.fixture(scope="session")
def redis_server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis server of this test session."""
    port = free_port()
    command = redis_server.command(port, tmp_path_factory.mktemp("redis"))
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    url = f"redis://127.0.0.1:{port}/0"
    with redis.Redis.from_url(url) as client:
        for _ in range(200):
            try:
                client.ping()
                break
            except redis.ConnectionError:
                time.sleep(0.02)
    yield url
    process.terminate()
    process.wait()


@pytest.fixture
def redis_url(redis_server_url: str) -> str:
    """The same, emptied."""
    with redis.Redis.from_url(redis_server_url) as client:
        client.flushall()
    return redis_server_url
