"""Jobs as the REST dialect shows them."""

from scratch3d.contracts.jobs import JobAccepted, JobStatus, OutputStatus, StageStatus
from scratch3d.contracts.meshes import OutputFile

from ...domain import STAGES, Job


class Links:
    """URLs of a job, absolute when PUBLIC_URL is set."""

    def __init__(self, public_url: str) -> None:
        self.base = public_url.rstrip("/")

    def status(self, job_id: str) -> str:
        """Where the job's state is read."""
        return f"{self.base}/3d/status/{job_id}"

    def download(self, job_id: str) -> str:
        """Where the asset is fetched."""
        return f"{self.base}/3d/download/{job_id}"

    def artifact(self, job_id: str, name: str) -> str:
        """Where one of its files is fetched."""
        return f"{self.base}/3d/jobs/{job_id}/artifacts/{name}"


def accepted(job: Job, links: Links) -> JobAccepted:
    """The answer to a submission."""
    return JobAccepted(job_id=job.id, status_url=links.status(job.id))


def status(job: Job, links: Links, outlook: tuple[int | None, float | None] = (None, None)) -> JobStatus:
    """Everything about a job."""
    asset = job.asset
    preview = next((output for output in job.outputs if output.role == "preview"), None)
    labels = job.request.get("labels")
    return JobStatus(
        job_id=job.id,
        kind=job.kind,
        state=job.state,
        message=job.message,
        progress=job.progress,
        stage=job.state if job.remaining() else None,
        phase=job.phase,
        queue_position=outlook[0],
        eta_s=outlook[1],
        attempt=job.attempt,
        warnings=job.warnings,
        stages=stages(job),
        engines={stage.value: result.engine for stage, result in job.results.items()},
        asset_path=asset.ref.public_path if asset else None,
        download_url=links.download(job.id) if asset else None,
        preview_url=links.artifact(job.id, preview.name) if preview else None,
        outputs=tuple(output_status(job.id, output, links) for output in job.outputs),
        problem=job.problem,
        labels={str(k): str(v) for k, v in labels.items()} if isinstance(labels, dict) else {},
        parent=job.parent,
        request=job.request,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
    )


def stages(job: Job) -> tuple[StageStatus, ...]:
    """The stages that are done, in order."""
    return tuple(
        StageStatus(
            stage=stage,
            engine=result.engine,
            engine_version=result.engine_version,
            skipped=result.skipped,
            duration_s=result.duration_s,
        )
        for stage in STAGES
        if (result := job.results.get(stage))
    )


def output_status(job_id: str, output: OutputFile, links: Links) -> OutputStatus:
    """One file that can be fetched."""
    return OutputStatus(
        name=output.name,
        role=output.role,
        format=output.format,
        media_type=output.ref.media_type,
        size_bytes=output.ref.size_bytes,
        sha256=output.ref.sha256,
        url=links.artifact(job_id, output.name),
    )
