"""`scratch3d models`: what there is, fetch it, check it.

Exit status: 0 done and whole, 1 failed or not whole, 2 the usage is wrong, 130 interrupted.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from scratch3d.models import catalogue, diagnosis
from scratch3d.models.catalogue import Catalogue, Licence, Model
from scratch3d.models.errors import BadCatalogue, FetchFailed, UnknownModel
from scratch3d.models.fetch import Source
from scratch3d.models.fetch import fetch as make_whole
from scratch3d.models.folder import Folder
from scratch3d.models.hub import Hub
from scratch3d.models.listener import NOBODY, Listener
from scratch3d.models.store import FileCheck, Listing, ModelRow, ModelStore, Verification

from . import show

app = typer.Typer(no_args_is_help=True, help="Weights of neural engines: list, fetch, verify.")

FAILED = 1
_MARKS = {"ok": "[green]ok[/]     ", "missing": "[yellow]missing[/]", "wrong": "[bold red]WRONG[/]  "}

AsJson = Annotated[bool, typer.Option("--json", help="print one JSON document instead of text")]
DataDir = Annotated[Path, typer.Option(envvar="DATA_DIR", help="models lie in models/ below it")]
Own = Annotated[
    Path | None, typer.Option("--catalogue", envvar="SCRATCH3D_CATALOGUE", help="a file with models of your own")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="say nothing but what goes wrong")]


@app.command("list")
def list_(json: AsJson = False, data_dir: DataDir = Path("volumes"), own: Own = None) -> None:
    """Every model: what it is for, licence, size, and whether it is here (by size; `verify` looks inside)."""
    store = ModelStore(data_dir / "models")
    with _failures():
        rows = tuple(store.row(model) for model in _catalogue(own).models)
    if json:
        show.as_json(Listing(models_dir=str(store.models_dir), models=rows))
        return
    for row in rows:
        _print_row(row)


@app.command()
def fetch(
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="models, as `models list` names them")],
    from_dir: Annotated[
        Path | None,
        typer.Option(
            exists=True, file_okay=False, help="take files from here that were downloaded by hand; no network"
        ),
    ] = None,
    keep_original: Annotated[
        bool, typer.Option(help="keep a checkpoint beside the safetensors made of it; that needs twice the disk")
    ] = True,
    quiet: Quiet = False,
    data_dir: DataDir = Path("volumes"),
    own: Own = None,
) -> None:
    """Download models, check them, and put them in place; goes on where it stopped."""
    models, store = _chosen(_catalogue(own), ids), ModelStore(data_dir / "models")
    with _failures():
        if not quiet:
            for model in models:
                _announce(store.row(model), store)
        with _listening(quiet=quiet) as listener:
            if from_dir:
                _fetch(models, store, Folder(from_dir), listener, keep_original)
            else:
                with Hub.of_environment() as hub:
                    _fetch(models, store, hub, listener, keep_original)


@app.command()
def verify(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]", help="models; otherwise those that are here")
    ] = None,
    json: AsJson = False,
    quiet: Quiet = False,
    data_dir: DataDir = Path("volumes"),
    own: Own = None,
) -> None:
    """Hash every file and compare; exit status 0 only when all is whole."""
    known, store = _catalogue(own), ModelStore(data_dir / "models")
    with _failures(), _listening(quiet=quiet or json) as listener:
        here = [model.id for model in known.models if store.row(model).files_here]
        models = _chosen(known, ids or here or [model.id for model in known.models])
        checks = tuple(store.verify(model, listener) for model in models)
    found = Verification(ok=all(check.ok for check in checks), models=checks)
    if json:
        show.as_json(found)
    elif not (quiet and found.ok):
        _print_checks(found)
    raise typer.Exit(0 if found.ok else FAILED)


def _catalogue(own: Path | None) -> Catalogue:
    try:
        return catalogue.load(own)
    except BadCatalogue as error:
        raise typer.BadParameter(str(error), param_hint="--catalogue") from error


def _chosen(known: Catalogue, ids: list[str]) -> list[Model]:
    try:
        return known.named(ids)
    except UnknownModel as error:
        raise typer.BadParameter(str(error), param_hint="ID") from error


def _fetch(models: list[Model], store: ModelStore, source: Source, listener: Listener, keep_original: bool) -> None:
    try:
        make_whole(models, store, source, listener, keep_original=keep_original)
    except KeyboardInterrupt:
        show.console.print("Interrupted; what came is kept. The same command goes on from there.", soft_wrap=True)
        raise
    for model in models:
        show.plain(str(store.folder(model)))


@contextmanager
def _failures() -> Iterator[None]:
    """What goes wrong becomes a sentence and exit status 1."""
    try:
        yield
    except FetchFailed as error:
        _failed(str(error))
    except OSError as error:
        _failed(diagnosis.of_disk(error))


def _failed(sentence: str) -> None:
    show.console.print(f"[bold red]Failed[/]: {escape(sentence)}", soft_wrap=True)
    raise typer.Exit(FAILED)


@contextmanager
def _listening(*, quiet: bool) -> Iterator[Listener]:
    """Sentences and bars unless quiet; rich leaves passing bars out where no terminal is."""

    def say(text: str) -> None:
        show.console.print(escape(text), soft_wrap=True)

    if quiet:
        yield NOBODY
    else:
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=28), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, TimeRemainingColumn(), console=show.console, transient=True) as bars:
            yield Listener(say=say, progress=_Bars(bars).draw)


class _Bars:
    """One bar, for the file that is at work."""

    def __init__(self, bars: Progress) -> None:
        self._bars, self._label = bars, ""

    def draw(self, label: str, done: int, total: int) -> None:
        """Another label is another bar; what was kept of a download does not count as speed."""
        if label != self._label:
            for task in self._bars.task_ids:
                self._bars.remove_task(task)
            self._bars.add_task(escape(label), total=total, completed=done)
            self._label = label
        else:
            self._bars.update(self._bars.task_ids[0], completed=done)


def _announce(row: ModelRow, store: ModelStore) -> None:
    """What is about to be fetched, before the first byte."""
    show.console.print(f"[bold]{row.id}[/]: {escape(row.summary)}", soft_wrap=True)
    _detail("from", f"{row.repository}, revision {row.revision[:12]}")
    _detail("licence", f"{_licence(row.licence)}. {row.licence.sentence} {row.licence.url}")
    _detail("size", f"{decimal(row.size_bytes)}, files: {row.files}, of which here: {row.files_here}")
    _detail("disk", f"{decimal(store.free_bytes())} free for {row.path}")


def _detail(name: str, text: str) -> None:
    show.console.print(f"  {name:<8} {escape(text)}", soft_wrap=True)


def _licence(licence: Licence) -> str:
    return f"{licence.code}, commercial use: {licence.commercial}"


def _print_row(row: ModelRow) -> None:
    partly = f"partly ({row.files_here} of {row.files} files)" if row.state == "partly" else row.state
    out = Console(highlight=False)
    out.print(
        f"[bold]{row.id}[/]  {partly}  {decimal(row.size_bytes)}  {escape(_licence(row.licence))}", soft_wrap=True
    )
    out.print(f"  {escape(row.summary)}\n  {escape(row.path)}", soft_wrap=True)


def _print_checks(found: Verification) -> None:
    out = Console(highlight=False)
    for check in found.models:
        out.print(f"[bold]{check.id}[/]  {escape(check.path)}", soft_wrap=True)
        for file in check.files:
            out.print(f"  {_MARKS[file.state]} {escape(_file_line(file))}", soft_wrap=True)
        if not check.ok:
            out.print(f"  mend it with: scratch3d models fetch {check.id}", soft_wrap=True)


def _file_line(file: FileCheck) -> str:
    if file.state == "wrong":
        sizes = f"expected {file.size_bytes or 'any'} bytes, found {file.size_found}"
        return f"{file.path}  {sizes}; sha256 expected {file.sha256}, found {file.sha256_found or 'not looked at'}"
    return f"{file.path}  {file.size_found or file.size_bytes} bytes  sha256 {file.sha256}"
