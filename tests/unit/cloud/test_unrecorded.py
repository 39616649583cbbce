"""What nobody has a record of: its address comes back however it goes, and a creation meanwhile waits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from provider.clock import LoopClock
from provider.cloud.instances.entry import Entry
from provider.cloud.instances.looks import Looks
from provider.cloud.instances.machine import InstanceMachine
from provider.cloud.instances.orphans import GRACE, INITIAL_DELAY
from provider.cloud.instances.placement import Placement
from provider.cloud.instances.placer import Placer
from provider.cloud.instances.specs import instance_id
from provider.cloud.runtime.base import FaultKind, RunSpec, RuntimeFault, SandboxSpec, Seen
from provider.cloud.runtime.simulated import SimulatedRuntime
from provider.cloud.unrecorded import Unrecorded
from provider.model.capacity import VSwitch, Zone
from provider.model.errors import CloudCode, CloudError
from provider.model.ids import PodUid, VSwitchId, ZoneId
from provider.model.request import ContainerSpec, InstanceRequest

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

pytestmark = pytest.mark.looptime

ZONE = Zone(id=ZoneId("zone-a"), cpu=4_000, memory=4 << 30, vswitches=(VSwitch(VSwitchId("vsw"), "10.220.0.0/29"),))
UID = PodUid("lost")
SANDBOX = SandboxSpec(
    uid=UID,
    zone=ZONE.id,
    vswitch=VSwitchId("vsw"),
    address="10.220.0.1",
    name="pod",
    namespace="default",
    hostname="pod",
)


class SlowRemoval(SimulatedRuntime):
    """Removals wait to be let go, and fail as often as they are told to."""

    def __init__(self, clock: LoopClock) -> None:
        super().__init__(clock)
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        self.failures = 0

    async def remove_instance(self, uid: PodUid) -> None:
        self.begun.set()
        await self.go.wait()
        if self.failures:
            self.failures -= 1
            raise RuntimeFault(FaultKind.UNAVAILABLE, "away")
        await super().remove_instance(uid)


class World:
    def __init__(self) -> None:
        self.clock = LoopClock()
        self.runtime = SlowRemoval(self.clock)
        self.placement = Placement([ZONE])
        self.known: set[PodUid] = set()
        self.used_up: set[PodUid] = set()
        placer = Placer(self.placement, self.runtime, self.clock, lambda *_: None, lambda _: None)
        self.unrecorded = Unrecorded(self.runtime, placer, self.clock, self.known, lambda uid: uid in self.used_up)

    async def lose(self) -> None:
        await self.runtime.create_sandbox(SANDBOX)

    async def sweep(self) -> None:
        seen: list[Seen] = list(await self.runtime.relist())
        await self.unrecorded.sweep([one for one in seen if one.uid not in self.known])

    def used(self) -> int:
        (vswitch,) = self.placement.status(ZONE.id, None).vswitches
        return vswitch.used


def request(**fields: Any) -> InstanceRequest:
    given: dict[str, Any] = {"uid": UID, "zone": ZONE.id, "name": "pod", "namespace": "default"} | fields
    return InstanceRequest(containers=(ContainerSpec(name="main", image="busybox"),), **given)


async def refusal(act: Coroutine[Any, Any, object]) -> CloudError:
    with pytest.raises(CloudError) as caught:
        await act
    return caught.value


async def test_it_is_kept_for_a_while_and_then_removed() -> None:
    world = World()
    world.runtime.go.set()
    await world.lose()
    await world.sweep()
    await world.clock.sleep(max(INITIAL_DELAY, GRACE) - 1)
    await world.sweep()
    assert (world.used(), len(await world.runtime.relist())) == (1, 1)
    world.runtime.failures = 1
    await world.clock.sleep(2)
    await world.sweep()
    assert (world.used(), len(await world.runtime.relist())) == (1, 1)
    await world.sweep()
    assert (world.used(), len(await world.runtime.relist())) == (0, 0)


async def test_the_address_of_one_that_somebody_else_removes_comes_back() -> None:
    world = World()
    world.runtime.go.set()
    await world.lose()
    await world.sweep()
    assert world.used() == 1
    await world.runtime.remove_instance(UID)
    await world.sweep()
    assert world.used() == 0


async def test_one_that_was_taken_over_is_left_alone() -> None:
    world = World()
    await world.lose()
    await world.sweep()
    assert await world.unrecorded.claim(request()) == ()
    world.known.add(UID)
    await world.clock.sleep(1_000)
    await world.sweep()
    assert (world.used(), world.runtime.begun.is_set()) == (1, False)


async def test_a_creation_waits_for_a_removal_that_is_under_way() -> None:
    world = World()
    world.used_up.add(UID)
    await world.lose()
    async with asyncio.TaskGroup() as group:
        group.create_task(world.sweep())
        await world.runtime.begun.wait()
        refused = await refusal(world.unrecorded.claim(request()))
        assert (refused.code, refused.retry_after is not None) == (CloudCode.UNAVAILABLE, True)
        world.runtime.go.set()
    assert await world.unrecorded.claim(request()) == ()
    assert world.used() == 0


async def test_one_elsewhere_is_removed_before_the_new_one_begins() -> None:
    world = World()
    world.runtime.go.set()
    world.runtime.failures = 1
    await world.lose()
    await world.sweep()
    elsewhere = request(vswitches=(VSwitchId("other"),))
    assert (await refusal(world.unrecorded.claim(elsewhere))).code is CloudCode.UNAVAILABLE
    assert world.used() == 1
    assert await world.unrecorded.claim(elsewhere) == ()
    assert (world.used(), await world.runtime.relist()) == (0, [])


@pytest.mark.parametrize("ended", [False, True])
async def test_what_runs_without_a_network_is_not_taken_over_what_has_ended_is(ended: bool) -> None:
    world = World()
    world.runtime.go.set()
    await world.lose()
    container = ContainerSpec(name="main", image="busybox")
    await world.runtime.start_container(RunSpec(uid=UID, zone=ZONE.id, attempt=0, container=container))
    if ended:
        await world.runtime.stop_container(UID, "main", 0, 1)
    await world.runtime.release_sandbox(UID)
    await world.sweep()
    found = await world.unrecorded.claim(request())
    assert [(one.name, one.exited) for one in found] == ([("main", True)] if ended else [])
    assert world.runtime.begun.is_set() is not ended


class OldList(SimulatedRuntime):
    """A list that takes long, and tells what was there when it was asked for."""

    def __init__(self, clock: LoopClock) -> None:
        super().__init__(clock)
        self.asked = asyncio.Event()
        self.go = asyncio.Event()

    async def relist(self) -> Sequence[Seen]:
        seen = await super().relist()
        self.asked.set()
        await self.go.wait()
        return seen


def entry(uid: PodUid) -> Entry:
    one = InstanceRequest(
        uid=uid,
        zone=ZONE.id,
        name="pod",
        namespace="default",
        containers=(ContainerSpec(name="main", image="busybox"),),
    )
    return Entry(InstanceMachine(one, instance_id(uid), 0.0), 1, b"")


@pytest.mark.parametrize("known_before", [True, False], ids=["forgotten meanwhile", "nobody's"])
async def test_what_is_forgotten_while_the_list_is_made_is_no_orphan(*, known_before: bool) -> None:
    clock = LoopClock()
    runtime = OldList(clock)
    await runtime.create_sandbox(SANDBOX)
    entries = {UID: entry(UID)} if known_before else {}
    looks = Looks(runtime, clock, entries, lambda *_: None, lambda *_: None)
    async with asyncio.TaskGroup() as group:
        listing = group.create_task(looks.relist())
        await runtime.asked.wait()
        entries.clear()
        runtime.go.set()
    assert [one.uid for one in listing.result()] == ([] if known_before else [UID])
