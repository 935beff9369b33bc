"""Settings of this process, from the environment."""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from .intake.headers import Limits


class Settings(BaseSettings):
    """Each field is the environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, description="port to listen on")
    data_dir: Path = Field(Path("volumes"), description="directory that holds inputs/, outputs/ and cache/")
    image_engines: tuple[str, ...] = Field(("procedural",), description="image engines in order of preference")
    matting_engines: tuple[str, ...] = Field(
        ("classical",), description="removers of backgrounds in order of preference"
    )
    fetch_allow: tuple[str, ...] = Field(
        (), description="hosts (`host` or `host:port`) that pictures may be fetched from though they are not public"
    )
    fetch_timeout_s: float = Field(20.0, description="a picture from the web must have arrived after this long")
    engine_deadline_s: float = Field(300.0, description="one piece of engine work may take this long")
    engine_memory_mb: int = Field(4096, description="memory limit of an engine's process, 0 for none")
    max_picture_mpx: float = Field(25.0, description="largest picture that is decoded, in millions of pixels")
    max_picture_mb: float = Field(20.0, description="largest picture file that is read, in MB")
    register_at: str = Field(
        "", description="URL of the orchestrator's API to announce this replica at; empty: it is configured"
    )
    advertise_url: str = Field("", description="URL under which the workers reach this replica")
    replica_rank: int = Field(0, description="replicas of a lower rank are used first")
    replica_token: SecretStr = Field(SecretStr(""), description="the orchestrator's REPLICA_TOKEN")
    log_level: str = Field("INFO", description="least severe log lines that are written")
    log_human: bool = Field(False, description="colourful log lines instead of JSON")

    @property
    def limits(self) -> Limits:
        """What is read of a picture at most."""
        return Limits(max_pixels=self.max_picture_mpx * 1e6, max_bytes=self.max_picture_mb * 1e6)
