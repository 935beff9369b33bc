"""Write the generated parts of docs/: the table of every setting, and the vocabulary."""

from pathlib import Path

from pydantic import SecretStr
from pydantic_settings import BaseSettings

from image_service.engines.procedural.styles import STYLES
from image_service.engines.procedural.things import KINDS
from image_service.engines.procedural.vocabulary import MATERIAL_WORDS, MATERIALS, listed, parts_of
from image_service.settings import Settings as ImageSettings
from orchestrator.settings import Settings as OrchestratorSettings
from postprocess_service.settings import Settings as PostprocessSettings
from reconstruction_service.settings import Settings as ReconstructionSettings

DOCS = Path(__file__).parents[1] / "docs"
SETTINGS: dict[str, type[BaseSettings]] = {
    "API and worker": OrchestratorSettings,
    "image-service": ImageSettings,
    "reconstruction-service": ReconstructionSettings,
    "postprocess-service": PostprocessSettings,
}


def configuration() -> str:
    """docs/configuration.md."""
    lines = [
        "# Configuration",
        "",
        "Every process reads its settings from environment variables; nothing else is read. Lists are JSON, as in",
        '`RECONSTRUCTION_URLS=["http://gpu-4:8000","http://gpu-5:8000"]`. This page is written from the code by',
        "`make docs`, and a test compares the two. What the container stack adds (ports, user id) is in",
        "[containers.md](containers.md).",
    ]
    for name, settings in SETTINGS.items():
        lines += ["", f"## {name}", "", "| variable | default | meaning |", "|---|---|---|"]
        for field, described in settings.model_fields.items():
            lines.append(f"| `{field.upper()}` | {_shown(described.default)} | {described.description} |")
    lines += [
        "",
        "## Command line and client",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
        "| `SCRATCH3D_URL` | `http://127.0.0.1:8000` | where `scratch3d` finds the API |",
        "| `SCRATCH3D_API_KEY` | unset | the key `scratch3d` sends |",
        "| `DATA_DIR` | `volumes` | where `scratch3d up` and `demo` keep files, and `scratch3d models` the weights (`models/`) |",
        "| `SCRATCH3D_CATALOGUE` | unset | a file with models of your own for `scratch3d models` |",
        "| `HF_ENDPOINT` | `https://huggingface.co` | where `scratch3d models fetch` gets weights |",
        "| `HF_TOKEN` | unset | sent to `HF_ENDPOINT` alone |",
        "| `REDIS_URL` | unset | set: `scratch3d up` uses this Redis instead of starting its own |",
        "| `NUMBA_CACHE_DIR` | `DATA_DIR/cache/numba` under `scratch3d up` | where compiled kernels are kept |",
        "",
    ]
    return "\n".join(lines)


def vocabulary() -> str:
    """docs/vocabulary.md."""
    words = listed()
    lines = ["# What the procedural engine understands", "", "Written from the code by `make docs`; the pictures by"]
    lines += ["`scripts/write_gallery.py`. [Thirty prompts](gallery/README.md) as a stranger would type them.", ""]
    lines += ['    prompt    = statement (("and" | ",") statement)*', "    statement = group (relation group)*"]
    lines += ['    group     = phrase (("and" | ",") phrase)*']
    lines += ["    phrase    = [count] (size | colour | material | style)* thing"]
    lines += ['                [("with" | "without") part …] [colour | material]', ""]
    lines += [
        "In “a cup and a plate on a table” both are on the table; in “a cat on a table and a dog under a chair” each"
    ]
    lines += [
        "stands where its own words put it. “With” names a part of the thing (“a blue mug with a white handle”), or"
    ]
    lines += [
        "what it carries (“a table with a lamp”). A second colour goes to the thing's second part (“a red and white"
    ]
    lines += [
        "rocket”). Up to 12 of a kind, 24 in all. Words that are not known are told in the job's warnings; a prompt"
    ]
    lines += ["without one known thing is refused.", ""]
    for kind, things in KINDS.items():
        lines += [f"## {kind.capitalize()}", "", f"![{kind}](gallery/{kind}.jpg)", ""]
        lines += ["| thing | also called | parts that can be named |", "|---|---|---|"]
        lines += [f"| {n} | {', '.join(t.words) or '–'} | {', '.join(parts_of(n))} |" for n, t in things.items()]
        lines.append("")
    lines += ["## Other words", ""]
    for kind in ("sizes", "numbers", "relations"):
        lines.append(f"**{kind.capitalize()}**: {', '.join(words[kind])}.\n")
    lines.append("**Colours**: every CSS colour name, also in several words (“dark olive green”).\n")
    lines += ["| style | what it does | words |", "|---|---|---|"]
    lines += [f"| {name} | {style.summary} | {', '.join(style.words)} |" for name, style in STYLES.items()]
    lines += ["", "| material | words | metallic | roughness | colour when none is named |", "|---|---|---|---|---|"]
    for name, finish in MATERIALS.items():
        said = ", ".join(word for word, meant in MATERIAL_WORDS.items() if meant == name)
        lines.append(f"| {name} | {said} | {finish.metallic:g} | {finish.roughness:g} | `{finish.colour}` |")
    return "\n".join(lines) + "\n"


def documents() -> dict[str, str]:
    """File name → content."""
    return {"configuration.md": configuration(), "vocabulary.md": vocabulary()}


def _shown(default: object) -> str:
    if isinstance(default, SecretStr) or default in (None, ""):
        return "unset"
    if isinstance(default, tuple):
        return "`[" + ",".join(f'"{item}"' for item in default) + "]`"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def main() -> None:
    """Write them."""
    for name, content in documents().items():
        (DOCS / name).write_text(content)


if __name__ == "__main__":
    main()
