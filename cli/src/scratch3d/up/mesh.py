"""The mesh as a command wants it: one context, one URL."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from .supervisor import Supervisor, plan


@dataclass(frozen=True, kw_only=True)
class RunningMesh:
    """A mesh that is up."""

    url: str
    data_dir: Path
    supervisor: Supervisor


@asynccontextmanager
async def running(
    data_dir: Path, *, host: str, port: int, say: Callable[[str], None], outside: dict[str, str] | None = None
) -> AsyncIterator[RunningMesh]:
    """Start everything, wait until it is ready, and stop it at the end; StartFailed or NoRedis otherwise."""
    parts = plan(
        data_dir,
        host=host,
        port=port,
        ui_dir=page_dir(),
        outside=outside or {},
        redis_url=os.environ.get("REDIS_URL"),
    )
    async with Supervisor(parts, log_dir=data_dir / "cache" / "logs", say=say) as supervisor:
        shown = "127.0.0.1" if host in {"0.0.0.0", "::"} else host
        url = f"http://{shown}:{port}"
        await supervisor.wait_ready(url)
        yield RunningMesh(url=url, data_dir=data_dir, supervisor=supervisor)


def page_dir() -> Path | None:
    """The test page: UI_DIR, or the one of the checkout this package is installed from."""
    if given := os.environ.get("UI_DIR"):
        return Path(given)
    beside = Path(__file__).resolve().parents[5] / "ui" / "test_3d" / "public"
    return beside if (beside / "index.html").is_file() else None
