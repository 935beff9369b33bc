"""What becomes of fetched models on the disk: space, locks, files got by hand, conversion, and the command itself."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hub_site import Handler, HubSite, sha256, url_path
from rich.console import Console
from tiny_model import CONFIG, FILES, WEIGHTS, Heard, content, described, get, keep, model_of, toml_of
from typer.testing import CliRunner, Result

from scratch3d.cli import show
from scratch3d.cli.main import app
from scratch3d.models import conversion
from scratch3d.models.errors import FetchFailed, WrongContent
from scratch3d.models.fetch import alone, fetch
from scratch3d.models.folder import Folder
from scratch3d.models.listener import NOBODY, Listener
from scratch3d.models.store import ModelStore

pytestmark = pytest.mark.usefixtures("bare_environment")


# --- disk and locks ------------------------------------------------------------------------------------------------


def test_too_little_disk_is_told_before_the_first_byte(
    site: HubSite, store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(store, WEIGHTS[:200])
    needed = len(CONFIG) + len(WEIGHTS) - 200
    usage = shutil.disk_usage(store.models_dir)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=needed - 1))
    with pytest.raises(FetchFailed, match=r"too little disk: 307.0 kB are needed.*nothing was fetched"):
        get(site, store)
    assert not site.asked
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=needed))
    monkeypatch.setattr(conversion, "can_convert", lambda: True)
    with pytest.raises(FetchFailed, match=r"too little disk: 614.2 kB"):
        get(site, store, model_of(convert="weights/model.ckpt"))
    get(site, store)
    assert content(store) == FILES


def test_a_second_fetch_is_told_who_is_at_work(site: HubSite, store: ModelStore) -> None:
    with alone(store.models_dir / "tiny"):
        with pytest.raises(FetchFailed, match=rf"is being fetched by process {os.getpid()} on .* since .*: wait"):
            get(site, store)
        assert not site.asked
    get(site, store)
    assert content(store) == FILES


# --- files got by hand ---------------------------------------------------------------------------------------------


def from_folder(folder: Path, store: ModelStore) -> Heard:
    heard = Heard()
    fetch([model_of()], store, Folder(folder), heard.listener)
    return heard


@pytest.mark.parametrize("place", ["model.ckpt", "weights/model.ckpt", "tiny/weights/model.ckpt"])
def test_files_got_by_hand(tmp_path: Path, store: ModelStore, place: str) -> None:
    by_hand = tmp_path / "by hand"
    (by_hand / place).parent.mkdir(parents=True)
    (by_hand / place).write_bytes(WEIGHTS)
    with pytest.raises(
        FetchFailed, match=r"has no config.yaml of 10 bytes; looked for tiny/config.yaml, config.yaml. It"
    ):
        from_folder(by_hand, store)
    (by_hand / "config.yaml").write_bytes(CONFIG)
    from_folder(by_hand, store)
    assert content(store) == FILES and (by_hand / place).read_bytes() == WEIGHTS


def test_files_got_by_hand_are_checked_the_same_way(tmp_path: Path, store: ModelStore) -> None:
    keep(store, b"of a download", '"x"')
    (tmp_path / "config.yaml").write_bytes(CONFIG)
    (tmp_path / "model.ckpt").write_bytes(WEIGHTS[:-1])
    with pytest.raises(FetchFailed, match=r"model.ckpt has 307199: is that download complete"):
        from_folder(tmp_path, store)
    (tmp_path / "model.ckpt").write_bytes(WEIGHTS[::-1])
    with pytest.raises(WrongContent, match=rf"expected 307200 bytes, sha256 {sha256(WEIGHTS)}(.|\n)*was left alone"):
        from_folder(tmp_path, store)
    assert content(store) == {"config.yaml": CONFIG}


def test_a_copy_that_was_interrupted_is_not_taken_for_a_download(tmp_path: Path, store: ModelStore) -> None:
    def interrupted(label: str, done: int, total: int) -> None:
        if label == "weights/model.ckpt":
            raise KeyboardInterrupt

    keep(store, b"of a download", '"x"')
    for name, body in FILES.items():
        (tmp_path / Path(name).name).write_bytes(body)
    with pytest.raises(KeyboardInterrupt):
        fetch([model_of()], store, Folder(tmp_path), Listener(say=print, progress=interrupted))
    assert set(content(store)) == {"config.yaml", "weights/model.ckpt.part"}


# --- conversion ----------------------------------------------------------------------------------------------------


class BadWeights(ValueError):
    """As the converter raises it."""


@pytest.fixture
def converter(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A converter that turns bytes around; the list of what it was given."""
    given: list[Path] = []

    def convert(source: Path, target: Path) -> None:
        given.append(source)
        target.write_bytes(source.read_bytes()[::-1])
        target.chmod(0o600)

    stub = ModuleType("tsr.weights")
    stub.__dict__.update(convert=convert, BadWeights=BadWeights)
    monkeypatch.setitem(sys.modules, "tsr.weights", stub)
    return given


CONVERTED = model_of(convert="weights/model.ckpt")
RECORD = f"# made from model.ckpt, sha256 {sha256(WEIGHTS)}\n{sha256(WEIGHTS[::-1])}  model.safetensors\n".encode()
MADE = {"weights/model.safetensors": WEIGHTS[::-1], "weights/model.safetensors.sha256": RECORD}


def test_a_checkpoint_is_converted_once(site: HubSite, store: ModelStore, converter: list[Path]) -> None:
    get(site, store, CONVERTED)
    assert content(store) == FILES | MADE
    folder = store.models_dir / "tiny" / "weights"
    subprocess.run(["sha256sum", "--check", "--status", "model.safetensors.sha256"], cwd=folder, check=True)
    assert get(site, store, CONVERTED).has("nothing to do")
    assert converter == [folder / "model.ckpt"] and len(site.asked) == 2
    assert (folder / "model.safetensors").stat().st_mode == (folder / "model.ckpt").stat().st_mode, "others may read it"


def test_the_original_can_be_given_up(site: HubSite, store: ModelStore, converter: list[Path]) -> None:
    get(site, store, CONVERTED, keep_original=False)
    assert content(store) == {"config.yaml": CONFIG, **MADE}
    assert store.row(CONVERTED).state == "installed" and store.verify(CONVERTED, NOBODY).ok
    assert get(site, store, CONVERTED).has("nothing to do") and len(site.asked) == 2
    (store.models_dir / "tiny" / "weights" / "model.safetensors").write_bytes(WEIGHTS)
    assert [(file.path, file.state) for file in store.verify(CONVERTED, NOBODY).files] == [
        ("config.yaml", "ok"),
        ("weights/model.ckpt", "missing"),
        ("weights/model.safetensors", "wrong"),
    ]
    get(site, store, CONVERTED, keep_original=False)
    assert content(store) == {"config.yaml": CONFIG, **MADE} and len(site.asked) == 3 and len(converter) == 2


def test_a_wrong_original_is_mended_only_to_be_kept(site: HubSite, store: ModelStore, converter: list[Path]) -> None:
    get(site, store, CONVERTED)
    original = store.models_dir / "tiny" / "weights" / "model.ckpt"
    original.write_bytes(b"damaged")
    get(site, store, CONVERTED)
    assert content(store) == FILES | MADE and len(site.asked) == 3
    original.write_bytes(b"damaged")
    assert get(site, store, CONVERTED, keep_original=False) == [
        "tiny: weights/model.ckpt is not what it should be, or damaged",
        "tiny: removed weights/model.ckpt; weights/model.safetensors stands for it",
    ]
    assert content(store) == {"config.yaml": CONFIG, **MADE} and len(site.asked) == 3 and len(converter) == 1


def test_a_conversion_of_another_checkpoint_is_made_anew(
    site: HubSite, store: ModelStore, converter: list[Path]
) -> None:
    get(site, store, CONVERTED)
    newer = FILES | {"weights/model.ckpt": WEIGHTS.replace(b"\0", b"\1")}
    site.files = {url_path(name): body for name, body in newer.items()}
    model = model_of(newer, convert="weights/model.ckpt")
    assert [(file.path, file.state) for file in store.verify(model, NOBODY).files if file.state != "ok"] == [
        ("weights/model.ckpt", "wrong"),
        ("weights/model.safetensors", "wrong"),
    ]
    (store.models_dir / "tiny" / "weights" / "model.ckpt").unlink()
    assert store.row(model).state == "partly"
    get(site, store, model)
    assert len(converter) == 2 and store.verify(model, NOBODY).ok


def test_without_the_converter_the_checkpoint_stays(
    site: HubSite, store: ModelStore, monkeypatch: pytest.MonkeyPatch, converter: list[Path]
) -> None:
    with monkeypatch.context() as absent:
        absent.setitem(sys.modules, "tsr.weights", None)
        heard = get(site, store, CONVERTED, keep_original=False)
    assert heard.has("works as it is", "scratch3d-tsr", "run the same command again") and content(store) == FILES
    assert store.verify(CONVERTED, NOBODY).ok
    get(site, store, CONVERTED)
    assert content(store) == FILES | MADE and len(site.asked) == 2


def test_a_checkpoint_that_cannot_be_converted_is_kept(
    site: HubSite, store: ModelStore, monkeypatch: pytest.MonkeyPatch, converter: list[Path]
) -> None:
    def refuse(source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise BadWeights("549 tensors expected")

    monkeypatch.setattr(sys.modules["tsr.weights"], "convert", refuse)
    with pytest.raises(FetchFailed, match=r"cannot convert it: 549 tensors expected"):
        get(site, store, CONVERTED, keep_original=False)
    assert content(store) == FILES


# --- the command ---------------------------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A catalogue with the model of the tests."""
    path = tmp_path / "own.toml"
    path.write_text(toml_of(described()))
    return path


@pytest.fixture
def surroundings(site: HubSite, store: ModelStore, own: Path) -> dict[str, str]:
    """The environment that points the command at all of it."""
    data_dir = str(store.models_dir.parent)
    return {"DATA_DIR": data_dir, "SCRATCH3D_CATALOGUE": str(own), "HF_ENDPOINT": site.url}


def run(surroundings: dict[str, str], *arguments: str) -> Result:
    return CliRunner().invoke(app, ["models", *arguments], env=surroundings)


def listed(surroundings: dict[str, str]) -> dict[str, Any]:
    found = json.loads(run(surroundings, "list", "--json").stdout)
    return next(model for model in found["models"] if model["id"] == "tiny")


def test_list_tells_what_is_here_without_asking_anybody(
    surroundings: dict[str, str], site: HubSite, store: ModelStore
) -> None:
    assert listed(surroundings) == {
        "id": "tiny",
        "summary": "a model of the tests",
        "repository": "somebody/tiny",
        "revision": "0123456789abcdef0123456789abcdef01234567",
        "licence": {
            "code": "MIT",
            "sentence": "Do what you like.",
            "commercial": "yes",
            "url": "https://example.org/MIT",
        },
        "size_bytes": 307210,
        "state": "not installed",
        "files": 2,
        "files_here": 0,
        "path": str(store.models_dir / "tiny"),
    }
    keep(store, WEIGHTS[:10])
    (store.models_dir / "tiny" / "config.yaml").write_bytes(CONFIG)
    found = run(surroundings, "list")
    assert "tiny  partly (1 of 2 files)  307.2 kB  MIT, commercial use: yes" in found.stdout and found.exit_code == 0
    assert f"  a model of the tests\n  {store.models_dir / 'tiny'}\n" in found.stdout
    (store.models_dir / "tiny" / "weights" / "model.ckpt").write_bytes(WEIGHTS[::-1])
    assert listed(surroundings)["state"] == "installed", "by size alone"
    assert not site.asked


def test_fetch_tells_first_and_prints_the_folder(surroundings: dict[str, str], store: ModelStore) -> None:
    done = run(surroundings, "fetch", "tiny")
    assert "307.2/307.2 kB" not in done.stderr, "no bars where no terminal is"
    assert done.exit_code == 0 and done.stdout == f"{store.models_dir / 'tiny'}\n" and content(store) == FILES
    order = [
        "MIT, commercial use: yes. Do what you like.",
        "307.2 kB, files: 2, of which here: 0",
        "free for",
        "config.yaml",
    ]
    assert sorted(order, key=done.stderr.index) == order and "https://example.org/MIT" in done.stderr
    again = run(surroundings, "fetch", "tiny", "--quiet")
    assert again.exit_code == 0 and again.stderr == ""
    assert "nothing to do" in run(surroundings, "fetch", "tiny").stderr


def test_verify_tells_what_is_wrong(surroundings: dict[str, str], store: ModelStore) -> None:
    nothing = run(surroundings, "verify", "tiny")
    assert nothing.exit_code == 1 and "missing weights/model.ckpt" in nothing.stdout
    run(surroundings, "fetch", "tiny")
    whole = run(surroundings, "verify")
    assert whole.exit_code == 0 and whole.stdout.count("  ok ") == 2 and "triposr" not in whole.stdout
    (store.models_dir / "tiny" / "config.yaml").unlink()
    weights = store.models_dir / "tiny" / "weights" / "model.ckpt"
    weights.write_bytes(WEIGHTS[::-1])
    text, found = run(surroundings, "verify", "tiny"), run(surroundings, "verify", "tiny", "--json")
    assert text.exit_code == found.exit_code == 1 and "mend it with: scratch3d models fetch tiny" in text.stdout
    sizes = {"size_bytes": 307200, "size_found": 307200}
    hashes = {"sha256": sha256(WEIGHTS), "sha256_found": sha256(WEIGHTS[::-1])}
    files = [
        {"path": "config.yaml", "state": "missing", "size_bytes": 10, "sha256": sha256(CONFIG)},
        {"path": "weights/model.ckpt", "state": "wrong", **sizes, **hashes},
    ]
    model = {"id": "tiny", "path": str(store.models_dir / "tiny"), "ok": False, "files": files}
    assert json.loads(found.stdout) == {"ok": False, "models": [model]}
    weights.write_bytes(b"short")
    line = f"expected 307200 bytes, found 5; sha256 expected {sha256(WEIGHTS)}, found not looked at"
    assert line in run(surroundings, "verify").stdout
    assert run(surroundings, "verify", "tiny", "triposr").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fetch", "tiny", "big"], "no model big; there are: triposr, tiny"),
        (["verify", "big"], "no model big"),
        (["fetch"], "Missing argument"),
        (["list", "--catalogue", "/nowhere.toml"], "nowhere.toml"),
        (["fetch", "tiny", "--from-dir", "/nowhere"], "does not exist"),
    ],
)
def test_wrong_usage(surroundings: dict[str, str], site: HubSite, arguments: list[str], said: str) -> None:
    refused = run(surroundings, *arguments)
    assert refused.exit_code == 2 and said in " ".join(refused.stderr.replace("│", "").split()) and not site.asked


def test_failures_are_sentences(surroundings: dict[str, str], site: HubSite, store: ModelStore, tmp_path: Path) -> None:
    site.rules = [partial(Handler.status, code=404)]
    failed = run(surroundings, "fetch", "tiny", "--quiet")
    assert failed.exit_code == 1 and failed.stderr.startswith("Failed: http://127.0.0.1") and not failed.stdout
    endpoint = run(surroundings | {"HF_ENDPOINT": "nonsense"}, "fetch", "tiny")
    assert endpoint.exit_code == 1 and "must look like" in endpoint.stderr
    (tmp_path / "file").touch()
    nowhere = surroundings | {"DATA_DIR": str(tmp_path / "file")}
    blocked = run(nowhere, "fetch", "tiny")
    assert blocked.exit_code == 1 and "Failed: " in blocked.stderr and "Not a directory" in blocked.stderr
    assert listed(nowhere)["state"] == "not installed" and run(nowhere, "verify").exit_code == 1


def test_files_got_by_hand_need_no_network(surroundings: dict[str, str], store: ModelStore, tmp_path: Path) -> None:
    for name, body in FILES.items():
        (tmp_path / Path(name).name).write_bytes(body)
    offline = surroundings | {"HF_ENDPOINT": "not even a URL"}
    assert run(offline, "fetch", "tiny", "--from-dir", str(tmp_path)).exit_code == 0
    assert content(store) == FILES


@pytest.mark.parametrize("flags", [[], ["--quiet"]])
def test_bars_are_drawn_where_somebody_sees_them(
    surroundings: dict[str, str], monkeypatch: pytest.MonkeyPatch, flags: list[str]
) -> None:
    screen = StringIO()
    monkeypatch.setattr(show, "console", Console(file=screen, force_terminal=True, width=120))
    assert run(surroundings, "fetch", "tiny", *flags).exit_code == 0
    assert ("307.2/307.2 kB" in screen.getvalue()) == (not flags)


# --- the command as a process --------------------------------------------------------------------------------------


def started(surroundings: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "scratch3d.cli.main", "models", "fetch", "tiny"]
    return subprocess.Popen(command, env={**os.environ, **surroundings}, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_a_fetch_that_is_ended_goes_on_later(
    surroundings: dict[str, str], site: HubSite, store: ModelStore, number: signal.Signals, status: int
) -> None:
    part = store.models_dir / "tiny" / "weights" / "model.ckpt.part"
    began, ended = 100, threading.Event()

    def half(handler: Handler) -> None:
        handler.serve(most=began)
        ended.wait(30)

    site.rules = [Handler.serve, half]
    with started(surroundings) as process:
        while process.poll() is None and not (part.is_file() and part.stat().st_size == began):
            time.sleep(0.01)
        second = run(surroundings, "fetch", "tiny")
        assert second.exit_code == 1 and f"is being fetched by process {process.pid} on" in second.stderr
        process.send_signal(number)
        assert process.wait(20) == status
        ended.set()
        assert process.stderr is not None
        assert ("Interrupted; what came is kept" in process.stderr.read()) == (number == signal.SIGINT)
    third = run(surroundings, "fetch", "tiny")
    assert third.exit_code == 0 and site.ranges == [None, None, f"bytes={began}-"], third.stderr
    assert content(store) == FILES
