"""Refuse early: everything that can be known to fail is said at submission, naming the field and the mend."""

import re
import secrets
import uuid

from scratch3d.contracts.engines import EngineCard
from scratch3d.contracts.images import InspectRequest, SourceImage
from scratch3d.contracts.jobs import FromImageRequest, GenerateRequest, ImagePath, ImageUrl, JobOptions, State
from scratch3d.servicekit.artifacts import key_from_path
from scratch3d.servicekit.errors import NotAvailable, Unprocessable, from_problem

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


async def plan_generate(request: GenerateRequest, engines: Engines) -> Plan:
    """The steps of a prompt; Unprocessable or NotAvailable naming the field."""
    if request.style is not None:
        raise NotAvailable("styles are not available here", field="style")
    views, resolution = _tier(request)
    images = await engines.choose(State.GENERATING_IMAGES, request.image_engine, field="image_engine")
    _check_vocabulary(request.prompt, images)
    reconstruction = await engines.choose(State.RECONSTRUCTING_3D, request.engine, field="engine")
    wanted = request.views or views
    if str(wanted) not in reconstruction.view_sets:
        known = ", ".join(reconstruction.view_sets)
        raise NotAvailable(f"engine {reconstruction.id!r} works from {known} views here", field="views")
    return await _plan(
        request,
        engines,
        resolution=resolution,
        image_engine=images.id,
        reconstruction=reconstruction,
        view_set=reconstruction.view_sets[str(wanted)],
    )


async def plan_from_image(request: FromImageRequest, engines: Engines, *, job_id: str) -> Plan:
    """The steps of given pictures, whose headers are looked at; Unprocessable or NotAvailable naming the field."""
    if request.image_urls:
        raise NotAvailable("pictures from the web are not fetched here: upload them", field="image_urls")
    if request.matting_engine != "auto":
        raise NotAvailable("there is no choice of background removal here", field="matting_engine")
    if request.views is not None:
        raise NotAvailable("the number of views is the number of pictures", field="views")
    sources = sources_of(request, job_id=job_id)
    for number, source in enumerate(sources):
        if source.view is None and source.azimuth_deg is None:
            raise NotAvailable(
                "pictures without a view or azimuth_deg need an image-to-3D model, and none is installed here: "
                "name the view (front, right, back, left, top, bottom)",
                field=f"image_paths[{number}].view",
            )
    if len(sources) < 2:
        raise NotAvailable(
            "one picture alone needs an image-to-3D model, and none is installed here: give at least two views",
            field="image_paths",
        )
    reconstruction = await engines.choose(State.RECONSTRUCTING_3D, request.engine, field="engine")
    await _inspect(sources, engines)
    _, resolution = _tier(request)
    return await _plan(request, engines, resolution=resolution, image_engine="", reconstruction=reconstruction)


def sources_of(request: FromImageRequest, *, job_id: str) -> tuple[SourceImage, ...]:
    """The pictures of a request as keys; another job's files are nobody else's."""
    return tuple(_source(item, number, job_id) for number, item in enumerate(request.image_paths))


async def _plan(
    request: JobOptions,
    engines: Engines,
    *,
    resolution: int,
    image_engine: str,
    reconstruction: EngineCard,
    view_set: str | None = None,
) -> Plan:
    if request.webhook_url is not None:
        raise NotAvailable("webhooks are not available here: watch /3d/events/{job_id}", field="webhook_url")
    postprocess = await engines.choose(State.POST_PROCESSING, request.postprocess_engine, field="postprocess_engine")
    if request.output_format not in postprocess.output_formats:
        known = ", ".join(postprocess.output_formats)
        raise NotAvailable(f"{request.output_format} is not available here; {known} are", field="output_format")
    return Plan(
        seed=secrets.randbits(32) if request.seed is None else request.seed,
        resolution=resolution,
        target_faces=request.target_faces or DEFAULT_FACES,
        view_set=view_set,
        image_engine=image_engine,
        reconstruction_engine=reconstruction.id,
        postprocess_engine=postprocess.id,
    )


def _tier(request: JobOptions) -> tuple[int, int]:
    return TIERS.get(request.quality_tier, AUTO_TIER)


def _check_vocabulary(prompt: str, card: EngineCard) -> None:
    """An engine with a closed vocabulary must know at least one thing in the prompt."""
    things = set(card.vocabulary.get("things", ()))
    if not things:
        return
    words = set(re.findall(r"[^\W_]+", prompt.lower()))
    if words & things or {word.removesuffix("s") for word in words} & things:
        return
    raise Unprocessable(
        f"names nothing that engine {card.id!r} can draw. It knows: {', '.join(sorted(things))}; materials: "
        f"{', '.join(card.vocabulary.get('materials', ()))}; any CSS colour; sizes: "
        f"{', '.join(card.vocabulary.get('sizes', ()))}; on, beside. Example: “a red cube on a wooden cylinder”. "
        "For free prompts configure an image model: docs/engines.md, section “Image models”",
        code="unknown_prompt",
        field="prompt",
    )


def _source(item: ImagePath | ImageUrl | str, number: int, job_id: str) -> SourceImage:
    if isinstance(item, ImageUrl):
        raise NotAvailable("pictures from the web are not fetched here: upload them", field="image_urls")
    path = item if isinstance(item, str) else item.path
    key = key_from_path(path, field=f"image_paths[{number}]")
    if not key.startswith("inputs/"):
        raise Unprocessable("must lie under inputs/", code="invalid_path", field=f"image_paths[{number}]")
    if _is_job_id(folder := key.split("/")[1]) and folder != job_id:
        raise Unprocessable("belongs to another job", code="invalid_path", field=f"image_paths[{number}]")
    if isinstance(item, str):
        return SourceImage(key=key)
    return SourceImage(key=key, view=item.view, azimuth_deg=item.azimuth_deg, elevation_deg=item.elevation_deg)


def _is_job_id(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


async def _inspect(sources: tuple[SourceImage, ...], engines: Engines) -> None:
    pool = engines.pools[State.GENERATING_IMAGES]
    wish = InspectRequest(keys=tuple(source.key for source in sources))
    try:
        await pool.client.inspect(pool.urls[0], wish)
    except StageFailed as failure:
        raise from_problem(failure.problem) from failure
