"""For operators and for the services: metrics, and replicas that announce themselves."""

import hmac
from collections.abc import Mapping
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import Field, StringConstraints

from scratch3d.contracts.jobs import State
from scratch3d.contracts.values import Request as Wish
from scratch3d.servicekit import metrics
from scratch3d.servicekit.errors import NotAvailable, Unauthorized
from scratch3d.slots import Slots

from ..engines import Pool
from ..errors import StoreUnavailable
from ..settings import Settings
from ..store import JobStore

router = APIRouter(tags=["operations"])


class Desk:
    """Resources of this door."""

    def __init__(self, store: JobStore, slots: Slots, pools: Mapping[State, Pool], settings: Settings) -> None:
        self.store, self.slots, self.pools, self.settings = store, slots, pools, settings


class Announcement(Wish):
    """A replica of a service says that it is there."""

    service: Literal["image-service", "reconstruction-service", "postprocess-service"]
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#@]+$", max_length=256)]
    #: replicas of a lower rank are used first: a CPU replica beside GPUs ranks last
    rank: Annotated[int, Field(ge=0, le=99)] = 0
    #: it counts as there for so long; zero: it leaves
    lease_s: Annotated[float, Field(ge=0, le=300)] = 15.0


@router.put("/internal/replicas", status_code=204, include_in_schema=False)
async def announce(
    request: Request, told: Announcement, authorization: Annotated[str, Header(max_length=512)] = ""
) -> Response:
    """Use a replica until its lease ends; it repeats this well before."""
    desk: Desk = request.state.desk
    token = desk.settings.replica_token.get_secret_value()
    if not token:
        raise NotAvailable("replicas cannot announce themselves here: REPLICA_TOKEN is not set")
    if not hmac.compare_digest(f"Bearer {token}".encode(), authorization.encode()):
        raise Unauthorized("the replica's token is not the one of REPLICA_TOKEN")
    await desk.slots.announce(told.service, told.url, rank=told.rank, lease_s=told.lease_s)
    return Response(status_code=204)


@router.get("/metrics", response_class=Response, summary="Prometheus metrics")
async def read_metrics(request: Request) -> Response:
    """Everything this process counts, and how queue, workers, replicas and Redis stand."""
    desk: Desk = request.state.desk
    try:
        census = await desk.store.census()
    except StoreUnavailable:
        pass  # what Redis knows stays as it was; its failures are counted
    else:
        metrics.QUEUE_LENGTH.set(census.queued)
        metrics.JOBS_RUNNING.set(census.running)
        metrics.WORKERS.set(census.workers)
        metrics.STORE_MEMORY.set(census.memory_bytes)
        for pool in desk.pools.values():
            replicas = await desk.slots.replicas(pool.name, pool.urls)
            for state, count in (
                ("busy", sum(replica.held for replica in replicas)),
                ("away", sum(replica.away_s > 0 for replica in replicas)),
                ("all", len(replicas)),
            ):
                metrics.SLOTS.labels(pool.name, state).set(count)
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
