"""Paths of pictures: whatever is spelt or prepared there, nothing but a plain file under inputs is ever read."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from attack import GOOD_PNG, Attacker, body_picture, check_fails, check_refused, each, encoded
from PIL import Image

BAD = "image_paths[1]"
#: Colour of the picture that nobody was given: if it comes out of a job, the file was read.
SECRET_RGB = (12, 222, 34)


def secret_png() -> bytes:
    painted = np.asarray(body_picture()).copy()
    painted[painted[..., 3] > 0, :3] = SECRET_RGB
    return encoded(Image.fromarray(painted))


@pytest.fixture
def inputs(mesh: Any) -> Iterator[Path]:
    """The directory that callers may name files of, with one good file in it and secrets all around it."""
    root: Path = mesh.data_dir / "inputs"
    for place in (mesh.data_dir / "secret.png", mesh.data_dir / "inputs2" / "secret.png"):
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(secret_png())
    (root / "folder").mkdir(exist_ok=True)
    for name in ("front.png", "folder/front.png"):
        (root / name).write_bytes(GOOD_PNG)
    yield root
    made(root)


def made(inputs: Path) -> Path:
    """Where an input is prepared; whatever was prepared there before is gone."""
    for path in inputs.glob("made*"):
        path.unlink()
    return inputs / "made.png"


def submit(http: Attacker, path: str) -> httpx.Response:
    """The path as the right view, behind an honest front view."""
    pictures = [{"path": "front.png", "view": "front"}, {"path": path, "view": "right"}]
    return http.post("/3d/from-image", json={"image_paths": pictures, "quality_tier": "fast"})


SPELLINGS = {
    "up": "../secret.png",
    "up and up": "../../../../../../../../etc/passwd",
    "down and up": "folder/../../secret.png",
    "root and up": "inputs/../secret.png",
    "slash, root and up": "/inputs/../secret.png",
    "only up": "..",
    "four dots": "....//secret.png",
    "backslashes": "..\\secret.png",
    "here and up": "./../secret.png",
    "up with a parameter": "..;/secret.png",
    "absolute": "/etc/passwd",
    "absolute to a picture": "DATA/secret.png",
    "two slashes": "//etc/passwd",
    "file URL": "file:///etc/passwd",
    "directory beside it by name": "inputs2/secret.png",
    "directory beside it by way of the parent": "../inputs2/secret.png",
    "environment of the process": "/proc/self/environ",
    "memory of the process": "../../../../../proc/self/mem",
    "a zero byte": "front.png\x00.jpg",
    "a zero byte and up": "../secret.png\x00front.png",
    "four thousand characters": "a/" * 2046 + "front.png",
    "encoded dots": "%2e%2e/secret.png",
    "encoded dots and slash": "%2e%2e%2fsecret.png",
    "encoded twice": "%252e%252e%252fsecret.png",
    "dots of full width": "\uff0e\uff0e/secret.png",
    "one character of two dots, and a fraction slash": "\u2025\u2044secret.png",
}


@pytest.mark.parametrize("path", **each(SPELLINGS))
def test_paths_that_lead_elsewhere_name_the_path(mesh: Any, http: Attacker, inputs: Path, path: str) -> None:
    problem = check_refused(submit(http, path.replace("DATA", str(mesh.data_dir))), BAD, f"{BAD}.path")
    assert "root:" not in str(problem)


Prepare = Callable[[Path], str]


def linked_file(inputs: Path) -> str:
    made(inputs).symlink_to(inputs.parent / "secret.png")
    return "made.png"


def linked_directory(inputs: Path) -> str:
    made(inputs).with_suffix("").symlink_to(inputs.parent / "inputs2", target_is_directory=True)
    return "made/secret.png"


def linked_environment(inputs: Path) -> str:
    made(inputs).symlink_to("/proc/self/environ")
    return "made.png"


def hard_link(inputs: Path) -> str:
    os.link(inputs.parent / "secret.png", made(inputs))
    return "made.png"


def pipe(inputs: Path) -> str:
    os.mkfifo(made(inputs))
    return "made.png"


def listening_socket(inputs: Path) -> str:
    # The name of a Unix socket must be short: bind it from its own directory.
    made(inputs)
    before = Path.cwd()
    os.chdir(inputs)
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind("made.png")
    finally:
        os.chdir(before)
    return "made.png"


def device(inputs: Path) -> str:
    """`/dev/zero` under another name; where that may not be made, a link to it."""
    try:
        os.mknod(made(inputs), 0o20644, os.makedev(1, 5))
    except PermissionError:
        made(inputs).symlink_to("/dev/zero")
    return "made.png"


PREPARED: dict[str, Prepare] = {
    "link to a file": linked_file,
    "link to a directory": linked_directory,
    "link to the environment of the process": linked_environment,
    "hard link": hard_link,
    "pipe": pipe,
    "socket": listening_socket,
    "device": device,
}


@pytest.mark.parametrize("prepare", **each(PREPARED))
def test_what_is_no_plain_file_is_not_opened(http: Attacker, inputs: Path, prepare: Prepare) -> None:
    began = time.monotonic()
    check_refused(submit(http, prepare(inputs)), BAD)
    assert time.monotonic() - began < 5


def swapped_file(inputs: Path) -> Callable[[], None]:
    made(inputs).write_bytes(GOOD_PNG)

    def swap() -> None:
        (inputs / "made.new").symlink_to(inputs.parent / "secret.png")
        (inputs / "made.new").replace(inputs / "made.png")

    return swap


def swapped_directory(inputs: Path) -> Callable[[], None]:
    (inputs / "folder" / "secret.png").write_bytes(GOOD_PNG)

    def swap() -> None:
        (inputs / "folder").rename(inputs.parent / f"folder-{time.monotonic_ns()}")
        (inputs / "folder").symlink_to(inputs.parent / "inputs2", target_is_directory=True)

    return swap


RACES: dict[str, tuple[str, Callable[[Path], Callable[[], None]]]] = {
    "the file": ("made.png", swapped_file),
    "its directory": ("folder/secret.png", swapped_directory),
}


@pytest.mark.parametrize(("path", "prepare"), **each(RACES))
def test_what_becomes_a_link_between_submission_and_work_is_not_followed(
    mesh: Any, http: Attacker, inputs: Path, path: str, prepare: Callable[[Path], Callable[[], None]]
) -> None:
    swap = prepare(inputs)
    engines = psutil.Process(mesh.pid("image-service")).children()
    for engine in engines:
        engine.suspend()
    # Submission looks at the header; should that wait for an engine, it is let go after a moment.
    letting_go = threading.Timer(3.0, lambda: [engine.resume() for engine in engines])
    letting_go.start()
    try:
        reply = submit(http, path)
        swap()
    finally:
        letting_go.cancel()
        letting_go.join()
        for engine in engines:
            engine.resume()
    try:
        if reply.status_code == 202 and http.ended(reply)["state"] == "completed":
            check_secret_is_not_in(mesh, reply.json()["job_id"])
        else:
            check_fails(http, reply, BAD)
    finally:
        if (inputs / "folder").is_symlink():
            (inputs / "folder").unlink()


def check_secret_is_not_in(mesh: Any, job_id: str) -> None:
    for view in (mesh.data_dir / "inputs" / job_id).rglob("*.png"):
        pixels = np.asarray(Image.open(view).convert("RGB")).reshape(-1, 3).astype(int)
        assert not (np.abs(pixels - SECRET_RGB).sum(axis=1) < 30).any(), view
