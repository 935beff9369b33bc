"""How fast is TripoSR here, from picture to mesh, and what does the speed cost?

The baseline is this build's own fp32 path with the whole lattice sampled and decoded point by point, which is the
original's algorithm. Surfaces are those of the scene in the tests' golden files, whose field is that of a trained
network; the network runs at full size with random weights. Ratios are medians of interleaved pairs.

    python benchmarks/triposr.py [--device cpu|cuda] [--threads 2] [--repeats 3] [--parts extraction,picture,memory,error]
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from machine import describe
from scipy.spatial import cKDTree
from torch import Tensor

from tsr.config import DecoderConfig, RendererConfig
from tsr.field import silent
from tsr.isosurface import Surface, surface_of
from tsr.models.nerf_renderer import TriplaneNeRFRenderer
from tsr.models.network_utils import NeRFMLP
from tsr.system import TSR

GOLDEN = Path(__file__).parents[1] / "reconstruction-service" / "tsr" / "tests" / "golden"
THRESHOLD = 25.0
#: Multiply-adds of one picture at the released size, ×2: encoder and backbone (512 px, 3,072 tokens).
FLOPS = {"encoder": 0.21e12, "backbone": 2.73e12}

sys.path.insert(0, str(GOLDEN))
import inputs  # noqa: E402


class Scene:
    """The fitted scene on a device."""

    def __init__(self, device: torch.device) -> None:
        self.renderer, self.decoder = TriplaneNeRFRenderer(RendererConfig()), NeRFMLP(DecoderConfig())
        with np.load(GOLDEN / "fitted_scene.npz") as arrays:
            state = {k.removeprefix("decoder."): torch.from_numpy(arrays[k]) for k in arrays if k != "triplane"}
            self.code = torch.from_numpy(arrays["triplane"].astype(np.float32)).to(device)
        self.decoder.load_state_dict(state)
        self.decoder.to(device).requires_grad_(False)

    def surface(self, resolution: int, method: str, code: Tensor | None = None) -> Surface:
        """Its surface, or that of other planes through the same decoder."""
        planes = self.code if code is None else code
        return surface_of(self.renderer, self.decoder, planes, resolution, THRESHOLD, method=method, report=silent)


def full_network(device: torch.device, precision: str = "fp32") -> TSR:
    """The released dimensions with the tests' weights."""
    with torch.device("meta"):
        network = TSR()
    shapes = {name: value.shape for name, value in network.state_dict().items()}
    network.load_state_dict(inputs.fill_state_dict(shapes), assign=True)
    network.set_precision(precision)
    return network.to(device)


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Wall time of one run, the device's queue included."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def interleaved(works: dict[str, Callable[[], object]], repeats: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of each piece of work, run in turns after one warm run."""
    for work in works.values():
        seconds(work, device)
    return _turns(works, repeats, device)


def _turns(works: dict[str, Callable[[], object]], repeats: int, device: torch.device) -> dict[str, list[float]]:
    turns = [{name: seconds(work, device) for name, work in works.items()} for _ in range(repeats)]
    return {name: [turn[name] for turn in turns] for name in works}


def ratio(took: dict[str, list[float]], base: str, other: str) -> float:
    """How many times as fast `other` is as `base`: the median over the turns."""
    return statistics.median(a / b for a, b in zip(took[base], took[other], strict=True))


def extraction(scene: Scene, device: torch.device, repeats: int) -> None:
    """Planes to a coloured mesh."""
    print("\n| surface at | points decoded | baseline s | tables, dense s | sparse s | sparse is | vertices as dense |")
    print("|---|---|---|---|---|---|---|")
    for resolution in (128, 256, 384):
        methods = {"reference": "reference", "dense": "dense", "sparse": "sparse"}
        works = {name: (lambda m=m, r=resolution: scene.surface(r, m)) for name, m in methods.items()}
        scene.surface(64, "sparse")  # warm, without minutes of a dense lattice
        took = _turns(works, repeats if resolution < 384 else max(1, repeats - 1), device)
        sparse, dense = scene.surface(resolution, "sparse"), scene.surface(resolution, "dense")
        same = torch.equal(sparse.vertices, dense.vertices) and torch.equal(sparse.faces, dense.faces)
        middle = {name: statistics.median(values) for name, values in took.items()}
        print(
            f"| {resolution} | {100 * sparse.decoded / sparse.lattice:.1f} % | {middle['reference']:.2f} "
            f"| {middle['dense']:.2f} | {middle['sparse']:.2f} | {ratio(took, 'reference', 'sparse'):.1f} × "
            f"| {'equal' if same else 'NOT equal'} |",
            flush=True,
        )


def picture_to_mesh(scene: Scene, device: torch.device, repeats: int, compiled: bool) -> None:
    """A picture to planes by the whole network, and the fitted planes to a mesh at 256."""
    picture = inputs.image_u8()
    networks = {"fp32": full_network(device), "bf16": full_network(device, "bf16")}
    if compiled:
        networks["bf16, compiled"] = full_network(device, "bf16")
        networks["bf16, compiled"].backbone = torch.compile(networks["bf16, compiled"].backbone)
    works: dict[str, Callable[[], object]] = {
        "baseline (fp32, dense)": lambda: (networks["fp32"](picture), scene.surface(256, "reference")),
        **{n: (lambda net=net: (net(picture), scene.surface(256, "sparse"))) for n, net in networks.items()},
    }
    took = interleaved(works, repeats, device)
    planes = {name: statistics.median(v) for name, v in _turns(_planes_of(networks, picture), repeats, device).items()}
    print("\n| picture → mesh at 256 | planes s | whole s | is |\n|---|---|---|---|")
    base = next(iter(works))
    for name, values in took.items():
        of_planes = planes.get(name, planes["fp32"])
        print(f"| {name} | {of_planes:.3f} | {statistics.median(values):.3f} | {ratio(took, base, name):.2f} × |")
    if device.type == "cuda":
        floors(networks, planes, device)


def _planes_of(networks: dict[str, TSR], picture: np.ndarray) -> dict[str, Callable[[], object]]:
    return {name: (lambda net=net: net(picture)) for name, net in networks.items()}


def floors(networks: dict[str, TSR], planes: dict[str, float], device: torch.device) -> None:
    """The planes against what the card could do: all FLOPs at its measured matmul rate, all weights read once."""
    print("\n| planes | s | matmul floor s | weights read floor s | peak VRAM GiB |\n|---|---|---|---|---|")
    for name, network in networks.items():
        dtype = torch.bfloat16 if name.startswith("bf16") else torch.float32
        rate, bandwidth = _matmul_rate(device, dtype), _bandwidth(device)
        size = sum(p.numel() * p.element_size() for p in network.parameters())
        torch.cuda.reset_peak_memory_stats(device)
        network(inputs.image_u8())
        peak = torch.cuda.max_memory_allocated(device) / 2**30
        print(
            f"| {name} | {planes[name]:.4f} | {sum(FLOPS.values()) / rate:.4f} | {size / bandwidth:.4f} | {peak:.2f} |"
        )


def _matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    one, other = (torch.randn(8192, 8192, device=device, dtype=dtype) for _ in range(2))
    took = min(seconds(lambda: one @ other, device) for _ in range(5))
    return 2 * 8192**3 / took


def _bandwidth(device: torch.device) -> float:
    big = torch.empty(1 << 28, device=device, dtype=torch.float32)
    took = min(seconds(big.clone, device) for _ in range(5))
    return 2 * big.numel() * 4 / took


def memory() -> None:
    """Peak memory over what is loaded, in a process of its own for each."""
    print("\n| surface at | peak memory over the loaded weights |\n|---|---|")
    for resolution in (256, 384, 512):
        command = [sys.executable, __file__, "--measure-memory", str(resolution)]
        peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        print(f"| {resolution} | {peak} MB |", flush=True)


def measure_memory(resolution: int) -> None:
    """Prints megabytes."""
    scene = Scene(torch.device("cpu"))
    scene.surface(32, "sparse")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = _peak_kb()
    scene.surface(resolution, "sparse")
    print((_peak_kb() - before) // 1024)


def _peak_kb() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def error(scene: Scene, device: torch.device) -> None:
    """What bf16 does to a mesh: the planes' error at full size, carried over to the fitted planes."""
    picture = inputs.image_u8()
    exact = full_network(device)(picture)[0]
    rounded = full_network(device, "bf16")(picture)[0]
    off = (rounded - exact) * (scene.code.std() / exact.std())
    share = float((rounded - exact).std() / exact.std())
    one, other = scene.surface(256, "sparse"), scene.surface(256, "sparse", scene.code + off)
    chamfer, degrees, parts = deviation(one, other)
    print(
        f"\nbf16 against fp32: the planes differ by {100 * share:.2f} % (rms over standard deviation). The same error on"
    )
    print(f"the fitted planes, at 256: chamfer distance {chamfer:.5f} of the box's edge ({chamfer * 255:.2f} cells),")
    print(f"normals {degrees[0]:.2f}° (median), {degrees[1]:.1f}° (95 %), {parts[0]} → {parts[1]} faces.")


def deviation(one: Surface, other: Surface) -> tuple[float, tuple[float, float], tuple[int, int]]:
    """Mean distance both ways over the box's edge, angle between nearest facets' normals, and the numbers of faces."""
    centres, normals = zip(*(_facets(surface) for surface in (one, other)), strict=True)
    there, nearest = cKDTree(centres[1]).query(centres[0])
    back, _ = cKDTree(centres[0]).query(centres[1])
    cosine = np.clip((normals[0] * normals[1][nearest]).sum(axis=1), -1, 1)
    angles = np.degrees(np.arccos(cosine))
    chamfer = float(there.mean() + back.mean()) / 2 / 1.74
    percentiles = (float(np.median(angles)), float(np.percentile(angles, 95)))
    return chamfer, percentiles, (len(one.faces), len(other.faces))


def _facets(surface: Surface) -> tuple[np.ndarray, np.ndarray]:
    corners = surface.vertices.cpu().double().numpy()[surface.faces.cpu().numpy()]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return corners.mean(axis=1), normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--parts", default="extraction,picture,memory,error")
    parser.add_argument("--compile", action="store_true", help="also a compiled backbone (needs a C++ compiler)")
    parser.add_argument("--measure-memory", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.set_grad_enabled(False)
    if asked.measure_memory:
        measure_memory(asked.measure_memory)
        return
    device = torch.device(asked.device)
    card = f"; {torch.cuda.get_device_name(device)}" if device.type == "cuda" else ""
    print(f"{describe()}; torch {torch.__version__}, {asked.threads} threads{card}")
    scene, parts = Scene(device), asked.parts.split(",")
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        if "extraction" in parts:
            extraction(scene, device, asked.repeats)
        if "picture" in parts:
            picture_to_mesh(scene, device, asked.repeats, asked.compile)
        if "memory" in parts:
            memory()
        if "error" in parts:
            error(scene, device)


if __name__ == "__main__":
    main()
