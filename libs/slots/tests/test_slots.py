"""One suite over both homes of slots."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from scratch3d.slots import Grant, MemorySlots, NoSlot, RedisSlots, RedisWire, Ride, Slots, Turn

URLS = ("http://a", "http://b")


@pytest.fixture(params=["memory", "redis"])
async def slots(request: pytest.FixtureRequest) -> AsyncIterator[Slots]:
    if request.param == "memory":
        yield MemorySlots()
        return
    wire = RedisWire(request.getfixturevalue("redis_url"))
    yield RedisSlots(wire, lease_s=5)
    await wire.close()


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
    wire = RedisWire(redis_url)
    slots = RedisSlots(wire, lease_s=0.3)
    dead = await slots.acquire("pool", ["http://a"], timeout_s=1)
    heir = await slots.acquire("pool", ["http://a"], timeout_s=2)
    assert isinstance(heir, Grant) and heir.token != dead.token
    assert not await slots.renew(dead)
    await wire.close()


async def test_a_replica_that_failed_is_left_out_for_a_while_and_returns(slots: Slots) -> None:
    one = await slots.acquire("pool", URLS, timeout_s=1)
    await slots.release(one, well=False)
    other = await slots.acquire("pool", URLS, timeout_s=1)
    assert other.url != one.url
    ill = {r.url: r for r in await slots.replicas("pool", URLS)}[one.url]
    assert 0 < ill.away_s <= 1 and not ill.held
    with pytest.raises(NoSlot):
        await slots.acquire("pool", URLS, timeout_s=0.2)
    assert (await slots.acquire("pool", URLS, timeout_s=5)).url == one.url


async def test_a_replica_that_answers_again_is_welcome_at_once(slots: Slots) -> None:
    await slots.release(await slots.acquire("pool", ["http://a"], timeout_s=1), well=False)
    await slots.welcome("pool", "http://a")
    assert (await slots.acquire("pool", ["http://a"], timeout_s=0.3)).url == "http://a"


async def test_avoided_replicas_are_taken_last(slots: Slots) -> None:
    one = await slots.acquire("pool", URLS, timeout_s=1, avoid=["http://a"])
    assert one.url == "http://b"
    assert (await slots.acquire("pool", URLS, timeout_s=1, avoid=URLS)).url == "http://a"


async def test_replicas_that_announce_themselves_are_used_by_rank(slots: Slots) -> None:
    await slots.announce("pool", "http://cpu", rank=9, lease_s=5)
    await slots.announce("pool", "http://gpu", rank=1, lease_s=5)
    told = await slots.replicas("pool", ["http://a"])
    assert [(r.url, r.rank, r.announced) for r in told][:1] == [("http://a", 0, False)]
    assert {(r.url, r.rank, r.announced) for r in told[1:]} == {("http://cpu", 9, True), ("http://gpu", 1, True)}
    order = [(await slots.acquire("pool", ["http://a"], timeout_s=1)).url for _ in range(3)]
    assert order == ["http://a", "http://gpu", "http://cpu"]
    await slots.announce("pool", "http://cpu", rank=9, lease_s=0)
    assert "http://cpu" not in {r.url for r in await slots.replicas("pool", [])}


async def made(slots: Slots, ride: Ride) -> list[object]:
    """What the calls of a ride answer."""
    return await slots._wire.run(*ride.calls) if isinstance(slots, RedisSlots) else []


async def test_a_ride_releases_one_and_brings_the_next(slots: Slots) -> None:
    held = await slots.acquire("pool", ["http://a"], timeout_s=1)
    ride = slots.ride(held, "next", ["http://n"])
    ride.arrived(await made(slots, ride))
    turn = ride.turn
    assert turn and turn.grant and turn.grant.url == "http://n"
    assert await slots.acquire("next", [], timeout_s=1, turn=turn) == turn.grant
    assert (await slots.acquire("pool", ["http://a"], timeout_s=1)).url == "http://a"
    late = slots.ride(None, "next", ["http://n"])
    late.arrived(await made(slots, late))
    waits = late.turn
    assert waits and waits.grant is None
    await slots.release(turn.grant)
    granted = await slots.acquire("next", ["http://n"], timeout_s=1, turn=waits)
    assert granted.token == waits.ticket
    await slots.leave(waits)
    assert (await slots.acquire("next", ["http://n"], timeout_s=1)).url == "http://n"


async def test_a_ride_under_the_same_ticket_is_the_same_question(slots: Slots) -> None:
    granted = []
    for _ in range(2 if isinstance(slots, RedisSlots) else 1):
        ride = slots.ride(None, "pool", URLS, ticket="ours")
        ride.arrived(await made(slots, ride))
        assert ride.turn and ride.turn.grant
        granted.append(ride.turn.grant.url)
    assert len(set(granted)) == 1
    assert (await slots.acquire("pool", URLS, timeout_s=1)).url not in granted
    await slots.leave(Turn(pool="pool", ticket="ours"))
    assert (await slots.acquire("pool", URLS, timeout_s=1)).url == granted[0]


async def test_who_asks_again_after_the_lease_has_a_whole_lease_again(redis_url: str) -> None:
    """A ticket outlives its grant when its holder was cut off: what is given again must not be anybody's next moment."""
    wire = RedisWire(redis_url)
    slots = RedisSlots(wire, lease_s=0.3)
    turn = Turn(pool="pool", ticket="ours")
    grant = await slots.acquire("pool", ["http://a"], timeout_s=1, turn=turn)
    await asyncio.sleep(0.4)
    assert await slots.acquire("pool", ["http://a"], timeout_s=1, turn=turn) == grant
    with pytest.raises(NoSlot):
        await slots.acquire("pool", ["http://a"], timeout_s=0.1)
    await wire.close()
