"""The same job through every contender: throughput and idle latency, and recovery from a killed worker."""

import hashlib
import os
import subprocess
import sys
import time
import venv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from journal import STARTED, Journal, Record
from processes import HERE, Processes, empty, python, told, wait_for

#: Seconds that the job takes whose worker is killed.
SLOW_S = 6.0


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One system in one configuration."""

    name: str
    group: str
    script: str
    #: What follows the interpreter to start a worker; empty: the script itself works.
    worker: tuple[str, ...] = ()
    variant: str = ""
    #: A section of requirements-queues.txt; empty: this interpreter.
    section: str = ""
    #: Takes part in the recovery race.
    recovers: bool = False

    def interpreter(self, venvs: Path) -> str:
        """The Python that has what it needs."""
        return str(venvs / self.section / "bin" / "python") if self.section else sys.executable

    def work(self, venvs: Path) -> list[str]:
        """The command line of a worker."""
        if self.worker:
            return [self.interpreter(venvs), "-m", *self.worker]
        return python(self.script, "work")


def _library(name: str, *worker: str, label: str = "", variant: str = "", recovers: bool = True) -> Contender:
    return Contender(
        name=label or name,
        group=name,
        script=f"{name}_jobs",
        worker=worker,
        variant=variant,
        section=name,
        recovers=recovers,
    )


def _own(group: str, variant: str, name: str, *, recovers: bool = False) -> Contender:
    return Contender(name=name, group=group, script=group, variant=variant, recovers=recovers)


CONTENDERS = (
    _own("floor", "A", "floor A: plain commands"),
    _own("floor", "B", "floor B: guarded scripts"),
    _own("ours", "store", "ours: store, one consumer"),
    _own("ours", "stage", "ours: worker, one stage"),
    _own("ours", "road", "ours: worker, three stages", recovers=True),
    _library("taskiq", "taskiq", "worker", "taskiq_jobs:broker", "--workers", "1", label="taskiq (streams)"),
    _library("saq", "saq", "saq_jobs.settings"),
    _library("arq", "arq", "arq_jobs.WorkerSettings"),
    _library("arq", "arq", "arq_jobs.WorkerSettings", label="arq tuned", variant="tuned", recovers=False),
    _library(
        "celery",
        *("celery", "-A", "celery_jobs", "worker", "-P", "threads", "-c", "8", "--loglevel", "WARNING"),
        label="celery (8 threads)",
    ),
)


@dataclass
class Found:
    """What the rounds of one contender gave."""

    submit_per_s: list[float] = field(default_factory=list)
    jobs_per_s: list[float] = field(default_factory=list)
    #: processor time of producer, worker and Redis per job
    cpu_us: list[float] = field(default_factory=list)
    idle_ms: list[float] = field(default_factory=list)


def prepare(contenders: Sequence[Contender], venvs: Path) -> None:
    """Make the virtual environments that are missing or out of date."""
    text = (HERE.parent / "requirements-queues.txt").read_text()
    for name in sorted({contender.section for contender in contenders} - {""}):
        wishes = text.split(f"\n# {name}\n")[1].split("\n\n")[0]
        stamp = venvs / name / hashlib.sha256(wishes.encode()).hexdigest()[:16]
        if stamp.exists():
            continue
        venv.create(venvs / name, clear=True, with_pip=True)
        pip = [str(venvs / name / "bin" / "python"), "-m", "pip", "install", "--quiet", *wishes.split()]
        print(f"making {venvs / name}", file=sys.stderr)
        subprocess.run(pip, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stamp.touch()


def race(
    processes: Processes, url: str, contenders: Sequence[Contender], venvs: Path, *, rounds: int, burst: int, idle: int
) -> dict[str, Found]:
    """Every contender once per round, on an empty Redis each time."""
    found = {contender.name: Found() for contender in contenders}
    for _ in range(rounds):
        for contender in contenders:
            empty(url)
            told_now = _run(processes, f"{url}/0", contender, venvs, burst, -(-idle // rounds))
            found[contender.name].submit_per_s.append(told_now["submit_per_s"])
            found[contender.name].jobs_per_s.append(told_now["jobs_per_s"])
            found[contender.name].cpu_us.append(told_now["cpu_us"])
            found[contender.name].idle_ms.extend(told_now["idle_ms"])
    return found


def _run(processes: Processes, url: str, contender: Contender, venvs: Path, burst: int, idle: int) -> dict[str, Any]:
    environment = _environment(processes, url, contender)
    worker = processes.start(contender.group, contender.work(venvs), environment)
    try:
        produce = python(contender.script, "produce", burst, idle, interpreter=contender.interpreter(venvs))
        groups = f"{worker.pid},{processes.pid('redis')}"
        return dict(told(produce, {**environment, "QUEUE_GROUPS": groups}))
    finally:
        processes.kill(worker)


def recover(
    processes: Processes, url: str, contenders: Sequence[Contender], venvs: Path, *, limit_s: float
) -> dict[str, float | None]:
    """Seconds from kill -9 of the worker that has the job to its second start, an idle worker present; None: not in
    time. All at once, each in a database of its own: nearly all of it is waiting.
    """
    found: dict[str, float | None] = dict.fromkeys(contender.name for contender in contenders)
    with Processes(processes.directory) as own:
        pending = {c.name: _bereaved(own, f"{url}/{number}", c, venvs) for number, c in enumerate(contenders, start=1)}
        limit = time.monotonic() + limit_s
        while pending and time.monotonic() < limit:
            for name, (journal, killed_ns) in list(pending.items()):
                if again := _start(journal):
                    found[name] = (again.at_ns - killed_ns) / 1e9
                    del pending[name]
            time.sleep(0.05)
    return found


def _bereaved(own: Processes, url: str, contender: Contender, venvs: Path) -> tuple[Journal, int]:
    """The journal of a job whose worker was killed in its midst, and when; another worker is left."""
    environment = _environment(own, url, contender)
    workers = [own.start(contender.group, contender.work(venvs), environment) for _ in range(2)]
    journal = Journal(Path(environment["QUEUE_JOURNAL"]))
    told(python(contender.script, "one", SLOW_S, interpreter=contender.interpreter(venvs)), environment)
    started = wait_for(lambda: _start(journal), f"{contender.name}: the start of its job")
    holder = next(worker for worker in workers if os.getpgid(started.pid) == worker.pid)
    time.sleep(1.0)  # so that the survivor has settled, too
    own.kill(holder)
    return journal, time.monotonic_ns()


def _start(journal: Journal) -> Record | None:
    return next((record for record in journal.news() if record.mark == STARTED), None)


def _environment(processes: Processes, url: str, contender: Contender) -> dict[str, str]:
    journal = processes.directory / f"{contender.name.replace(' ', '-').replace(':', '')}.journal"
    journal.touch()
    return {
        "QUEUE_REDIS": url,
        "QUEUE_JOURNAL": str(journal),
        "QUEUE_VARIANT": contender.variant,
    }


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """The 50th and the 99th."""
    if len(values) < 2:
        return (values[0], values[0]) if values else (float("nan"), float("nan"))
    return median(values), quantiles(values, n=100, method="inclusive")[98]
