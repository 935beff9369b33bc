"""One mesh for all attacks, watched while each of them runs."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from attack import Attacker, Canary, Memory, Poller, Watch, closing_all, running_mesh
from web import Web

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def canary() -> Iterator[Canary]:
    listening = Canary()
    with closing_all(listening):
        yield listening


@pytest.fixture(scope="session")
def web() -> Iterator[Web]:
    """A server that the mesh may fetch from."""
    with Web() as serving:
        yield serving


@pytest.fixture(scope="session")
def secure_web() -> Iterator[Web]:
    """The same behind TLS, with a certificate the mesh accepts."""
    with Web(certificate=HERE / "loopback.pem") as serving:
        yield serving


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory, canary: Canary, web: Web, secure_web: Web) -> Iterator[Any]:
    trap = f"http://127.0.0.1:{canary.port}"
    settings = {
        "LEASE_S": "3",
        "FETCH_TIMEOUT_S": "2",
        "FETCH_ALLOW": json.dumps([f"127.0.0.1:{web.port}", f"127.0.0.1:{secure_web.port}"]),
        "SSL_CERT_FILE": str(HERE / "loopback.pem"),
        # Whoever takes a proxy from the environment is heard at once.
        **{name: trap for kind in ("http", "https", "all") for name in (f"{kind}_proxy", f"{kind}_proxy".upper())},
        "no_proxy": "",
        "NO_PROXY": "",
    }
    with running_mesh().MeshThread(tmp_path_factory.mktemp("volumes"), settings=settings) as running:
        yield running


@pytest.fixture(scope="session")
def service_url(mesh: Any) -> dict[str, str]:
    """Where each service of the mesh listens."""
    places = {part.name: part.environment.get("PORT") for part in mesh.supervisor.parts}
    return {name: f"http://127.0.0.1:{port}" for name, port in places.items() if port}


@pytest.fixture(scope="session")
def watch(mesh: Any, canary: Canary, service_url: dict[str, str]) -> Iterator[Watch]:
    pollers = {name: Poller(service_url[name]) for name in ("api", "image-service")}
    memory = Memory([psutil.Process(process.pid) for process in mesh.supervisor.processes.values()])
    with closing_all(*pollers.values(), memory):
        yield Watch(canary=canary, pollers=pollers, memory=memory)


@pytest.fixture
def http(mesh: Any, watch: Watch, warm: None) -> Iterator[Attacker]:
    with Attacker(mesh.url, watch) as attacker:
        yield attacker


@pytest.fixture(scope="session")
def warm(mesh: Any, watch: Watch) -> None:
    """One honest job, so that what every first job costs is not taken for an attack's doing."""
    with Attacker(mesh.url, watch) as caller:
        done = caller.ended(caller.post("/3d/generate", json={"prompt": "a red cube"}), 120)
    assert done["state"] == "completed", done


@pytest.fixture(autouse=True)
def _watched(watch: Watch, warm: None) -> Iterator[None]:
    watch.start_over()
    yield
    watch.judge()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool:
    """Run the test; once more when others had to wait, for on a shared machine that can be anybody's doing."""
    watch: Watch = pyfuncitem.funcargs["watch"] if "watch" in pyfuncitem.funcargs else _watch_of(pyfuncitem)
    # What a test finds prepared it must be able to use twice.
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    pyfuncitem.obj(**arguments)
    if watch.stalls():
        watch.judge()
        watch.start_over()
        pyfuncitem.obj(**arguments)
        assert not (stalls := watch.stalls()), f"others waited twice, seconds: {stalls}"
    return True


def _watch_of(item: pytest.Function) -> Watch:
    found: Watch = item._request.getfixturevalue("watch")
    return found


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """In this process nothing but the watch connects; the list says what was tried."""
    tried: list[Any] = []
    connect = socket.socket.connect

    def refuse(line: socket.socket, address: Any) -> None:
        if threading.current_thread().name == Poller.THREAD:
            return connect(line, address)
        tried.append(address)
        raise ConnectionRefusedError("the tests have no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tried
