"""The wire types accept what they should and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from scratch3d.contracts.artifacts import ArtifactKey, ArtifactRef
from scratch3d.contracts.jobs import FromImageRequest, GenerateRequest, JobStatus, Prompt, State
from scratch3d.contracts.progress import LINE, ProblemLine, ResultLine
from scratch3d.contracts.views import VIEW_SETS, cameras_of

KEY, PROMPT = TypeAdapter(ArtifactKey), TypeAdapter(Prompt)


@pytest.mark.parametrize("key", ["inputs/a.png", "outputs/0b/1/model.glb", "cache/x/y-z_1.2"])
def test_good_keys(key: str) -> None:
    assert KEY.validate_python(key) == key


@pytest.mark.parametrize(
    "key",
    [
        "",
        "inputs",
        "inputs/",
        "/inputs/a",
        "inputs/../a",
        "inputs/./a",
        "inputs/.a",
        "inputs//a",
        "tmp/a",
        "inputs/a b",
        "inputs/a\\b",
        "inputs/a\0",
        "inputs/ä",
        "inputs/a\n",
        "inputs/" + "a" * 200,
        "inputs" + "/a" * 13,
    ],
)
def test_bad_keys(key: str) -> None:
    with pytest.raises(ValidationError):
        KEY.validate_python(key)


@given(st.text(max_size=2500))
def test_any_text_is_a_clean_prompt_or_refused(text: str) -> None:
    try:
        prompt = PROMPT.validate_python(text)
    except ValidationError:
        return
    assert 1 <= len(prompt) <= 2000 and prompt == prompt.strip()
    assert prompt.encode()


def test_prompts_are_composed_and_control_characters_refused() -> None:
    assert PROMPT.validate_python(" cafe\u0301\ncube ") == "café\ncube"
    for bad in ("", "  ", "a\tb", "a\x00", "a\x1b[31m", "x" * 2001):
        with pytest.raises(ValidationError):
            PROMPT.validate_python(bad)


def test_requests_refuse_unknown_fields_and_answers_tolerate_them() -> None:
    with pytest.raises(ValidationError):
        GenerateRequest.model_validate({"prompt": "a cube", "colour": "red"})
    assert JobStatus.model_validate(
        {"job_id": "j", "kind": "generate", "state": "queued", "message": "", "progress": 0, "created_at": 1, "new": 1}
    )


def test_pictures_come_from_exactly_one_list() -> None:
    for body in ({}, {"image_paths": []}, {"image_paths": ["a.png"], "image_urls": ["http://x/a.png"]}):
        with pytest.raises(ValidationError):
            FromImageRequest.model_validate(body)


def test_view_sets_are_within_the_sphere_and_named_once() -> None:
    for name, views in VIEW_SETS.items():
        assert len({v[0] for v in views}) == len(views) == len(cameras_of(name))
    assert len(VIEW_SETS["carve-8"]) == 8 and len(VIEW_SETS["carve-4"]) == 4


def test_states_are_the_contract() -> None:
    assert [s.value for s in State] == [
        "queued",
        "generating_images",
        "reconstructing_3d",
        "post_processing",
        "completed",
        "failed",
    ]


def test_lines_are_told_apart_by_their_type() -> None:
    assert isinstance(LINE.validate_json('{"type":"result","result":{}}'), ResultLine)
    problem = '{"type":"problem","problem":{"title":"t","status":500,"code":"c","detail":"d"}}'
    assert isinstance(LINE.validate_json(problem), ProblemLine)
    with pytest.raises(ValidationError):
        LINE.validate_json('{"type":"other"}')


def test_references_print_the_seeds_spelling() -> None:
    ref = ArtifactRef(key="outputs/j/1/model.glb", media_type="model/gltf-binary", size_bytes=1, sha256="0" * 64)
    assert (ref.public_path, ref.name) == ("/outputs/j/1/model.glb", "model.glb")
