"""`POST /3d/from-image` in its two forms: JSON (pictures by path, by URL, or as data URIs), and a form with files."""

import asyncio
import base64
import binascii
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException

from scratch3d.contracts.artifacts import ArtifactRef
from scratch3d.contracts.jobs import FromImageRequest
from scratch3d.contracts.views import NAMED_VIEWS
from scratch3d.servicekit.artifacts import ArtifactStore
from scratch3d.servicekit.errors import BadRequest, Unprocessable

MAX_FILES = 16
#: First bytes → ending of the stored file; whether it really is a picture is found when its header is inspected.
_KINDS = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpg", b"RIFF": "webp"}
_DATA_HEAD = re.compile(r"data:image/(png|jpe?g|webp);base64", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A request, and the files stored for it under its job id."""

    request: FromImageRequest
    job_id: str
    artifacts: ArtifactStore
    #: sha256 of each picture that came with the request, by the path it was stored under
    digests: Mapping[str, str] = field(default_factory=dict)

    def discard(self) -> None:
        """Remove the stored files: the job was not accepted."""
        self.artifacts.delete_tree(f"inputs/{self.job_id}")


async def read_submission(request: Request, artifacts: ArtifactStore) -> Submission:
    """The request as a value, its uploads stored; a problem naming the field otherwise."""
    job_id = str(uuid.uuid4())
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind not in {"application/json", "multipart/form-data", ""}:
        raise BadRequest("send application/json, or multipart/form-data with pictures in `images`")
    try:
        if kind == "multipart/form-data":
            body, digests = await _store_form(request, artifacts, job_id)
        else:
            body, digests = await _store_data_uris(_parse_json(await request.body()), artifacts, job_id)
        wish = FromImageRequest.model_validate(body)
    except ValidationError as error:
        artifacts.delete_tree(f"inputs/{job_id}")
        raise RequestValidationError(error.errors()) from None
    except BaseException:  # whatever stops us: pictures of a job that never was must not stay
        artifacts.delete_tree(f"inputs/{job_id}")
        raise
    return Submission(request=wish, job_id=job_id, artifacts=artifacts, digests=digests)


def _parse_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("the body is not JSON") from None


async def _store_form(
    request: Request, artifacts: ArtifactStore, job_id: str
) -> tuple[dict[str, Any], Mapping[str, str]]:
    try:
        form = await request.form(max_files=MAX_FILES, max_fields=64)
    except (MultiPartException, HTTPException) as error:
        if isinstance(error, HTTPException) and error.status_code == 413:
            raise
        raise BadRequest("the form cannot be read: send up to 16 pictures in `images`") from None
    try:
        return await _store_files(form, artifacts, job_id)
    finally:
        await form.close()


async def _store_files(
    form: FormData, artifacts: ArtifactStore, job_id: str
) -> tuple[dict[str, Any], Mapping[str, str]]:
    files = [item for item in form.getlist("images") if isinstance(item, UploadFile)]
    if not files:
        raise Unprocessable("send at least one picture", field="images")
    views = _views(form.getlist("views"), len(files))
    body: dict[str, Any] = _options(form)
    stored = [await _store(await file.read(), artifacts, job_id, number) for number, file in enumerate(files)]
    body["image_paths"] = [
        {"path": ref.key, **({"view": view} if view else {})} for ref, view in zip(stored, views, strict=True)
    ]
    return body, {ref.key: ref.sha256 for ref in stored}


async def _store_data_uris(body: Any, artifacts: ArtifactStore, job_id: str) -> tuple[Any, Mapping[str, str]]:
    """The body with every picture it holds stored, and named by its path: a job keeps references, never bytes."""
    digests: dict[str, str] = {}
    given = body.get("image_urls") if isinstance(body, dict) else None
    if not isinstance(given, list) or len(given) > MAX_FILES:
        return body, digests  # whatever it is, the contract says what is wrong with it
    items = []
    for number, item in enumerate(given):
        url = item.get("url") if isinstance(item, dict) else item
        if not isinstance(url, str) or url[:5].lower() != "data:":
            items.append(item)
            continue
        content = _decoded(url, f"image_urls[{number}]")
        ref = await _store(content, artifacts, job_id, number)
        digests[ref.key] = ref.sha256
        placed = {k: v for k, v in item.items() if k != "url"} if isinstance(item, dict) else {}
        items.append({"path": ref.key, **placed})
    return {**body, "image_urls": items}, digests


def _decoded(uri: str, field: str) -> bytes:
    head, comma, text = uri.partition(",")
    if not comma or not _DATA_HEAD.fullmatch(head):
        raise Unprocessable(
            "must be data:image/png;base64,… (or image/jpeg, image/webp)", code="invalid_url", field=field
        )
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Unprocessable("is not base64", code="invalid_url", field=field) from None


def _views(given: Sequence[Any], count: int) -> list[str | None]:
    names = [str(name).strip() for item in given for name in str(item).split(",")]
    if not names:
        return [None] * count
    if len(names) != count:
        raise Unprocessable(f"has {len(names)} names for {count} pictures", field="views")
    for number, name in enumerate(names):
        if name and name not in NAMED_VIEWS:
            raise Unprocessable(f"{name[:40]!r} is not one of {', '.join(NAMED_VIEWS)}", field=f"views[{number}]")
    return [name or None for name in names]


def _options(form: FormData) -> dict[str, Any]:
    """Every other field; numbers and booleans arrive as text, which the contract reads."""
    options: dict[str, Any] = {}
    for name, value in form.multi_items():
        if name in {"images", "views"}:
            continue
        if isinstance(value, UploadFile):
            raise Unprocessable("is a file; send pictures in `images`", field=name[:64])
        options[name] = _parse_json(value.encode()) if name in {"labels", "engine_options"} else value
    return options


async def _store(content: bytes, artifacts: ArtifactStore, job_id: str, number: int) -> ArtifactRef:
    ending = next((name for magic, name in _KINDS.items() if content.startswith(magic)), "bin")
    return await asyncio.to_thread(artifacts.put, f"inputs/{job_id}/upload-{number + 1}.{ending}", content)
