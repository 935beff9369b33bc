"""Raw (log) density at the points of a lattice over the box, in chunks, with progress."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn.functional as F
from torch import Tensor

from .models.nerf_renderer import PLANE_AXES, TriplaneNeRFRenderer, to_unit
from .models.network_utils import NeRFMLP

#: Told the share done and the phase; what it raises ends the work.
Report = Callable[[float, str], None]

#: Points between two reports.
_REPORT_EVERY = 1 << 18
#: Points that are named at once when all are decoded.
_BLOCK = 1 << 22
#: Points that the original decodes at once.
_ORIGINAL_CHUNK = 8192


def silent(_: float, __: str) -> None:
    """A report that nobody reads."""


def chunk_of(device: torch.device) -> int:
    """Points to decode at once: as many as stay in the cache of one core, or fill a GPU."""
    return {"cpu": 2048, "mps": 1 << 16}.get(device.type, 1 << 18)


def _spread(work: Callable[[int], int], starts: range, device: torch.device) -> Iterator[int]:
    """The work at each start, in order; on a CPU a chunk per thread.

    Layers of this size end within a fraction of a millisecond: threads that meet after each of them mostly wait, and
    on a machine with other work they wait for a time slice. Each chunk is one thread's, whatever their number, so that
    no value depends on it.
    """
    threads, inference = torch.get_num_threads(), torch.is_inference_mode_enabled()

    def alone(start: int) -> int:
        # Both modes are the thread's own.
        with torch.inference_mode(inference), torch.no_grad():
            return work(start)

    if device.type != "cpu" or threads == 1:
        yield from map(alone, starts)
        return
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield from pool.map(alone, starts)
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # the last number set is what new threads begin with


class LatticeField(ABC):
    """A field at the points of a lattice of `resolution` points along each edge of [-radius, radius]³.

    A point is the linear index of its place, x slowest.
    """

    def __init__(self, resolution: int, radius: float, device: torch.device, report: Report = silent) -> None:
        self.resolution, self.device, self.report = resolution, device, report
        line = torch.linspace(0, 1, resolution, device=device)
        #: (R,) coordinates of the lattice along each axis
        self.positions = line * (2 * radius) - radius
        #: points decoded, and points that will have been, as far as is known
        self.done, self.expected = 0, resolution**3
        self.chunk = chunk_of(device)
        self._reported = 0

    @abstractmethod
    def decode(self, points: Tensor) -> Tensor:
        """Raw density (n,) at (n,) int32 points; n is always the same."""

    def at(self, points: Tensor) -> Tensor:
        """Raw density (n,) at (n,) points."""
        found = torch.empty(len(points), device=self.device)
        size = self.chunk

        def work(start: int) -> int:
            chunk = points[start : start + size].to(torch.int32)  # divides in half the time
            # Every chunk has the same size: so a point's value does not depend on which others are asked for.
            found[start : start + size] = self.decode(F.pad(chunk, (0, size - len(chunk))))[: len(chunk)]
            return len(chunk)

        for count in self.shared_out(work, range(0, len(points), size)):
            self._tell(count)
        return found

    def shared_out(self, work: Callable[[int], int], starts: range) -> Iterator[int]:
        """The work at each start, in order."""
        return _spread(work, starts, self.device)

    def whole(self) -> Tensor:
        """Raw density (R, R, R)."""
        count, total = self.resolution, self.resolution**3
        found = torch.empty(total, device=self.device)
        for start in range(0, total, _BLOCK):
            found[start : start + _BLOCK] = self.at(torch.arange(start, min(start + _BLOCK, total), device=self.device))
        return found.view(count, count, count)

    def places(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x, y and z of points, and x · R + y."""
        xy = torch.div(points, self.resolution, rounding_mode="floor")
        x = torch.div(xy, self.resolution, rounding_mode="floor")
        return x, xy - x * self.resolution, points - xy * self.resolution, xy

    def _tell(self, count: int) -> None:
        self.done += count
        if self.done - self._reported >= _REPORT_EVERY:
            self._reported = self.done
            self.report(0.9 * min(1.0, self.done / self.expected), "decoding")


class SampledField(LatticeField):
    """Each point sampled from the planes and decoded by itself, as the original does it."""

    def __init__(
        self, renderer: TriplaneNeRFRenderer, decoder: NeRFMLP, scene_code: Tensor, resolution: int, report: Report
    ) -> None:
        super().__init__(resolution, renderer.cfg.radius, scene_code.device, report)
        self.renderer, self.decoder, self.scene_code = renderer, decoder, scene_code
        self.chunk = max(self.chunk, _ORIGINAL_CHUNK)

    def shared_out(self, work: Callable[[int], int], starts: range) -> Iterator[int]:
        """One chunk after the other, each on all threads."""
        return map(work, starts)

    def decode(self, points: Tensor) -> Tensor:
        """Raw density (n,)."""
        positions = torch.stack([self.positions[axis] for axis in self.places(points)[:3]], dim=-1)
        return self.renderer.query_triplane(self.decoder, positions, self.scene_code)["density"][:, 0]


class TriplaneField(LatticeField):
    """The same by tables.

    The decoder's first layer is a sum over the planes, and on a lattice each plane is only ever asked at R² places:
    three tables of R² hidden vectors take the place of sampling and first layer.
    """

    def __init__(
        self, renderer: TriplaneNeRFRenderer, decoder: NeRFMLP, scene_code: Tensor, resolution: int, report: Report
    ) -> None:
        super().__init__(resolution, renderer.cfg.radius, scene_code.device, report)
        first, *_, last = linear = [layer for layer in decoder.layers if isinstance(layer, torch.nn.Linear)]
        self._hidden = linear[1:-1]
        self._last_weight, self._last_bias = last.weight[:1], None if last.bias is None else last.bias[:1]
        self._table = self._tables(first, scene_code, to_unit(self.positions, renderer.cfg.radius))

    def decode(self, points: Tensor) -> Tensor:
        """Raw density (n,)."""
        count = self.resolution
        x, y, z, xy = self.places(points)
        rows = torch.stack([xy, x * count + z + count**2, y * count + z + 2 * count**2], dim=1)
        hidden = F.silu(F.embedding_bag(rows, self._table, mode="sum"), inplace=True)
        for layer in self._hidden:
            hidden = F.silu(layer(hidden), inplace=True)
        return F.linear(hidden, self._last_weight, self._last_bias)[:, 0]

    @staticmethod
    def _tables(first: torch.nn.Linear, scene_code: Tensor, unit: Tensor) -> Tensor:
        """(3·R², hidden): what each plane adds to the first hidden layer, row-major in the plane's two axes."""
        channels = scene_code.shape[1]
        columns, rows = torch.meshgrid(unit, unit, indexing="ij")
        places = torch.stack([columns, rows], dim=-1)[None]
        tables = []
        for number in range(len(PLANE_AXES)):
            weight = first.weight[:, number * channels : (number + 1) * channels]
            hidden = torch.einsum("oc,chw->ohw", weight, scene_code[number])[None]
            table = F.grid_sample(hidden, places, mode="bilinear", padding_mode="zeros", align_corners=False)
            tables.append(table[0].permute(1, 2, 0).reshape(len(unit) ** 2, -1))
        if first.bias is not None:
            tables[0] = tables[0] + first.bias
        return torch.cat(tables)
