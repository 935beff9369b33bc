"""Refuse early: everything that can be known to fail is said at submission, naming the field and the mend."""

import re
import secrets
import uuid
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator
from pydantic import JsonValue

from scratch3d.contracts.engines import EngineCard
from scratch3d.contracts.images import InspectRequest, SourceImage
from scratch3d.contracts.jobs import FromImageRequest, GenerateRequest, ImagePath, ImageUrl, JobOptions, State
from scratch3d.contracts.views import VIEW_AXES
from scratch3d.servicekit.artifacts import key_from_path
from scratch3d.servicekit.errors import NotAvailable, ServiceError, Unavailable, Unprocessable, from_problem

from .domain import Plan
from .engines import Engines
from .errors import StageFailed

#: Tier → (views, cells along the longest side).
TIERS = {
    "fast": (4, 128),
    "standard": (4, 256),
    "balanced": (4, 256),
    "high": (8, 384),
    "quality": (8, 384),
}
#: A prompt costs nothing to draw from more sides, so `auto` takes the best views; pictures are what they are.
AUTO_TIER = (8, 256)
DEFAULT_FACES = 20_000
#: The side of a canonical picture; a picture alone is also the texture, so it is kept finer.
PICTURE_PX, FINE_PX = 512, 1024
MAX_URL = 2048
_WORD = re.compile(r"[^\W_]+")


async def plan_generate(request: GenerateRequest, engines: Engines) -> Plan:
    """The steps of a prompt; Unprocessable or NotAvailable naming the field."""
    views, resolution = _tier(request)
    images = await engines.choose(State.GENERATING_IMAGES, request.image_engine, field="image_engine")
    _check_vocabulary(request.prompt, images)
    _check_style(request.style, images)
    reconstruction, view_set = await _for_prompt(request, engines, views)
    return await _plan(
        request,
        engines,
        resolution=resolution,
        image_engine=images.id,
        reconstruction=reconstruction,
        view_set=view_set,
    )


async def _for_prompt(request: GenerateRequest, engines: Engines, by_tier: int) -> tuple[EngineCard, str]:
    """The engine that works from so many views, and the set of cameras it wants."""
    if request.engine != "auto" and request.views is None:
        card = await engines.choose(State.RECONSTRUCTING_3D, request.engine, field="engine")
        if card.view_sets and str(by_tier) not in card.view_sets:
            return card, next(iter(card.view_sets.values()))  # it wants its own number, whatever the tier says
    wanted = str(request.views or by_tier)
    counts = sorted({int(n) for card in await engines.cards(State.RECONSTRUCTING_3D) for n in card.view_sets})

    def fits(card: EngineCard) -> str | None:
        if wanted in card.view_sets:
            return None
        known = ", ".join(card.view_sets) or "given"
        return f"engine {card.id!r} works from {known} views here, not from {wanted}"

    if request.engine == "auto" and int(wanted) not in counts:
        raise NotAvailable(f"the engines here work from {', '.join(map(str, counts))} views", field="views")
    field = "views" if request.views is not None else "engine"
    card = await engines.choose(State.RECONSTRUCTING_3D, request.engine, field=field, fits=fits)
    return card, card.view_sets[wanted]


async def plan_from_image(request: FromImageRequest, engines: Engines, *, job_id: str) -> Plan:
    """The steps of given pictures, whose headers are looked at; Unprocessable or NotAvailable naming the field."""
    if request.views is not None:
        raise NotAvailable("the number of views is the number of pictures", field="views")
    sources = sources_of(request, job_id=job_id)
    await _check_matting(request.matting_engine, engines)
    kind, _ = offer = offer_of(sources)
    reconstruction = await engines.choose(
        State.RECONSTRUCTING_3D, request.engine, field="engine", fits=lambda card: _misfit(card, offer)
    )
    await _inspect(sources, engines)
    _, resolution = _tier(request)
    fine = request.quality_tier in {"auto", "high", "quality"} and kind == "picture"
    return await _plan(
        request,
        engines,
        resolution=resolution,
        image_engine="",
        reconstruction=reconstruction,
        picture_px=FINE_PX if fine else PICTURE_PX,
    )


async def plan_again(
    request: GenerateRequest | FromImageRequest, parent: Plan, stage: State, engines: Engines, *, job_id: str
) -> Plan:
    """The steps of a job that keeps what came before `stage`: its views are what they are.

    NotAvailable or Unprocessable naming the field.
    """
    if stage is State.POST_PROCESSING:
        changes = await _finish(request, engines)
        return parent.model_copy(update=changes)

    def fits(card: EngineCard) -> str | None:
        if isinstance(request, FromImageRequest):
            return _misfit(card, offer_of(sources_of(request, job_id=job_id)))
        if parent.view_set in card.view_sets.values():
            return None
        return f"engine {card.id!r} works from other views than those that are kept: replay from generating_images"

    wanted = request.engine if request.engine != "auto" else parent.reconstruction_engine
    card = await engines.choose(State.RECONSTRUCTING_3D, wanted, field="engine", fits=fits)
    _check_options(request.engine_options, card)
    changes = {"reconstruction_engine": card.id, "resolution": _tier(request)[1], **await _finish(request, engines)}
    return parent.model_copy(update=changes)


#: What pictures can be to an engine, in words.
_KINDS = {
    "calibrated_views": "pictures with camera angles",
    "named_views": "named views",
    "picture": "a picture alone",
    "prompt": "a prompt",
}


def offer_of(sources: tuple[SourceImage, ...]) -> tuple[str, int]:
    """What these pictures are to an engine (a word of `EngineCard.inputs`), and how many of them count."""
    angled = [s for s in sources if s.azimuth_deg is not None or s.elevation_deg is not None]
    if angled:
        return ("calibrated_views", len(sources)) if len(sources) > 1 else ("picture", 1)
    named = [source.view for source in sources if source.view]
    if len({VIEW_AXES[name] for name in named}) > 1:
        return "named_views", len(named)
    return "picture", 1


def _misfit(card: EngineCard, offer: tuple[str, int]) -> str | None:
    """Why an engine cannot start from these pictures, or None."""
    kind, count = offer
    if kind not in card.inputs:
        return f"engine {card.id!r} cannot start from {_KINDS[kind]}: it needs {_needs(card)}"
    return f"engine {card.id!r} needs {_needs(card)}" if count < card.min_views else None


def _needs(card: EngineCard) -> str:
    kinds = " or ".join(_KINDS.get(kind, kind) for kind in card.inputs)
    return f"at least {card.min_views} of {kinds}" if card.min_views > 1 else kinds


def sources_of(request: FromImageRequest, *, job_id: str) -> tuple[SourceImage, ...]:
    """The pictures of a request, by key or by address; another job's files are nobody else's."""
    name = "image_urls" if request.image_urls else "image_paths"
    items = request.image_urls or request.image_paths
    return tuple(_source(item, f"{name}[{number}]", job_id) for number, item in enumerate(items))


async def _check_matting(wanted: str, engines: Engines) -> None:
    known = await engines.matting()
    card = next((card for card in known if card.id == wanted), None)
    if wanted == "auto" or (card and card.available):
        return
    if card:
        raise NotAvailable(f"background removal {wanted!r} cannot run here: {card.reason}", field="matting_engine")
    names = ", ".join(card.id for card in known)
    raise NotAvailable(
        f"there is no background removal {wanted!r} here; there are: auto, {names}", field="matting_engine"
    )


def _check_style(style: str | None, card: EngineCard) -> None:
    known = card.vocabulary.get("styles", ())
    if style is not None and style not in known:
        there = f"there are: {', '.join(known)}" if known else f"engine {card.id!r} has none"
        raise NotAvailable(f"there is no style {style[:40]!r} here; {there}", field="style")


def _check_options(options: Mapping[str, JsonValue], card: EngineCard) -> None:
    """The engine's own options, by the schema on its card."""
    if not options:
        return
    schema: dict[str, Any] = card.options or {"type": "object", "properties": {}, "additionalProperties": False}
    error = next(iter(Draft202012Validator(schema).iter_errors(dict(options))), None)
    if error:
        where = ".".join(["engine_options", *(str(part) for part in error.path)])
        known = ", ".join(schema.get("properties", {})) or "none"
        text = f"{error.message[:200]}; engine {card.id!r} has these options: {known}"
        raise Unprocessable(text, code="invalid_request", field=where)


async def _plan(
    request: JobOptions,
    engines: Engines,
    *,
    resolution: int,
    image_engine: str,
    reconstruction: EngineCard,
    view_set: str | None = None,
    picture_px: int = PICTURE_PX,
) -> Plan:
    _check_options(request.engine_options, reconstruction)
    finish = await _finish(request, engines)
    return Plan(
        seed=secrets.randbits(32) if request.seed is None else request.seed,
        resolution=resolution,
        view_set=view_set,
        picture_px=picture_px,
        image_engine=image_engine,
        reconstruction_engine=reconstruction.id,
        **finish,
    )


async def _finish(request: JobOptions, engines: Engines) -> dict[str, Any]:
    """The part of a plan that the last stage reads."""
    if request.webhook_url is not None:
        raise NotAvailable("webhooks are not available here: watch /3d/events/{job_id}", field="webhook_url")
    postprocess = await engines.choose(State.POST_PROCESSING, request.postprocess_engine, field="postprocess_engine")
    if request.output_format not in postprocess.output_formats:
        known = ", ".join(postprocess.output_formats)
        raise NotAvailable(f"{request.output_format} is not available here; {known} are", field="output_format")
    return {"target_faces": request.target_faces or DEFAULT_FACES, "postprocess_engine": postprocess.id}


def _tier(request: JobOptions) -> tuple[int, int]:
    return TIERS.get(request.quality_tier, AUTO_TIER)


def _check_vocabulary(prompt: str, card: EngineCard) -> None:
    """An engine with a closed vocabulary must know at least one thing in the prompt."""
    if not card.named_things:
        return
    words = _WORD.findall(prompt.lower())
    if any(" ".join(words[at : at + n]) in card.named_things for n in (1, 2, 3) for at in range(len(words))):
        return
    things = card.vocabulary["things"]
    raise Unprocessable(
        f"names nothing that engine {card.id!r} can draw. It knows: {', '.join(sorted(things))}; materials: "
        f"{', '.join(card.vocabulary.get('materials', ()))}; any CSS colour; sizes: "
        f"{', '.join(card.vocabulary.get('sizes', ()))}; relations: {', '.join(card.vocabulary.get('relations', ()))}. "
        "Example: “a red cube on a wooden table”. "
        "For free prompts configure an image model: docs/engines.md, section “Image models”",
        code="unknown_prompt",
        field="prompt",
    )


def _source(item: ImagePath | ImageUrl | str, field: str, job_id: str) -> SourceImage:
    if isinstance(item, str):
        item = ImageUrl(url=item) if field.startswith("image_urls") else ImagePath(path=item)
    placed: dict[str, Any] = {"view": item.view, "azimuth_deg": item.azimuth_deg, "elevation_deg": item.elevation_deg}
    if isinstance(item, ImageUrl):
        if len(item.url) > MAX_URL:
            raise Unprocessable(f"is longer than {MAX_URL} characters", code="invalid_url", field=field)
        return SourceImage(url=item.url, field=field, **placed)
    key = key_from_path(item.path, field=field)
    if not key.startswith("inputs/"):
        raise Unprocessable("must lie under inputs/", code="invalid_path", field=field)
    if _is_job_id(folder := key.split("/")[1]) and folder != job_id:
        raise Unprocessable("belongs to another job", code="invalid_path", field=field)
    if folder == job_id and field.startswith("image_paths"):
        field = field.replace("image_paths", "images")  # it came in a form, under this name
    return SourceImage(key=key, field=field, **placed)


def _is_job_id(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


async def _inspect(sources: tuple[SourceImage, ...], engines: Engines) -> None:
    client = engines.pools[State.GENERATING_IMAGES].client
    away: ServiceError = Unavailable("image-service has not answered yet; nothing was accepted", retry_after_s=2.0)
    for url in await engines.urls(State.GENERATING_IMAGES):
        try:
            await client.inspect(url, InspectRequest(images=sources))
            return
        except StageFailed as failure:
            away = from_problem(failure.problem)
            if failure.problem.code != "service_unreachable":
                break
    raise away
