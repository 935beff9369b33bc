"""What does the control plane cost? Queue, recovery, round trips, HTTP, event streams and memory, each beside a
baseline that runs on the same Redis in the same minutes.

    python benchmarks/control_plane.py [--quick] [--only floor,ours,taskiq,saq,arq,celery]
                                       [--parts queue,recovery,road,http,streams,memory] [--queues-venv PATH]

The libraries live in virtual environments of their own, made at the first run. FULL=1 waits up to ten minutes for a
library to recover, instead of 30 s.
"""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from machine import describe

sys.path.insert(0, str(Path(__file__).parent / "queues"))

from processes import Processes, empty, many_files
from race import CONTENDERS, Contender, Found, percentiles, prepare, race, recover
from whole import http, queue_full, road, streams


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is measured."""

    rounds: int = 3
    burst: int = 5000
    idle: int = 200
    road_jobs: int = 200
    http_s: float = 4.0
    streams: int = 4000
    streams_s: float = 15.0
    queued: int = 10_000


QUICK = Size(rounds=1, burst=1000, idle=40, road_jobs=40, http_s=1.0, streams=500, streams_s=4.0, queued=2000)
PARTS = ("queue", "recovery", "road", "http", "streams", "memory")


def main() -> None:
    """Print the tables."""
    arguments = _arguments()
    size = QUICK if arguments.quick else Size()
    chosen = [contender for contender in CONTENDERS if contender.group in arguments.only]
    many_files()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the processes end with us
    prepare(chosen, arguments.queues_venv)
    print(describe())
    with tempfile.TemporaryDirectory() as directory, Processes(Path(directory)) as processes:
        url = processes.redis()
        if "queue" in arguments.parts:
            _queue(race(processes, url, chosen, arguments.queues_venv, **_race_size(size)))
        if "recovery" in arguments.parts:
            _recovery(processes, url, chosen, arguments.queues_venv)
        for part, table in _WHOLE.items():
            if part in arguments.parts:
                empty(url)
                table(processes, url, size)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    groups = list(dict.fromkeys(contender.group for contender in CONTENDERS))
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "scratch3d-queues"
    parser.add_argument("--quick", action="store_true", help="a fifth of the work, once; for trying things out")
    parser.add_argument("--only", type=lambda text: text.split(","), default=groups)
    parser.add_argument("--parts", type=lambda text: text.split(","), default=list(PARTS))
    parser.add_argument("--queues-venv", type=Path, default=cache, help="where the libraries' environments are kept")
    return parser.parse_args()


def _race_size(size: Size) -> dict[str, int]:
    return {"rounds": size.rounds, "burst": size.burst, "idle": size.idle}


def _queue(found: dict[str, Found]) -> None:
    floor = found.get("floor B: guarded scripts")
    print(
        f"\n{'no-op jobs':<28}{'submit/s':>10}{'jobs/s':>9}{'× floor B':>11}{'CPU µs':>8}{'idle p50 ms':>13}{'p99':>8}{'× floor B':>11}"
    )
    for name, one in found.items():
        p50, p99 = percentiles(one.idle_ms)
        rate, line = median(one.jobs_per_s), f"{name:<28}{median(one.submit_per_s):>10.0f}"
        ratios = ("", "")
        if floor:
            ratios = (f"{rate / median(floor.jobs_per_s):.2f}", f"{p50 / percentiles(floor.idle_ms)[0]:.1f}")
        print(f"{line}{rate:>9.0f}{ratios[0]:>11}{median(one.cpu_us):>8.0f}{p50:>13.2f}{p99:>8.2f}{ratios[1]:>11}")


def _recovery(processes: Processes, url: str, chosen: Sequence[Contender], venvs: Path) -> None:
    empty(url)
    limit_s = 600.0 if os.environ.get("FULL") else 30.0
    found = recover(processes, url, [c for c in chosen if c.recovers], venvs, limit_s=limit_s)
    print(f"\n{'kill -9, idle survivor':<28}{'second start after s':>22}")
    for name, seconds in found.items():
        print(f"{name:<28}{f'{seconds:.1f}' if seconds is not None else f'not within {limit_s:g}':>22}")


def _road(processes: Processes, url: str, size: Size) -> None:
    found = road(processes, url, jobs=size.road_jobs, engine_s=0.05)
    p50, p99 = percentiles(found.overhead_ms)
    print(f"\n{'the whole road, three engines of 0.05 s':<44}{'figure':>9}{'aim':>9}")
    single, full = found.worker_trips
    print(f"{'round trips to Redis per job, full queue':<44}{found.api_trips + full:>9.2f}{'6':>9}")
    print(f"{'  of the API':<44}{found.api_trips:>9.2f}{'1':>9}")
    print(f"{'  of the worker':<44}{full:>9.2f}{'5':>9}")
    print(f"{'  of the worker, one job at a time':<44}{single:>9.2f}")
    print(f"{'round trips of an idle worker per second':<44}{found.housekeeping_per_s:>9.2f}")
    print(f"{'more than the engines take, p50 ms':<44}{p50:>9.1f}{'50':>9}")
    print(f"{'more than the engines take, p99 ms':<44}{p99:>9.1f}")
    print(f"{'jobs/s, engines of 0 s, four replicas each':<44}{found.jobs_per_s:>9.1f}")


def _http(processes: Processes, url: str, size: Size) -> None:
    print(
        f"\n{'requests':<22}{'clients':>8}{'bare/s':>9}{'ours/s':>9}{'ours ÷ bare':>13}{'CPU µs bare':>13}{'ours':>7}{'p50 ms':>9}{'p99':>8}"
    )
    for rate in http(processes, url, rounds=size.rounds, seconds=size.http_s):
        line = f"{rate.name:<22}{rate.connections:>8}{rate.bare['per_s']:>9.0f}{rate.ours['per_s']:>9.0f}"
        ratio = rate.ours["per_s"] / rate.bare["per_s"]
        line = f"{line}{ratio:>13.2f}{rate.bare['cpu_us']:>13.0f}{rate.ours['cpu_us']:>7.0f}"
        print(f"{line}{rate.ours['p50_ms']:>9.1f}{rate.ours['p99_ms']:>8.1f}")


def _streams(processes: Processes, url: str, size: Size) -> None:
    print(
        f"\n{'event streams, 1 event/s each':<32}{'open':>7}{'written/s':>11}{'received':>10}{'p50 ms':>9}{'p99':>8}{'API cores':>11}"
    )
    several: dict[str, list[dict[str, float]]] = {"all on one job": [], "each on a job of its own": []}
    for _ in range(size.rounds):
        for name, jobs in zip(several, (1, size.streams), strict=True):
            empty(url)
            told = streams(processes, url, clients=size.streams, jobs=jobs, seconds=size.streams_s)
            several[name].append(told)
    for name, rounds in several.items():
        found = {figure: median(told[figure] for told in rounds) for figure in rounds[0]}
        line = f"{name:<32}{found['open']:>7.0f}{found['written_per_s']:>11.0f}{found['received'] / found['expected']:>10.1%}"
        print(f"{line}{found['p50_ms']:>9.1f}{found['p99_ms']:>8.1f}{found['cores']:>11.2f}")


def _memory(processes: Processes, url: str, size: Size) -> None:
    found = queue_full(processes, url, queued=size.queued, seconds=size.http_s)
    print(f"\n{f'{found.queued} jobs waiting':<44}{'figure':>9}")
    print(f"{'bytes of Redis per job':<44}{found.bytes_per_job:>9.0f}")
    print(f"{'  of them in the history of all jobs':<44}{found.history_bytes:>9.0f}")
    for name, told in (("empty", found.empty), ("full", found.full)):
        print(f"{f'status with {name} queue, p50 / p99 ms':<44}{told['p50_ms']:>9.2f}{told['p99_ms']:>9.2f}")


_WHOLE = {"road": _road, "http": _http, "streams": _streams, "memory": _memory}


if __name__ == "__main__":
    main()
