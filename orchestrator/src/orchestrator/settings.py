"""Settings of the API and of the worker, from the environment."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

#: Addresses at which nobody else can connect.
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

#: How often every worker looks for jobs whose worker fell silent.
REAP_EVERY_S = 2.0


class Settings(BaseSettings):
    """Each field is the environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    host: str = Field("127.0.0.1", description="address the API listens on")
    port: int = Field(8000, description="port the API listens on")
    redis_url: str = Field("redis://localhost:6379/0", description="where jobs are kept")
    data_dir: Path = Field(Path("volumes"), description="directory that holds inputs/, outputs/ and cache/")
    image_service_urls: tuple[str, ...] = Field(("http://localhost:8001",), description="replicas of image-service")
    reconstruction_urls: tuple[str, ...] = Field(
        ("http://localhost:8002",), description="replicas of reconstruction-service"
    )
    postprocess_urls: tuple[str, ...] = Field(("http://localhost:8003",), description="replicas of postprocess-service")
    public_url: str = Field("", description="makes status and download URLs absolute, as in https://3d.example.org")
    ui_dir: Path | None = Field(None, description="directory served at /3d-test/")
    auth: Literal["off", "required"] | None = Field(
        None, description="off or required; unset: off on loopback addresses, else required"
    )
    api_keys: SecretStr = Field(SecretStr(""), description="accepted API keys, separated by commas")
    max_queued: int = Field(1000, description="jobs that may wait before new ones are refused with 429")
    max_per_key: int = Field(0, description="jobs one API key may have unfinished, 0 for any number")
    upload_limit_mb: int = Field(100, description="largest upload request, in MB")
    lease_s: float = Field(9.0, description="a worker that is silent for this long loses its job to another")
    stage_deadline_s: float = Field(900.0, description="one stage may take this long, waiting for a slot included")
    images_deadline_s: float | None = Field(None, description="as STAGE_DEADLINE_S, for generating_images alone")
    reconstruction_deadline_s: float | None = Field(
        None, description="as STAGE_DEADLINE_S, for reconstructing_3d alone"
    )
    postprocess_deadline_s: float | None = Field(None, description="as STAGE_DEADLINE_S, for post_processing alone")
    job_deadline_s: float = Field(
        3600.0, description="a job fails that has not ended this long after its first attempt"
    )
    max_attempts: int = Field(3, description="a job fails when this many workers fell silent while they carried it")
    worker_concurrency: int = Field(8, description="jobs one worker process carries at a time")
    replica_token: SecretStr = Field(
        SecretStr(""), description="what replicas show that announce themselves; empty: none may"
    )
    worker_metrics_port: int = Field(0, description="port of the worker's own Prometheus metrics, 0 for none")
    log_level: str = Field("INFO", description="least severe log lines that are written")
    log_human: bool = Field(False, description="colourful log lines instead of JSON")

    @property
    def auth_required(self) -> bool:
        """Off by itself only where nobody else can connect."""
        if self.auth is None:
            return self.host not in LOOPBACK
        return self.auth == "required"
