"""Files by key: whole or not at all, and never outside their root."""

import os
from pathlib import Path

import pytest

from scratch3d.servicekit.artifacts import ArtifactStore, StorageFailed, key_from_path, media_type_of
from scratch3d.servicekit.errors import Failed, NotFound, Unprocessable


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    made = ArtifactStore(tmp_path / "volumes")
    made.prepare()
    return made


def test_put_get_and_reference_agree(store: ArtifactStore) -> None:
    ref = store.put("outputs/job/1/model.glb", b"glTF")
    assert store.get(ref) == b"glTF" and store.reference(ref.key) == ref and store.exists(ref)
    assert ref.media_type == "model/gltf-binary" and ref.size_bytes == 4
    assert [p.name for p in store.local(ref.key).parent.iterdir()] == ["model.glb"], "no temporary file is left"


def test_damaged_files_are_noticed(store: ArtifactStore) -> None:
    ref = store.put("outputs/job/1/a.png", b"one")
    store.local(ref.key).write_bytes(b"two")
    with pytest.raises(Failed, match="recorded content"):
        store.get(ref)


@pytest.mark.parametrize("path", ["x.png", "inputs/x.png", "/inputs/x.png"])
def test_the_three_spellings_of_a_picture(path: str) -> None:
    assert key_from_path(path) == "inputs/x.png"


@pytest.mark.parametrize(
    "path",
    [
        "../x",
        "/../x",
        "a/../../x",
        "/etc/passwd/../x",
        "..",
        ".",
        "",
        "/",
        "inputs/",
        ".hidden",
        "a/.b",
        "a\0b",
        "a\nb",
        "%2e%2e/x",
        "a" * 5000,
        "~root",
        "C:\\x",
        "\\\\host\\x",
        "file:///etc/passwd",
        "inputs/../outputs/x",
    ],
)
def test_no_other_spelling_is_a_file(path: str) -> None:
    with pytest.raises(Unprocessable) as caught:
        key_from_path(path, field="image_paths[0]")
    assert caught.value.field == "image_paths[0]"


def test_links_directories_and_pipes_are_not_files(store: ArtifactStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    inputs = store.roots["inputs"]
    (inputs / "link.png").symlink_to(secret)
    (inputs / "up").symlink_to(tmp_path)
    (inputs / "dir.png").mkdir()
    os.mkfifo(inputs / "pipe.png")
    for key in ("inputs/link.png", "inputs/up/secret.png", "inputs/dir.png", "inputs/pipe.png", "inputs/none.png"):
        with pytest.raises(NotFound):
            store.local(key)


def test_delete_takes_one_job_and_never_a_root(store: ArtifactStore) -> None:
    store.put("outputs/a/1/x.glb", b"x")
    kept = store.put("outputs/b/1/x.glb", b"x")
    store.delete_tree("outputs/a")
    store.delete_tree("outputs/missing")
    assert store.exists(kept) and not (store.roots["outputs"] / "a").exists()
    with pytest.raises(ValueError, match="root"):
        store.delete_tree("outputs")


def test_failed_writes_leave_nothing_and_say_storage(store: ArtifactStore) -> None:
    (store.roots["outputs"] / "job").write_text("a file where a directory should be")
    with pytest.raises(StorageFailed) as caught:
        store.put("outputs/job/1/x.glb", b"x")
    assert caught.value.problem().code == "storage" and caught.value.problem().retryable


def test_media_types() -> None:
    assert media_type_of("a.glb") == "model/gltf-binary" and media_type_of("a.webp") == "image/webp"
    assert media_type_of("a.weird") == "application/octet-stream"
