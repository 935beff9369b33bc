"""What the command prints: progress per stage, results, problems; or JSON for programs."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import BaseModel
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from scratch3d.client import Client
from scratch3d.contracts.engines import EngineCard, PublicEngines
from scratch3d.contracts.jobs import PROGRESS_AT, JobEvent, JobPage, JobStatus, State
from scratch3d.contracts.problems import Problem

console = Console(stderr=True, highlight=False)

STAGES = (State.GENERATING_IMAGES, State.RECONSTRUCTING_3D, State.POST_PROCESSING)
TITLES = {
    State.GENERATING_IMAGES: "Making views",
    State.RECONSTRUCTING_3D: "Reconstructing",
    State.POST_PROCESSING: "Finishing files",
}


def as_json(value: BaseModel) -> None:
    """One JSON document on standard output."""
    print(value.model_dump_json(indent=2, exclude_none=True))


def problem(found: Problem) -> None:
    """A refusal or a failure, with the field and whether trying again helps."""
    console.print(f"[bold red]{found.title}[/] ({found.code})")
    if found.errors:
        for error in found.errors:
            console.print(f"  [bold]{error.field}[/]: {error.message}", markup=True, soft_wrap=True)
    else:
        console.print(f"  {found.detail}", soft_wrap=True)
    if found.stage:
        console.print(f"  stage: {found.stage}")
    if found.retryable:
        console.print("  Trying again may help.")


@contextmanager
def _bars() -> Iterator[Progress]:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<16}"),
        BarColumn(bar_width=28),
        TextColumn("{task.fields[phase]:<24}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=False) as progress:
        yield progress


def follow(client: Client, job_id: str, *, quiet: bool) -> JobStatus:
    """Show the job's progress until it ends; its last status."""
    if quiet:
        for _ in client.events(job_id):
            pass
        return client.status(job_id)
    with _bars() as progress:
        bars = {stage: progress.add_task(TITLES[stage], total=100, phase="", start=False) for stage in STAGES}
        for event in client.events(job_id):
            _draw(progress, bars, event)
    return client.status(job_id)


def _draw(progress: Progress, bars: dict[State, TaskID], event: JobEvent) -> None:
    reached = {State.COMPLETED: len(STAGES), State.QUEUED: -1, State.FAILED: -2}.get(event.state)
    here = STAGES.index(event.state) if reached is None else reached
    if here == -2:
        for stage in STAGES:
            progress.stop_task(bars[stage])
        return
    for number, stage in enumerate(STAGES):
        task = progress.tasks[bars[stage]]
        if number < here and not task.finished:
            progress.start_task(bars[stage])
            progress.update(bars[stage], completed=100, phase="done")
        elif number == here:
            progress.start_task(bars[stage])
            following = STAGES[number + 1] if number + 1 < len(STAGES) else State.COMPLETED
            share = (event.progress - PROGRESS_AT[stage]) / (PROGRESS_AT[following] - PROGRESS_AT[stage])
            progress.update(bars[stage], completed=max(0.0, min(share, 1.0)) * 100, phase=event.phase or "")


def finished(status: JobStatus) -> None:
    """How a job ended."""
    for warning in status.warnings:
        console.print(f"[yellow]Note:[/] {warning}", soft_wrap=True)
    if status.problem:
        problem(status.problem)
        return
    engines = ", ".join(dict.fromkeys(f"{stage.engine}" for stage in status.stages))
    took = (status.finished_at or 0) - (status.started_at or 0)
    console.print(f"[bold green]Done[/] in {took:.1f} s, made by {engines}")


def status_line(status: JobStatus) -> None:
    """One job in full."""
    table = Table(show_header=False, box=None)
    table.add_row("job", status.job_id)
    table.add_row("state", f"{status.state.value}, {status.progress} %  {status.message}")
    if status.queue_position is not None:
        table.add_row("queue", f"{status.queue_position} before it")
    for stage in status.stages:
        table.add_row(stage.stage.value, f"{stage.engine} {stage.engine_version}, {stage.duration_s or 0:.2f} s")
    if status.asset_path:
        table.add_row("asset", status.asset_path)
    for warning in status.warnings:
        table.add_row("note", warning)
    if status.problem:
        table.add_row("problem", f"{status.problem.code}: {status.problem.detail}")
    Console().print(table, soft_wrap=True)


def job_table(page: JobPage) -> None:
    """Some jobs, one a line."""
    table = Table(Column("job", no_wrap=True, min_width=36), "state", "%", "request", box=None)
    for job in page.jobs:
        asked = str(job.request.get("prompt") or f"{job.kind}")
        table.add_row(job.job_id, job.state.value, str(job.progress), asked[:60])
    Console().print(table)
    if page.next_cursor:
        console.print(f"more: --cursor {page.next_cursor}")


def engine_table(engines: PublicEngines) -> None:
    """What is installed, by stage."""
    table = Table("stage", "engine", "available", "licence", "what it is", box=None)
    rows: list[tuple[str, tuple[EngineCard, ...]]] = [
        ("images", engines.images),
        ("matting", engines.matting),
        ("reconstruction", engines.reconstruction),
        ("postprocess", engines.postprocess),
    ]
    for stage, cards in rows:
        for card in cards:
            word = "yes" if card.available else f"no: {card.reason}"
            table.add_row(stage, f"{card.id} {card.version}", word, card.licence_code, card.summary)
    Console().print(table)
    for name in engines.unreachable:
        console.print(f"[yellow]{name} does not answer[/]")


def plain(text: str) -> None:
    """A line on standard output."""
    print(text, file=sys.stdout)
