"""Settings of this process, from the environment."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Each field is the environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, description="port to listen on")
    data_dir: Path = Field(Path("volumes"), description="directory that holds inputs/, outputs/ and cache/")
    reconstruction_engines: tuple[str, ...] = Field(
        ("triposr", "soft-hull", "visual-hull", "inflate"),
        description="reconstruction engines in order of preference; `auto` takes the first that can use what it is given",
    )
    triposr_device: str = Field("auto", description="where triposr runs: auto, cpu, cuda, cuda:1, mps")
    triposr_precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="arithmetic of triposr's big layers; auto takes bf16 where the hardware is faster with it"
    )
    engine_deadline_s: float = Field(600.0, description="one piece of engine work may take this long")
    engine_memory_mb: int = Field(8192, description="memory limit of an engine's process, 0 for none")
    register_at: str = Field(
        "", description="URL of the orchestrator's API to announce this replica at; empty: it is configured"
    )
    advertise_url: str = Field("", description="URL under which the workers reach this replica")
    replica_rank: int = Field(0, description="replicas of a lower rank are used first")
    replica_token: SecretStr = Field(SecretStr(""), description="the orchestrator's REPLICA_TOKEN")
    log_level: str = Field("INFO", description="least severe log lines that are written")
    log_human: bool = Field(False, description="colourful log lines instead of JSON")
