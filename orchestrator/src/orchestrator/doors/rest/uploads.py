"""`POST /3d/from-image` in its two forms: JSON, and a form with files."""

import asyncio
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A request, and the files stored for it under its job id."""

    request: FromImageRequest
    job_id: str
    artifacts: ArtifactStore
    #: sha256 of each uploaded picture
    digests: tuple[str, ...] = ()

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
            body, digests = _parse_json(await request.body()), ()
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
) -> tuple[dict[str, Any], tuple[str, ...]]:
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


async def _store_files(form: FormData, artifacts: ArtifactStore, job_id: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    files = [item for item in form.getlist("images") if isinstance(item, UploadFile)]
    if not files:
        raise Unprocessable("send at least one picture", field="images")
    views = _views(form.getlist("views"), len(files))
    body: dict[str, Any] = _options(form)
    stored = [await _store(file, artifacts, job_id, number) for number, file in enumerate(files)]
    body["image_paths"] = [
        {"path": ref.key, **({"view": view} if view else {})} for ref, view in zip(stored, views, strict=True)
    ]
    return body, tuple(ref.sha256 for ref in stored)


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
        options[name] = _parse_json(value.encode()) if name == "labels" else value
    return options


async def _store(file: UploadFile, artifacts: ArtifactStore, job_id: str, number: int) -> ArtifactRef:
    content = await file.read()
    ending = next((name for magic, name in _KINDS.items() if content.startswith(magic)), "bin")
    return await asyncio.to_thread(artifacts.put, f"inputs/{job_id}/upload-{number + 1}.{ending}", content)
