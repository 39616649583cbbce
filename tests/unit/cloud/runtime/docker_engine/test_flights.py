"""One act for all who ask for it at a time."""

import asyncio

import pytest

from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.cloud.runtime.docker_engine.flights import Flights


class Act:
    def __init__(self, fault: RuntimeFault | None = None) -> None:
        self.calls = 0
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.fault = fault

    async def __call__(self) -> int:
        self.calls += 1
        number = self.calls
        self.begun.set()
        await self.may_end.wait()
        if self.fault is not None:
            raise self.fault
        return number


async def test_those_who_come_meanwhile_share_the_answer() -> None:
    flights: Flights[int] = Flights()
    act = Act()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(flights.shared("k", act)) for _ in range(3)]
        await act.begun.wait()
        act.may_end.set()
    assert [task.result() for task in tasks] == [1, 1, 1]
    assert await flights.shared("k", act) == 2


async def test_a_fault_is_shared_too() -> None:
    flights: Flights[int] = Flights()
    act = Act(RuntimeFault(FaultKind.IMAGE_PULL, "no"))

    async def ask() -> str:
        with pytest.raises(RuntimeFault) as caught:
            await flights.shared("k", act)
        return caught.value.message

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask()) for _ in range(3)]
        await act.begun.wait()
        act.may_end.set()
    assert [task.result() for task in tasks] == ["no"] * 3
    assert act.calls == 1


async def test_another_goes_on_when_the_first_is_cancelled() -> None:
    flights: Flights[int] = Flights()
    act = Act()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(flights.shared("k", act))
        await act.begun.wait()
        second = group.create_task(flights.shared("k", act))
        third = group.create_task(flights.shared("k", act))
        act.begun.clear()
        third.cancel()
        first.cancel()
        await act.begun.wait()
        act.may_end.set()
        assert await second == 2
