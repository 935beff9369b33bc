"""The plainest handlers that keep a job in Redis and read it back: what the API's own are compared with."""

import os
import uuid
from typing import Annotated

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, Field
from redis.asyncio import Redis

app = FastAPI()
redis = Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)


class Wish(BaseModel):
    """A prompt and what the job is to be like."""

    prompt: Annotated[str, Field(min_length=1, max_length=1000)]
    quality_tier: str = "auto"
    output_format: str = "glb"
    seed: int | None = None


class Accepted(BaseModel):
    """The job's id and where to look."""

    job_id: str
    status_url: str


@app.post("/3d/generate", status_code=202)
async def generate(wish: Wish) -> Accepted:
    """MULTI(HSET, EXPIRE, LPUSH)."""
    job_id = str(uuid.uuid4())
    async with redis.pipeline(transaction=True) as pipe:
        pipe.hset(f"bare:{job_id}", mapping={"state": "queued", "request": wish.model_dump_json()})
        pipe.expire(f"bare:{job_id}", 86400)
        pipe.lpush("bare:queue", job_id)
        await pipe.execute()
    return Accepted(job_id=job_id, status_url=f"/3d/status/{job_id}")


@app.get("/3d/status/{job_id}")
async def status(job_id: str) -> dict[str, str]:
    """HGETALL."""
    return await redis.hgetall(f"bare:{job_id}")


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


if __name__ == "__main__":
    # As the product starts its API.
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_config=None, access_log=False)
