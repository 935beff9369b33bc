"""One suite over both homes of slots."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from scratch3d.slots import Grant, MemorySlots, NoSlot, RedisSlots, Slots

URLS = ("http://a", "http://b")


@pytest.fixture(params=["memory", "redis"])
async def slots(request: pytest.FixtureRequest) -> AsyncIterator[Slots]:
    if request.param == "memory":
        yield MemorySlots()
        return
    redis = Redis.from_url(request.getfixturevalue("redis_url"))
    yield RedisSlots(redis, lease_s=5)
    await redis.aclose()


async def test_every_replica_is_held_once(slots: Slots) -> None:
    one = await slots.acquire("pool", URLS, timeout_s=1)
    two = await slots.acquire("pool", URLS, timeout_s=1)
    assert {one.url, two.url} == set(URLS)
    with pytest.raises(NoSlot):
        await slots.acquire("pool", URLS, timeout_s=0.3)
    await slots.release(one)
    assert (await slots.acquire("pool", URLS, timeout_s=1)).url == one.url


async def test_pools_do_not_mix_and_releasing_twice_is_harmless(slots: Slots) -> None:
    one = await slots.acquire("pool", ["http://a"], timeout_s=1)
    other = await slots.acquire("other", ["http://a"], timeout_s=1)
    await slots.release(one)
    again = await slots.acquire("pool", ["http://a"], timeout_s=1)
    await slots.release(one)
    assert await slots.renew(again) and await slots.renew(other)
    assert not await slots.renew(one)


async def test_first_come_first_served(slots: Slots) -> None:
    held = await slots.acquire("pool", ["http://a"], timeout_s=1)
    order: list[int] = []

    async def wait(number: int) -> None:
        grant = await slots.acquire("pool", ["http://a"], timeout_s=5)
        order.append(number)
        await slots.release(grant)

    waiting = []
    for number in range(4):
        waiting.append(asyncio.create_task(wait(number)))
        await asyncio.sleep(0.15)
    await slots.release(held)
    await asyncio.gather(*waiting)
    assert order == [0, 1, 2, 3]


async def test_never_two_holders_under_load(slots: Slots) -> None:
    holders: dict[str, int] = {}

    async def use() -> None:
        grant = await slots.acquire("pool", URLS, timeout_s=20)
        holders[grant.url] = holders.get(grant.url, 0) + 1
        assert holders[grant.url] == 1
        await asyncio.sleep(0.005)
        holders[grant.url] -= 1
        await slots.release(grant)

    await asyncio.gather(*(use() for _ in range(20)))


async def test_cancelled_waiter_leaves_the_line(slots: Slots) -> None:
    held = await slots.acquire("pool", ["http://a"], timeout_s=1)
    gone = asyncio.create_task(slots.acquire("pool", ["http://a"], timeout_s=10))
    await asyncio.sleep(0.2)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    await slots.release(held)
    assert await slots.acquire("pool", ["http://a"], timeout_s=8)


async def test_lease_of_a_dead_holder_ends(redis_url: str) -> None:
    redis = Redis.from_url(redis_url)
    slots = RedisSlots(redis, lease_s=0.3)
    dead = await slots.acquire("pool", ["http://a"], timeout_s=1)
    heir = await slots.acquire("pool", ["http://a"], timeout_s=2)
    assert isinstance(heir, Grant) and heir.token != dead.token
    assert not await slots.renew(dead)
    await redis.aclose()
