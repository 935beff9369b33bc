"""What runs in the intake's process: fetch, decode, cut out, bring to one scale, store, return references."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from scratch3d.contracts.artifacts import ArtifactRef
from scratch3d.contracts.images import ImagineResult, PrepareRequest, SourceImage
from scratch3d.geometry.mesh import U8
from scratch3d.geometry.outline import topology, without_specks
from scratch3d.servicekit import registry
from scratch3d.servicekit.artifacts import ArtifactStore
from scratch3d.servicekit.errors import NotFound, Unprocessable
from scratch3d.servicekit.runner import Payload, Report

from ..engines.base import Pictures
from ..errors import NoObject
from ..keep import keep
from ..matting import GROUP
from ..matting.base import Cut, Matting
from ..prepare import prepare
from ..settings import Settings
from .decode import Decoded, decode
from .fetch import Fetcher
from .urls import Allow

VERSION = "1"
#: Longest side of what is worked on; the canonical picture is at most this large.
WORK_PX = 1024
FETCHES_AT_ONCE = 4
#: Share of a picture that must be transparent before its alpha counts as a cut-out.
LEAST_TRANSPARENT = 0.01
#: Specks of a cut-out that go without saying, and pieces beyond which it shows no object at all.
MANY_SPECKS, MOST_PIECES = 24, 400
_ENDINGS = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpg", b"RIFF": "webp"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """One given picture with its bytes."""

    told: SourceImage
    content: bytes
    fetched: ArtifactRef | None = None


class IntakeWork:
    """Pictures from anywhere to views."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.artifacts = ArtifactStore(settings.data_dir)
        self.limits = settings.limits
        self._matting: dict[str, Matting] = {}

    def load(self) -> None:
        """Bring the preferred background remover up."""
        self._remover("auto")

    def run(self, request: Payload, report: Report) -> Payload:
        """A PrepareRequest to an ImagineResult."""
        started = perf_counter()
        given = PrepareRequest.model_validate(request)
        remover = self._remover(given.matting_engine)
        prefix = given.output_prefix or "cache/image-service"
        report(0.0, "fetching")
        sources = self._collect(given.images, prefix, report)
        warnings: list[str] = []
        cuts = []
        for number, source in enumerate(sources):
            report(0.2 + number / len(sources) * 0.7, f"picture {number + 1} of {len(sources)}")
            cut = self._cut(source, remover)
            cuts.append(cut)
            warnings += [f"{source.told.field}: {text}" for text in cut.warnings]
        made = prepare(given.images, cuts, given.size_px)
        made = Pictures(pictures=made.pictures, warnings=(*warnings, *made.warnings))
        report(0.95, "storing")
        fetched = tuple(source.fetched for source in sources if source.fetched)
        result = ImagineResult(engine="prepare", engine_version=VERSION, seed=0, views=(), fetched=fetched)
        result = keep(self.artifacts, prefix, made, result)
        return result.model_copy(update={"duration_s": round(perf_counter() - started, 4)}).model_dump(mode="json")

    def close(self) -> None:
        """Close the removers."""
        for remover in self._matting.values():
            remover.close()

    def _remover(self, wanted: str) -> Matting:
        order = self.settings.matting_engines
        name = registry.choose(registry.cards(GROUP, order, self.settings), wanted, order)
        if name not in self._matting:
            remover: Matting = registry.create(GROUP, name, self.settings)
            remover.load()
            self._matting[name] = remover
        return self._matting[name]

    def _collect(self, images: Sequence[SourceImage], prefix: str, report: Report) -> list[Source]:
        """The bytes of every picture; what came from the web is kept, so that the job can be run again."""
        fetcher = Fetcher(
            allow=Allow.parse(self.settings.fetch_allow),
            max_bytes=int(self.limits.max_bytes),
            timeout_s=self.settings.fetch_timeout_s,
        )
        with ThreadPoolExecutor(FETCHES_AT_ONCE) as pool:
            contents = [pool.submit(self._bytes_of, told, fetcher) for told in images]
            sources = []
            for number, (told, content) in enumerate(zip(images, contents, strict=True)):
                report(0.2 * number / len(images), "fetching")
                source = Source(told=told, content=content.result())
                sources.append(source if told.key else self._kept(source, prefix, number))
        return sources

    def _bytes_of(self, told: SourceImage, fetcher: Fetcher) -> bytes:
        if told.url is not None:
            return fetcher.get(told.url, field=told.field)
        try:
            with self.artifacts.open_given(str(told.key)) as file:
                return file.read(int(self.limits.max_bytes) + 1)
        except NotFound as error:
            raise Unprocessable(error.detail, code="not_found", field=told.field) from None

    def _kept(self, source: Source, prefix: str, number: int) -> Source:
        ending = next((name for magic, name in _ENDINGS.items() if source.content.startswith(magic)), "bin")
        ref = self.artifacts.put(f"{prefix}/fetched-{number + 1}.{ending}", source.content)
        return Source(told=source.told, content=source.content, fetched=ref)

    def _cut(self, source: Source, remover: Matting) -> Cut:
        field = source.told.field
        picture = decode(source.content, self.limits, WORK_PX, field=field)
        if _is_cut_out(picture):
            if (picture.rgba[..., 3] > 127).sum() < 24:
                raise NoObject("shows no object: everything is transparent", field=field)
            return _sound(picture.rgba, field)
        try:
            return remover.cut(_on_white(picture))
        except NoObject as error:
            raise NoObject(error.detail, field=field) from None


def _is_cut_out(picture: Decoded) -> bool:
    return picture.has_alpha and bool((picture.rgba[..., 3] < 128).mean() >= LEAST_TRANSPARENT)


def _sound(rgba: U8, field: str) -> Cut:
    """The object of a picture's own alpha without specks; NoObject when it is nothing but specks."""
    alpha, specks = without_specks(rgba[..., 3])
    parts, holes = topology(alpha > 127)
    if parts + holes > MOST_PIECES:
        raise NoObject(f"falls into {parts} parts with {holes} holes: its transparency is noise", field=field)
    warnings = (f"{specks} specks of its transparency were left out",) if specks > MANY_SPECKS else ()
    return Cut(rgba=np.concatenate([rgba[..., :3], alpha[..., None]], axis=2), warnings=warnings)


def _on_white(picture: Decoded) -> U8:
    alpha = picture.rgba[..., 3:].astype(float) / 255.0
    return np.asarray(np.rint(picture.rgba[..., :3] * alpha + 255.0 * (1 - alpha)), np.uint8)


def create(arguments: dict[str, Any]) -> IntakeWork:
    """Called in the child process by the runner."""
    return IntakeWork(Settings.model_validate(arguments["settings"]))
