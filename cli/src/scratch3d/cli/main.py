"""Commands of `scratch3d`.

Exit status: 0 done, 1 the job failed, 2 the request was refused or the usage is wrong, 3 no server answers or the mesh
did not start, 130 interrupted.
"""

import asyncio
import contextlib
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from scratch3d.client import DEFAULT_URL, ApiError, Client, Unreachable
from scratch3d.contracts.jobs import JobStatus, State
from scratch3d.up.mesh import RunningMesh, page_dir, running
from scratch3d.up.redis_server import NoRedis
from scratch3d.up.supervisor import StartFailed, free_port

from . import doctor as doctoring
from . import models, show

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(models.app, name="models")

FAILED, REFUSED, NO_SERVER, INTERRUPTED = 1, 2, 3, 130

Url = Annotated[str, typer.Option("--url", envvar="SCRATCH3D_URL", help="where the API is")]
ApiKey = Annotated[str | None, typer.Option("--api-key", envvar="SCRATCH3D_API_KEY", help="for AUTH=required")]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON document instead of text")]
DataDir = Annotated[Path, typer.Option(envvar="DATA_DIR", help="holds inputs/, outputs/ and cache/")]
Format = Annotated[str, typer.Option("--format", help="glb, obj, stl or ply")]
Quality = Annotated[str, typer.Option("--quality", help="auto, fast, standard or high")]
Seed = Annotated[int | None, typer.Option(help="same seed, same model")]
Faces = Annotated[int | None, typer.Option("--faces", help="at most this many triangles")]
Engine = Annotated[str | None, typer.Option("--engine", help="reconstruction engine, as `engines` lists them")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="download the result to this file")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="print the job id and return")]


@app.command()
def up(
    data_dir: DataDir = Path("volumes"),
    host: Annotated[str, typer.Option(help="address of the API")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port of the API")] = 8000,
) -> None:
    """Start the whole mesh as local processes, until Ctrl-C."""
    _asyncio(_up(data_dir, host, port))


@app.command()
def demo(
    prompt: Annotated[str, typer.Argument(help="what to make")] = "a red cube on a wooden cylinder",
    data_dir: DataDir = Path("volumes"),
    keep: Annotated[bool, typer.Option("--keep", help="leave the mesh running afterwards")] = False,
    port: Annotated[int, typer.Option(help="port of the API; 0 takes a free one")] = 0,
) -> None:
    """Start the mesh, make one model, and say where it is."""
    _asyncio(_demo(prompt, data_dir, keep, port or (8000 if keep else free_port())))


@app.command()
def generate(
    prompt: str,
    output_format: Format = "glb",
    quality: Quality = "auto",
    style: Annotated[str | None, typer.Option(help="as in low-poly or voxel; see `engines --json`")] = None,
    seed: Seed = None,
    faces: Faces = None,
    output: Output = None,
    no_wait: NoWait = False,
    json: AsJson = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """A prompt to a model."""
    options = _options(output_format=output_format, quality_tier=quality, style=style, seed=seed, target_faces=faces)
    with _client(url, api_key) as client:
        job_id = client.generate(prompt, **options).job_id
        _finish(client, job_id, output=output, no_wait=no_wait, json=json)


@app.command("from-image")
def from_image(
    pictures: Annotated[list[str], typer.Argument(help="files or URLs, one per view; one alone becomes a solid")],
    views: Annotated[str, typer.Option(help="names of the views, as in front,right,back,left")] = "",
    engine: Engine = None,
    back: Annotated[str | None, typer.Option(help="of one picture alone: mirrored or plain")] = None,
    thickness: Annotated[float | None, typer.Option(help="of one picture alone: 1 makes a ball of a disc")] = None,
    output_format: Format = "glb",
    quality: Quality = "auto",
    seed: Seed = None,
    faces: Faces = None,
    output: Output = None,
    no_wait: NoWait = False,
    json: AsJson = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Pictures to a model."""
    options = _options(output_format=output_format, quality_tier=quality, seed=seed, target_faces=faces, engine=engine)
    if own := _options(back=back, thickness=thickness):
        options["engine_options"] = own
    names = [name.strip() for name in views.split(",")] if views else []
    with _client(url, api_key) as client:
        job_id = client.from_image(_located(pictures), views=names, **options).job_id
        _finish(client, job_id, output=output, no_wait=no_wait, json=json)


@app.command()
def status(job_id: str, json: AsJson = False, url: Url = DEFAULT_URL, api_key: ApiKey = None) -> None:
    """How a job stands."""
    with _client(url, api_key) as client:
        found = client.status(job_id)
        show.as_json(found) if json else show.status_line(found)
        _exit_for(found)


@app.command()
def watch(job_id: str, json: AsJson = False, url: Url = DEFAULT_URL, api_key: ApiKey = None) -> None:
    """Follow a job until it ends."""
    with _client(url, api_key) as client:
        client.status(job_id)
        _finish(client, job_id, output=None, no_wait=False, json=json)


@app.command()
def download(
    job_id: str,
    output: Output = None,
    artifact: Annotated[str | None, typer.Option(help="another file of the job, as in preview.png")] = None,
    bundle: Annotated[bool, typer.Option(help="formats of several files as one zip")] = True,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Fetch a finished model."""
    with _client(url, api_key) as client:
        target = output or Path(_name_of(client.status(job_id), artifact, bundle))
        show.plain(str(client.download(job_id, target, artifact=artifact, bundle=bundle)))


@app.command()
def jobs(
    state: Annotated[str | None, typer.Option(help="only jobs in this state")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
    cursor: Annotated[str | None, typer.Option(help="continue a list")] = None,
    json: AsJson = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """My jobs, newest first."""
    with _client(url, api_key) as client:
        page = client.jobs(state=state, limit=limit, cursor=cursor)
        show.as_json(page) if json else show.job_table(page)


@app.command()
def cancel(job_id: str, url: Url = DEFAULT_URL, api_key: ApiKey = None) -> None:
    """Stop a job."""
    with _client(url, api_key) as client:
        show.plain(client.cancel(job_id).message)


@app.command()
def retry(
    job_id: str,
    output: Output = None,
    no_wait: NoWait = False,
    json: AsJson = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Try a failed job again; what it had finished is kept."""
    with _client(url, api_key) as client:
        _finish(client, client.retry(job_id).job_id, output=output, no_wait=no_wait, json=json)


@app.command()
def replay(
    job_id: str,
    stage: Annotated[str, typer.Option("--from", help="generating_images, reconstructing_3d or post_processing")],
    output_format: Annotated[str | None, typer.Option("--format", help="glb, obj, stl, ply")] = None,
    engine: Engine = None,
    seed: Seed = None,
    faces: Faces = None,
    output: Output = None,
    no_wait: NoWait = False,
    json: AsJson = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """A new job that goes on from a stage of another one, with changes."""
    changes = _options(output_format=output_format, engine=engine, seed=seed, target_faces=faces)
    with _client(url, api_key) as client:
        _finish(client, client.replay(job_id, stage, **changes).job_id, output=output, no_wait=no_wait, json=json)


@app.command()
def engines(json: AsJson = False, url: Url = DEFAULT_URL, api_key: ApiKey = None) -> None:
    """What is installed, and why something is not."""
    with _client(url, api_key) as client:
        found = client.engines()
        show.as_json(found) if json else show.engine_table(found)


@app.command()
def doctor(data_dir: DataDir = Path("volumes"), url: Url = DEFAULT_URL) -> None:
    """Look for the usual mistakes."""
    healthy = True
    for finding in doctoring.examine(url, data_dir):
        mark = "[green]ok[/]  " if finding.ok else "[bold red]BAD[/] "
        show.console.print(f"{mark} {finding.what:<24} {finding.detail}", soft_wrap=True)
        healthy = healthy and finding.ok
    raise typer.Exit(0 if healthy else FAILED)


def main() -> None:
    """Entry point: refusals and unreachable servers become sentences and exit codes, never traces."""
    try:
        app()
    except ApiError as error:
        show.problem(error.problem)
        sys.exit(REFUSED)
    except Unreachable as error:
        show.console.print(f"[bold red]No answer[/]: {error}. Start a mesh with `scratch3d up`.", soft_wrap=True)
        sys.exit(NO_SERVER)
    except (StartFailed, NoRedis) as error:
        show.console.print(f"[bold red]The mesh did not start[/]: {error}", soft_wrap=True)
        sys.exit(NO_SERVER)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _client(url: str, api_key: str | None) -> Client:
    return Client(url, api_key=api_key)


def _located(pictures: list[str]) -> list[Path | str]:
    """URLs as they are, files as paths that exist."""
    if all(text.startswith(("http://", "https://", "data:")) for text in pictures):
        return list(pictures)
    paths = [Path(text) for text in pictures]
    for path in paths:
        if not path.is_file():
            raise typer.BadParameter(
                f"there is no file {path}; give files, or URLs, but not both", param_hint="PICTURES"
            )
    return list(paths)


def _options(**given: Any) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _finish(client: Client, job_id: str, *, output: Path | None, no_wait: bool, json: bool) -> None:
    if no_wait:
        show.plain(job_id)
        return
    if not json:
        show.console.print(f"job {job_id}")
    done = show.follow(client, job_id, quiet=json)
    show.as_json(done) if json else show.finished(done)
    _exit_for(done)
    if output:
        show.plain(str(client.download(job_id, output)))
    elif not json:
        show.plain(f"{done.asset_path}")


def _exit_for(status: JobStatus) -> None:
    if status.state is State.FAILED:
        raise typer.Exit(FAILED)


def _name_of(status: JobStatus, artifact: str | None, bundle: bool) -> str:
    if artifact:
        return artifact.rsplit("/", 1)[-1]
    form = next((output.format for output in status.outputs if output.role == "asset"), "glb")
    several = bundle and any(output.role == "companion" for output in status.outputs)
    return f"{status.job_id}.{'zip' if several else form}"


async def _up(data_dir: Path, host: str, port: int) -> None:
    async with running(data_dir, host=host, port=port, say=show.console.print) as mesh:
        _greet(mesh)
        await asyncio.get_running_loop().create_future()


async def _demo(prompt: str, data_dir: Path, keep: bool, port: int) -> None:
    show.console.print("Starting the mesh …")
    async with running(data_dir, host="127.0.0.1", port=port, say=show.console.print) as mesh:
        done = await asyncio.to_thread(_make, mesh, prompt)
        if done.state is State.COMPLETED:
            for role in ("asset", "preview", "turntable", "report"):
                for output in done.outputs:
                    if output.role == role:
                        show.plain(f"{role:<10} {_host_path(mesh, done, output.name)}")
        if keep:
            _greet(mesh)
            await asyncio.get_running_loop().create_future()
    if done.state is State.FAILED:
        raise typer.Exit(FAILED)


def _make(mesh: RunningMesh, prompt: str) -> JobStatus:
    with Client(mesh.url) as client:
        job_id = client.generate(prompt, quality_tier="auto").job_id
        done = show.follow(client, job_id, quiet=False)
    show.finished(done)
    return done


def _host_path(mesh: RunningMesh, status: JobStatus, name: str) -> Path:
    assert status.asset_path is not None
    return (mesh.data_dir / status.asset_path.lstrip("/")).parent / name


def _greet(mesh: RunningMesh) -> None:
    show.console.print("[bold green]scratch-3d is up[/]; Ctrl-C stops it")
    page = f"{mesh.url}/3d-test/" if page_dir() else "not in this installation"
    logs = mesh.supervisor.log_dir.absolute()
    rows = {"page": page, "API": f"{mesh.url}/docs", "files": mesh.data_dir.absolute(), "logs": logs}
    for name, where in rows.items():
        show.console.print(f"  {name:<6} {where}", soft_wrap=True)


def _asyncio(work: Any) -> None:
    """Run until done; Ctrl-C and SIGTERM stop the mesh in order."""

    async def supervised() -> None:
        task = asyncio.ensure_future(work)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(supervised())


if __name__ == "__main__":
    main()
