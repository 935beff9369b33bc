"""A model of two small files, as a catalogue describes it, and what its tests share."""

import json
from pathlib import Path
from typing import Any

from hub_site import REPOSITORY, REVISION, HubSite, sha256

from scratch3d.models.catalogue import Catalogue, Model
from scratch3d.models.fetch import fetch
from scratch3d.models.hub import Hub
from scratch3d.models.listener import Listener
from scratch3d.models.store import ModelStore

CONFIG, WEIGHTS = b"layers: 2\n", bytes(range(256)) * 1200
FILES = {"config.yaml": CONFIG, "weights/model.ckpt": WEIGHTS}


def described(bodies: dict[str, bytes] = FILES, **more: Any) -> dict[str, Any]:
    licence = {"code": "MIT", "sentence": "Do what you like.", "commercial": "yes", "url": "https://example.org/MIT"}
    entries = [{"name": name, "size": len(body), "sha256": sha256(body)} for name, body in bodies.items()]
    origin = {"repository": REPOSITORY, "revision": REVISION}
    return {"id": "tiny", "summary": "a model of the tests", **origin, "licence": licence, "files": entries, **more}


def model_of(bodies: dict[str, bytes] = FILES, *, convert: str = "") -> Model:
    given = described(bodies)
    for entry in given["files"]:
        if entry["name"] == convert:
            entry["convert"] = "safetensors"
    return Catalogue.model_validate({"models": [given]}).models[0]


def toml_of(model: dict[str, Any]) -> str:
    top = "\n".join(f"{key} = {json.dumps(value)}" for key, value in model.items() if isinstance(value, str))
    licence = "\n".join(f"{key} = {json.dumps(value)}" for key, value in model["licence"].items())
    files = "".join(
        "[[models.files]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in entry.items())
        for entry in model["files"]
    )
    return f"[[models]]\n{top}\n[models.licence]\n{licence}\n{files}"


class Heard(list[str]):
    """What was said."""

    @property
    def listener(self) -> Listener:
        return Listener(say=self.append, progress=lambda *_: None)

    def has(self, *words: str) -> bool:
        return any(all(word in line for word in words) for line in self)


def get(
    site: HubSite | str, store: ModelStore, model: Model | None = None, *, token: str = "", tries: int = 3, **more: Any
) -> Heard:
    """Fetch, without pauses."""
    heard = Heard()
    with Hub(site if isinstance(site, str) else site.url, token, pauses_s=[0.0] * (tries - 1)) as hub:
        fetch([model or model_of()], store, hub, heard.listener, **more)
    return heard


def content(store: ModelStore) -> dict[str, bytes]:
    """All files of the model but the lock."""
    folder = store.models_dir / "tiny"
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    del found[".fetch.lock"]
    return found


def keep(store: ModelStore, body: bytes, etag: str | None = None) -> Path:
    """Leave the beginning of a download, as an earlier fetch would."""
    part = store.models_dir / "tiny" / "weights" / "model.ckpt.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(body)
    if etag:
        part.with_name("model.ckpt.part.etag").write_text(etag)
    return part
