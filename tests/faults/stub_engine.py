"""A stage service without an engine: it speaks the real contract, and misbehaves on request.

    python stub_engine.py --port P --data-dir D --service image|reconstruction|postprocess --journal FILE

`POST /_stub/rules` takes a list of rules (see `Rule`) that replaces all earlier ones; the first that matches a call
decides how it goes. The journal has one JSON line per thing that happened to a call. Plain asyncio, because a web
framework would mend the very replies that are meant to be broken, and takes half a second to import.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stub_files import BROKEN_MESHES, BROKEN_PICTURES, glb, png
from stub_wire import BAD_REPLIES, PROGRESS_EVERY_S, RULES, STAGE_PATHS, Call, Rule, refuse

from scratch3d.contracts.artifacts import ArtifactRef
from scratch3d.contracts.engines import EngineCard, EngineList
from scratch3d.contracts.images import (
    ImagineRequest,
    ImagineResult,
    InspectedImage,
    InspectRequest,
    InspectResult,
    PrepareRequest,
)
from scratch3d.contracts.meshes import (
    CleanRequest,
    CleanResult,
    MeshReport,
    OutputFile,
    ReconstructRequest,
    ReconstructResult,
)
from scratch3d.contracts.problems import Problem
from scratch3d.contracts.progress import NDJSON_MEDIA_TYPE
from scratch3d.contracts.values import Value
from scratch3d.contracts.views import VIEW_SETS, Camera, View
from scratch3d.servicekit.artifacts import ArtifactStore
from scratch3d.servicekit.errors import ServiceError, Unprocessable


class Gone(Exception):
    """The call has had its (bad) reply; its end is no success."""


@dataclass
class Stub:
    """One stage service."""

    service: str
    port: int
    artifacts: ArtifactStore
    journal: Path
    rules: list[Rule] = field(default_factory=list)
    busy: bool = False
    kept: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def serve(self) -> None:
        """Until the process ends."""
        self.artifacts.prepare()
        server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, backlog=512)
        async with server:
            await server.serve_forever()

    def note(self, event: str, call: Call) -> None:
        """One line in the journal."""
        entry = {"at": time.monotonic(), "event": event, "job_id": call.job_id, "key": call.key, "path": call.path}
        with open(self.journal, "a") as file:
            file.write(json.dumps(entry | {"service": self.service, "port": self.port, "pid": os.getpid()}) + "\n")

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            call = await _read(reader, writer)
            work = asyncio.create_task(self._answer(call))
            left = asyncio.create_task(reader.read(1))  # nothing more is sent: this ends when the caller leaves
            await asyncio.wait([work, left], return_when=asyncio.FIRST_COMPLETED)
            left.cancel()
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
        writer.close()

    async def _answer(self, call: Call) -> None:
        if call.path == "/_stub/rules":
            self.rules = RULES.validate_json(call.body)
            await call.reply(200, b"{}")
            return
        rule = next((rule for rule in self.rules if rule.fits(call)), Rule())
        if rule.times is not None:
            self.rules[self.rules.index(rule)] = rule.model_copy(update={"times": rule.times - 1})
        if call.path in STAGE_PATHS:
            await self._stage(call, rule)
        elif rule.fault in BAD_REPLIES:
            await BAD_REPLIES[rule.fault](call, rule)
        else:
            await self._look(call, rule)

    async def _look(self, call: Call, rule: Rule) -> None:
        """The routes that take no slot."""
        if call.path == "/engines":
            await call.value(ENGINES[self.service])
        elif call.path == "/health":
            await call.reply(200, b'{"status":"ok"}')
        elif call.path == "/ready":
            ready = rule.fault != "unready"
            await call.reply(200 if ready else 503, json.dumps({"ready": ready, "dependencies": {}}).encode())
        elif call.path == "/imagine/inspect":
            wish = InspectRequest.model_validate_json(call.body)
            await call.value(InspectResult(images=tuple(self._inspected(image) for image in wish.images)))
        else:
            await call.value(Problem(title="Not found", status=404, code="not_found", detail=call.path), 404)

    def _inspected(self, image: Any) -> InspectedImage:
        return InspectedImage(key=image.key, url=image.url, format="PNG", width_px=8, height_px=8, has_alpha=True)

    async def _stage(self, call: Call, rule: Rule) -> None:
        """One run at a time, as the real services do."""
        if call.key in self.kept:
            self.note("repeated", call)
            await _stream(call, self.kept[call.key])
            return
        if self.busy:
            self.note("busy", call)
            await refuse(call, 429, "busy", retry_after_s=0.2)
            return
        self.busy = True
        self.note("begin", call)
        ended = "failed"
        try:
            await self._run(call, rule)
            ended = "end"
        except asyncio.CancelledError:
            ended = "cancelled"
            raise
        except ConnectionError:
            ended = "cancelled"
        except Gone:
            pass  # its bad reply is all it gets
        finally:
            self.busy = False
            self.note(ended, call)

    async def _run(self, call: Call, rule: Rule) -> None:
        if rule.fault in BAD_REPLIES:
            await BAD_REPLIES[rule.fault](call, rule)
            raise Gone
        call.head(200, NDJSON_MEDIA_TYPE, Transfer_Encoding="chunked")
        began = time.monotonic()
        while (passed := time.monotonic() - began) < rule.duration_s:
            await call.progress(passed / rule.duration_s)
            await asyncio.sleep(min(PROGRESS_EVERY_S, rule.duration_s - passed))
        if rule.fault == "crash":
            os._exit(70)
        try:
            result = STAGE_CALLS[call.path](self.artifacts, call, rule)
        except ServiceError as error:
            await call.line(type="problem", problem=error.problem().model_dump(mode="json"))
            await call.chunk(b"")
            raise Gone from None
        self.kept[call.key] = result
        await call.line(type="result", result=result)
        await call.chunk(b"")


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Call:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    method, path, _ = first.split(" ")
    return Call(method, path.split("?")[0], headers, body, writer)


async def _stream(call: Call, result: dict[str, Any]) -> None:
    call.head(200, NDJSON_MEDIA_TYPE, Transfer_Encoding="chunked")
    await call.line(type="result", result=result)
    await call.chunk(b"")


def _keep(artifacts: ArtifactStore, key: str, content: bytes, rule: Rule) -> ArtifactRef:
    """The file as it is kept, and a reference that may say something else of it."""
    if rule.fault == "crash_before_rename":
        target = artifacts.roots[key.split("/", 1)[0]] / key.split("/", 1)[1]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.with_name(f".{uuid.uuid4().hex}.tmp").write_bytes(content[: len(content) // 2])
        os._exit(71)
    ref = artifacts.put(key, content)
    if rule.fault == "wrong_sha":
        return ref.model_copy(update={"sha256": hashlib.sha256(b"something else").hexdigest()})
    if rule.fault == "wrong_size":
        return ref.model_copy(update={"size_bytes": ref.size_bytes + 1})
    if rule.fault == "missing_file":
        artifacts.local(key).unlink()
    if rule.fault == "other_jobs_key":
        return artifacts.reference(rule.key)
    return ref


def _view(artifacts: ArtifactStore, name: str, camera: Camera, prefix: str, rule: Rule, *, known: bool) -> View:
    content = png(rule.fault if rule.fault in BROKEN_PICTURES else None)
    ref = _keep(artifacts, f"{prefix}/{name}.png", content, rule)
    return View(name=name, ref=ref, camera=camera, alpha_trusted=True, calibrated=known)


def _imagine(artifacts: ArtifactStore, call: Call, rule: Rule) -> dict[str, Any]:
    wish = ImagineRequest.model_validate_json(call.body)
    prefix = wish.output_prefix or "cache/image-stub"
    named = [(v.name, v.azimuth_deg, v.elevation_deg) for v in wish.views] or VIEW_SETS[wish.view_set or "front"]
    views = tuple(
        _view(artifacts, name, Camera(azimuth_deg=a, elevation_deg=e), prefix, rule, known=True) for name, a, e in named
    )
    return _result(ImagineResult(engine="stub-images", engine_version="1", seed=wish.seed, views=views), rule)


def _prepare(artifacts: ArtifactStore, call: Call, rule: Rule) -> dict[str, Any]:
    wish = PrepareRequest.model_validate_json(call.body)
    prefix = wish.output_prefix or "cache/image-stub"
    views = tuple(
        _view(artifacts, image.view or f"picture-{n}", Camera(azimuth_deg=0), prefix, rule, known=False)
        for n, image in enumerate(wish.images)
    )
    return _result(ImagineResult(engine="stub-intake", engine_version="1", seed=0, views=views), rule)


def _reconstruct(artifacts: ArtifactStore, call: Call, rule: Rule) -> dict[str, Any]:
    wish = ReconstructRequest.model_validate_json(call.body)
    if not wish.views:
        raise Unprocessable("there are no views", field="views")
    content = glb(rule.fault if rule.fault in BROKEN_MESHES else None, seed=wish.seed)
    mesh = _keep(artifacts, f"{wish.output_prefix or 'cache/reconstruction-stub'}/raw.glb", content, rule)
    made = ReconstructResult(engine="stub-hull", engine_version="1", mesh=mesh, faces=4, vertices=4)
    return _result(made, rule)


def _clean(artifacts: ArtifactStore, call: Call, rule: Rule) -> dict[str, Any]:
    wish = CleanRequest.model_validate_json(call.body)
    prefix = wish.output_prefix or "cache/postprocess-stub"
    report = MeshReport(
        watertight=True,
        manifold=True,
        components=1,
        faces=4,
        vertices=4,
        area_m2=2.366,
        volume_m3=0.166667,
        bounds_min_m=(0, 0, 0),
        bounds_max_m=(1, 1, 1),
        faces_in=4,
        faces_asked=wish.target_faces,
    )
    files = {
        ("asset", "model.glb"): glb(rule.fault if rule.fault in BROKEN_MESHES else None, padding=rule.padding),
        ("preview", "preview.png"): png(),
        ("report", "report.json"): report.model_dump_json().encode(),
        ("recipe", "recipe.json"): json.dumps(wish.recipe, sort_keys=True).encode(),
    }
    outputs = tuple(
        OutputFile.model_validate(
            {
                "name": name,
                "role": role,
                "format": name.rsplit(".", 1)[1],
                "ref": _keep(artifacts, f"{prefix}/{name}", content, rule if role == "asset" else Rule()),
                "primary": role == "asset",
            }
        )
        for (role, name), content in files.items()
    )
    return _result(CleanResult(engine="stub-clean", engine_version="1", outputs=outputs, report=report), rule)


def _result(made: Value, rule: Rule) -> dict[str, Any]:
    result: dict[str, Any] = made.model_dump(mode="json")
    if rule.fault == "unknown_fields":
        result |= {"engine_mood": "fine", "statistics": {"laps": [1, 2]}}
    return result


STAGE_CALLS: dict[str, Callable[[ArtifactStore, Call, Rule], dict[str, Any]]] = {
    "/imagine/generate": _imagine,
    "/imagine/prepare": _prepare,
    "/reconstruct/mesh": _reconstruct,
    "/postprocess/clean": _clean,
}


def _card(name: str, **more: Any) -> EngineCard:
    return EngineCard(
        id=name, version="1", available=True, summary="Does next to nothing", licence_code="Apache-2.0", **more
    )


ENGINES = {
    "image": EngineList(
        engines=(_card("stub-images", inputs=("prompt",)),), matting=(_card("stub-matting", inputs=("picture",)),)
    ),
    "reconstruction": EngineList(
        engines=(
            _card(
                "stub-hull",
                inputs=("calibrated_views", "named_views", "picture"),
                view_sets={"1": "front", "4": "carve-4", "8": "carve-8"},
                output_formats=("glb",),
            ),
        )
    ),
    "postprocess": EngineList(engines=(_card("stub-clean", inputs=("mesh",), output_formats=("glb",)),)),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--service", choices=sorted(ENGINES), required=True)
    parser.add_argument("--journal", type=Path, required=True)
    given = parser.parse_args()
    stub = Stub(given.service, given.port, ArtifactStore(given.data_dir), given.journal)
    asyncio.run(stub.serve())


if __name__ == "__main__":
    main()
