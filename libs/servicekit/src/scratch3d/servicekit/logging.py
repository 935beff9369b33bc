"""One JSON line per event: `stage_finished job_id stage engine duration_s`. Never a prompt or a key at info level."""

import logging
import sys

import structlog

Logger = structlog.typing.FilteringBoundLogger


def configure(service: str, *, level: str = "INFO", human: bool = False) -> None:
    """Set up logging for this process; call once, from the command's entry point."""
    renderer = structlog.dev.ConsoleRenderer() if human else structlog.processors.JSONRenderer()
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    # Ours go straight out: the standard library's records cost four times as much, several times a job.
    structlog.configure(
        processors=[*shared, renderer],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping().get(level.upper(), 20)),
        cache_logger_on_first_use=True,
    )
    # Those of libraries come by the standard library, and look the same.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    structlog.contextvars.bind_contextvars(service=service)


def get_logger(name: str) -> Logger:
    """A logger whose lines carry what is bound in the context (`job_id`, `service`)."""
    logger: Logger = structlog.get_logger(name)
    return logger


def bind(**fields: str) -> None:
    """Carry fields in every further line of this task."""
    structlog.contextvars.bind_contextvars(**fields)
