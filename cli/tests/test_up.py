"""The mesh's plan, and the supervisor with processes that die."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from scratch3d.cli import doctor
from scratch3d.up import redis_server
from scratch3d.up.mesh import _alone, running
from scratch3d.up.supervisor import Part, StartFailed, Supervisor, free_port, plan


def parts(tmp_path: Path, redis_url: str | None = None) -> dict[str, Part]:
    made = plan(tmp_path, host="127.0.0.1", port=8000, ui_dir=None, outside={"LOG_LEVEL": "DEBUG"}, redis_url=redis_url)
    return {part.name: part for part in made}


def test_plan_has_every_process_and_its_own_redis(tmp_path: Path) -> None:
    made = parts(tmp_path)
    assert list(made) == [
        "redis",
        "image-service",
        "reconstruction-service",
        "postprocess-service",
        "api",
        "worker",
    ]
    assert made["api"].environment["REDIS_URL"] == made["worker"].environment["REDIS_URL"]
    assert all(p.environment["LOG_LEVEL"] == "DEBUG" for n, p in made.items() if n != "redis")
    assert "--appendonly yes" in " ".join(made["redis"].command)


def test_a_given_redis_wins(tmp_path: Path) -> None:
    made = parts(tmp_path, "redis://elsewhere:6379/3")
    assert "redis" not in made and made["worker"].environment["REDIS_URL"] == "redis://elsewhere:6379/3"


def test_redis_comes_from_the_wheel_when_the_machine_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert Path(redis_server.executable()).is_file()
    monkeypatch.setattr("importlib.import_module", lambda _: (_ for _ in ()).throw(ImportError))
    with pytest.raises(redis_server.NoRedis, match="install one, or set REDIS_URL"):
        redis_server.executable()


async def test_what_dies_is_started_again_and_all_are_stopped(tmp_path: Path) -> None:
    said: list[str] = []
    part = Part(name="sleeper", command=[sys.executable, "-c", "import time; time.sleep(60)"])
    async with Supervisor([part], log_dir=tmp_path, say=said.append) as supervisor:
        first = supervisor.processes["sleeper"].pid
        os.kill(first, signal.SIGKILL)
        for _ in range(100):
            await asyncio.sleep(0.05)
            if supervisor.processes["sleeper"].pid != first:
                break
        second = supervisor.processes["sleeper"]
        assert second.pid != first and "sleeper ended" in said[0]
    assert second.returncode is not None


async def test_a_mesh_that_does_not_start_shows_the_end_of_the_log(tmp_path: Path) -> None:
    part = Part(name="api", command=[sys.executable, "-c", "raise SystemExit('the port is taken')"])
    async with Supervisor([part], log_dir=tmp_path, say=lambda _: None) as supervisor:
        with pytest.raises(StartFailed, match="the port is taken"):
            await supervisor.wait_ready(f"http://127.0.0.1:{free_port()}", timeout_s=1.5)


def test_doctor_finds_what_is_wrong(tmp_path: Path) -> None:
    found = {f.what: f for f in doctor.examine("http://127.0.0.1:9", tmp_path)}
    assert found["python"].ok and found["orchestrator"].ok and found["data"].ok and found["mesh"].ok
    (tmp_path / "file").write_text("")
    found = {f.what: f for f in doctor.examine("http://127.0.0.1:9", tmp_path / "file" / "below")}
    assert not found["data"].ok


async def test_two_meshes_never_share_a_data_directory_or_a_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scratch3d.up.mesh.LOCK_PATIENCE_S", 0.2)
    with _alone(tmp_path), pytest.raises(StartFailed, match="another mesh uses"):
        async with running(tmp_path, host="127.0.0.1", port=free_port(), say=print):
            pass
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(StartFailed, match="is taken"):
            async with running(tmp_path, host="127.0.0.1", port=taken.getsockname()[1], say=print):
                pass
