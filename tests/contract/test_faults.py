"""Whatever fails, and wherever: the cloud goes on, what it tells is what there is, and nothing is left over.

One small story is told again and again, each time with the next write of the journal, or call of the runtime, failing,
until one ends without a failure. Time is the loop's, so that pauses cost nothing.
"""

from __future__ import annotations

import asyncio
from random import Random  # noqa: TID251 (seeded)
from typing import TYPE_CHECKING

import pytest

from provider.clock import LoopClock
from provider.cloud.instances.journal import Journal
from provider.cloud.runtime.simulated import SimulatedRuntime
from provider.model.instance import InstancePhase
from provider.model.request import ContainerKind, InstanceRequest
from provider.model.volume import FileEntry, FilesVolume, VolumeMount
from tests.contract.faulty_cloud import (
    OF_ALL,
    OF_ONE_INSTANCE,
    Cloud,
    Death,
    Fault,
    FaultyJournal,
    FaultyRuntime,
    Storm,
    Story,
    a_request,
    away,
    bug,
    cloud_over,
    every_fault,
    refused,
)
from tests.support.cloud_worlds import ZONE, container_that

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.looptime


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
async def test_a_write_of_the_journal_may_fail_anywhere(tmp_path: Path, done: bool) -> None:
    async def tell(number: int) -> bool:
        clock = LoopClock()
        runtime, story = SimulatedRuntime(clock), Story()
        fault = Fault(number, refused, done)
        with FaultyJournal(tmp_path / str(number) / "journal.sqlite", fault) as journal:
            async with cloud_over(runtime, runtime, journal, clock) as cloud:
                await story.begin(cloud)
                fault.armed = True
                await story.tell(cloud)
                fault.armed = False
                await story.end(cloud)
                assert cloud.crashes == []
            return fault.happened

    assert await every_fault(tell) > 15


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
async def test_the_process_may_die_at_any_write_of_the_journal(tmp_path: Path, done: bool) -> None:
    async def tell(number: int) -> bool:
        clock = LoopClock()
        runtime, story = SimulatedRuntime(clock), Story()
        path, fault = tmp_path / str(number) / "journal.sqlite", Fault(number, Death, done)
        with FaultyJournal(path, fault) as journal:
            async with cloud_over(runtime, runtime, journal, clock) as cloud:
                await story.begin(cloud)
                fault.armed = True
                with_death = asyncio.get_running_loop().create_task(story.tell(cloud))
                dying = asyncio.get_running_loop().create_task(cloud.died.wait())
                await asyncio.wait({with_death, dying}, return_when=asyncio.FIRST_COMPLETED)
                for task in (with_death, dying):
                    task.cancel()
                answers = await asyncio.gather(with_death, dying, return_exceptions=True)
                if not fault.happened:
                    assert answers[0] is None
                    return False
        with Journal(path) as journal_after:
            async with cloud_over(runtime, runtime, journal_after, clock) as cloud:
                await story.tell(cloud)
                await story.end(cloud)
                assert cloud.crashes == []
        return True

    assert await every_fault(tell) > 15


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("acts", "crashes", "least"), [(OF_ONE_INSTANCE, False, 16), (OF_ALL, True, 2)], ids=["of one instance", "of all"]
)
async def test_a_bug_in_any_act_ends_nothing_else(
    tmp_path: Path, acts: frozenset[str], *, crashes: bool, least: int, done: bool
) -> None:
    """A bug in an act for all may end the cloud's life; the next one goes on."""

    async def tell(number: int) -> bool:
        clock, fault = LoopClock(), Fault(number, bug, done)
        real, story = SimulatedRuntime(clock), Story()
        runtime = FaultyRuntime(real, acts, fault)
        with Journal(tmp_path / str(number) / "journal.sqlite") as journal:
            async with cloud_over(runtime, real, journal, clock) as cloud:
                await story.begin(cloud)
                fault.armed = True
                await story.tell(cloud)
                fault.armed = False
                await story.end(cloud)
                assert crashes or cloud.crashes == []
        return fault.happened

    assert await every_fault(tell) >= least


class Crowd:
    """Twelve pods, of which the zone's smallest vSwitch takes four at a time; some are told to end before they are done."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.requests = [
            a_request(
                container_that("first", "busybox", None, kind=ContainerKind.INIT),
                container_that("main", "busybox", 5.0, mounts=(VolumeMount("files", "/files"),)),
                seconds=5.0,
                vswitches=(ZONE.vswitches[0].id,),
                volumes=(FilesVolume("files", (FileEntry("a", b"1"),)),),
            )
            for _ in range(12)
        ]

    async def live(self, cloud: Cloud) -> None:
        async with asyncio.TaskGroup() as group:
            for request in self.requests:
                group.create_task(self._one(cloud, request, ends_by_itself=self._random.random() < 0.7))

    async def _one(self, cloud: Cloud, request: InstanceRequest, *, ends_by_itself: bool) -> None:
        uid, backend = request.uid, cloud.backend
        await cloud.clock.sleep(self._random.uniform(0, 10))
        await cloud.surely(lambda: backend.create_instance(request))
        if not ends_by_itself:
            await cloud.clock.sleep(self._random.uniform(0, 30))
            await cloud.surely(lambda: backend.update_files(uid, "files", (FileEntry("a", b"2"),)))
            await cloud.surely(lambda: backend.delete_instance(uid, 2.0))
        ended = await cloud.until(uid, lambda one: one.released, patience=7_200)
        assert all(one.restarts == 0 for one in ended.containers), ended
        if ends_by_itself:
            assert ended.phase is InstancePhase.SUCCEEDED, ended
        seen = await cloud.runtime.inspect(uid)
        assert seen is None or not any(one.running for one in seen.containers)
        await cloud.surely(lambda: backend.forget_instance(uid))


@pytest.mark.parametrize("seed", range(6))
async def test_in_a_storm_of_failures_every_pod_comes_to_its_end_once(tmp_path: Path, seed: int) -> None:
    random, clock = Random(seed), LoopClock()
    disk, engine = Storm(random, [refused]), Storm(random, [bug, away])
    real, crowd = SimulatedRuntime(clock, start_seconds=0.5), Crowd(random)
    runtime = FaultyRuntime(real, OF_ONE_INSTANCE | OF_ALL, engine)
    with FaultyJournal(tmp_path / "journal.sqlite", disk) as journal:
        async with cloud_over(runtime, real, journal, clock) as cloud:
            disk.armed = engine.armed = True
            await crowd.live(cloud)
            disk.armed = engine.armed = False
            (zone,) = await cloud.surely(cloud.backend.describe_zones)
            assert (zone.instances, zone.waiting, sum(one.used for one in zone.vswitches)) == (0, 0, 0)
            assert await cloud.surely(cloud.backend.describe_instances) == []
            assert await real.relist() == []
    assert min(disk.calls, engine.calls) > 100
