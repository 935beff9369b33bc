"""Draw docs/gallery: thirty prompts as the engine draws them and as they come out, and every thing of the vocabulary."""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from image_service.engines.procedural.grammar import parse
from image_service.engines.procedural.scene import build
from image_service.engines.procedural.things import KINDS
from scratch3d.client import Client
from scratch3d.contracts.jobs import State
from scratch3d.contracts.views import Camera
from scratch3d.geometry.render import render, surface_of

FOLDER = Path(__file__).parents[1] / "docs" / "gallery"
#: What a stranger would type.
PROMPTS = (
    "a red cube on a wooden table",
    "a blue mug with a white handle",
    "three red apples in a wooden bowl",
    "a snowman wearing a blue hat next to a christmas tree",
    "a red sports car in front of a brick house",
    "a cat under a table",
    "a dog and a cat on a sofa",
    "a golden sword",
    "a robot with a green body",
    "a castle with blue roofs",
    "a red and white rocket",
    "a penguin behind a rock",
    "a flower in a white vase on a round table",
    "five mushrooms around a tree",
    "a stack of four books",
    "a pirate treasure chest under a palm tree",
    "a low poly pine tree",
    "a voxel castle",
    "a cute yellow duck in a bucket",
    "a birthday cake on a plate",
    "a strawberry donut and a cup of coffee",
    "a lighthouse behind a small boat",
    "a teddy bear sitting on a chair",
    "a steam train",
    "a tall cactus beside two stones",
    "a hammer, an axe and a key",
    "a golden crown on a red box",
    "a hot air balloon",
    "a pink pig in front of a fence",
    "a green turtle with an orange shell",
)
GROUND = (238, 238, 236)
CAMERA = Camera(azimuth_deg=28, elevation_deg=16, half_width_m=0.68)


def drawn(prompt: str, edge_px: int) -> Image.Image:
    """The true scene of a prompt."""
    lit, _ = render(surface_of(build(parse(prompt)).mesh), CAMERA, edge_px, samples=3)
    return on_ground(Image.fromarray(lit))


def on_ground(picture: Image.Image) -> Image.Image:
    """Before a plain ground."""
    ground = Image.new("RGB", picture.size, GROUND)
    ground.paste(picture, (0, 0), picture if picture.mode == "RGBA" else None)
    return ground


def made(prompts: Sequence[str], edge_px: int, url: str) -> list[Image.Image]:
    """Previews of the finished models, through a running mesh."""
    pictures = []
    with Client(url) as client, tempfile.TemporaryDirectory() as directory:
        jobs = [client.generate(prompt, quality_tier="auto", seed=1).job_id for prompt in prompts]
        for job_id in jobs:
            done = client.wait(job_id)
            assert done.state is State.COMPLETED, done.problem
            path = client.download(job_id, Path(directory) / "preview.png", artifact="preview.png")
            preview = Image.open(path).convert("RGBA").resize((edge_px, edge_px), Image.Resampling.LANCZOS)
            pictures.append(on_ground(preview))
    return pictures


def sheet(pictures: Sequence[Image.Image], captions: Sequence[str], columns: int) -> Image.Image:
    """Pictures in rows, each with its caption below."""
    edge = pictures[0].width
    font = ImageFont.load_default(max(10, edge // 16))
    line = edge // 8
    rows = -(-len(pictures) // columns)
    whole = Image.new("RGB", (columns * edge, rows * (edge + line)), "white")
    draw = ImageDraw.Draw(whole)
    for number, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        x, y = number % columns * edge, number // columns * (edge + line)
        whole.paste(picture, (x, y))
        words = caption
        while draw.textlength(words, font) > edge - 6:
            words = words[:-2].rstrip() + "…"
        draw.text((x + 4, y + edge + line // 8), words, fill=(40, 40, 44), font=font)
    return whole


def kept(picture: Image.Image, name: str) -> None:
    """Written small, without colour subsampling: edges are most of what there is to see."""
    picture.save(FOLDER / name, quality=88, subsampling=0, optimize=True)


def main() -> None:
    """Write the sheets; the finished models only when a mesh is running."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="a running mesh, for the sheet of finished models")
    arguments = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    for kind, things in KINDS.items():
        kept(sheet([drawn(f"a {name}", 128) for name in things], list(things), 7), f"{kind}.jpg")
    kept(sheet([drawn(prompt, 224) for prompt in PROMPTS], PROMPTS, 6), "thirty-prompts.jpg")
    if arguments.url:
        kept(sheet(made(PROMPTS, 224, arguments.url), PROMPTS, 6), "thirty-models.jpg")


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
