"""What is known of the engines, asked for when it is old."""

import asyncio
from typing import Any

from orchestrator.domain import STAGES
from orchestrator.engines import Engines, Pool
from scratch3d.contracts.engines import EngineCard, EngineList
from scratch3d.contracts.jobs import State
from scratch3d.slots import MemorySlots


class Service:
    """Answers when it may."""

    def __init__(self, name: str) -> None:
        self.name, self.asked, self.may_answer = name, 0, asyncio.Event()

    async def engines(self, _: str) -> EngineList:
        self.asked += 1
        await self.may_answer.wait()
        card = EngineCard(id=self.name, version="1", available=True, summary="a test", licence_code="Apache-2.0")
        return EngineList(engines=(card,))


async def test_a_service_that_hangs_keeps_only_those_who_need_it() -> None:
    services = {stage: Service(stage.value) for stage in STAGES}
    pools: dict[State, Any] = {
        stage: Pool(name=service.name, client=service, urls=("http://a",))  # type: ignore[arg-type]
        for stage, service in services.items()
    }
    engines = Engines(pools, MemorySlots())
    hanging = services[State.GENERATING_IMAGES]
    for stage, service in services.items():
        if stage is not State.GENERATING_IMAGES:
            service.may_answer.set()
    async with asyncio.timeout(2):
        (card,) = await engines.cards(State.POST_PROCESSING)
    assert card.id == State.POST_PROCESSING.value
    waiting = [asyncio.create_task(engines.cards(State.GENERATING_IMAGES)) for _ in range(20)]
    await asyncio.sleep(0.05)
    assert not any(task.done() for task in waiting) and hanging.asked == 1
    waiting[0].cancel()  # one who gives up takes nobody along
    await asyncio.sleep(0)
    hanging.may_answer.set()
    assert {(await task)[0].id for task in waiting[1:]} == {hanging.name}
    listed = await engines.public()
    assert [card.id for card in listed.images] == [hanging.name] and listed.unreachable == ()
    assert [service.asked for service in services.values()] == [1] * len(services)


async def test_the_list_of_all_asks_by_itself() -> None:
    service = Service("any")
    service.may_answer.set()
    pool: Any = Pool(name="any", client=service, urls=("http://a",))  # type: ignore[arg-type]
    listed = await Engines(dict.fromkeys(STAGES, pool), MemorySlots()).public()
    assert [card.id for card in listed.reconstruction] == ["any"] and service.asked == len(STAGES)
