"""A provider that dies at any act: the next one takes over what is there, and every attempt runs once."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from provider.clock import SystemClock
from provider.cloud.runtime.simulated import SimulatedRuntime
from provider.model.instance import InstancePhase
from provider.model.request import ContainerKind
from tests.support.cloud_worlds import ZONE, BackendWorld, RuntimeWorld, addresses, local_backend, watched

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from provider.model.request import InstanceRequest

ACTS = (
    "ensure_image",
    "create_sandbox",
    "start_container",
    "stop_container",
    "release_sandbox",
    "remove_instance",
)
MOST_CALLS = {"ensure_image": 4, "start_container": 4}


class Dying:
    """A runtime whose caller dies at the nth call of one act: just before it is done, or just after."""

    def __init__(self, runtime: SimulatedRuntime, act: str, number: int, *, done: bool) -> None:
        self._runtime = runtime
        self._act = act
        self._left = number
        self._done = done
        self.died = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        act = getattr(self._runtime, name)
        return self._until_death(act) if name == self._act else act

    def _until_death(self, act: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: Any) -> Any:
            self._left -= 1
            if self._left:
                return await act(*arguments)
            if self._done:
                await act(*arguments)
            self.died.set()
            return await asyncio.get_running_loop().create_future()

        return call


@asynccontextmanager
async def provider(runtime: Any, directory: Path) -> AsyncIterator[BackendWorld]:
    below = RuntimeWorld(runtime, ZONE, addresses())
    async with local_backend(below, directory, SystemClock()) as backend, watched(backend, below) as world:
        yield world


async def forget(world: BackendWorld, request: InstanceRequest) -> None:
    ended = await world.until_instance(request.uid, lambda one: one.released)
    assert ended.phase is InstancePhase.SUCCEEDED
    codes = {one.name: (one.restarts, one.state.exit_code) for one in ended.containers}
    assert codes == {"first": (0, 0), "helper": (0, 143), "main": (0, 0), "other": (0, 0)}
    await world.backend.forget_instance(request.uid)


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("act", "number"), [(act, n + 1) for act in ACTS for n in range(MOST_CALLS.get(act, 1))])
async def test_every_attempt_runs_once_wherever_the_provider_dies(
    tmp_path: Path, act: str, number: int, done: bool
) -> None:
    runtime = SimulatedRuntime(SystemClock())
    dying = Dying(runtime, act, number, done=done)
    async with asyncio.timeout(20):
        async with provider(dying, tmp_path) as world:
            request = world.request(
                world.container("first", kind=ContainerKind.INIT),
                world.container("helper", kind=ContainerKind.SIDECAR),
                world.container("main"),
                world.container("other"),
                seconds=0.05,
            )
            await world.backend.create_instance(request)
            async with asyncio.TaskGroup() as group:
                going = group.create_task(forget(world, request))
                await dying.died.wait()
                going.cancel()
            world.dead = True
        async with provider(runtime, tmp_path) as world:
            if any(one.uid == request.uid for one in await world.backend.describe_instances()):
                assert (await world.backend.create_instance(request)).uid == request.uid
                await forget(world, request)
            (zone,) = await world.backend.describe_zones()
            assert (zone.instances, [one.used for one in zone.vswitches]) == (0, [0, 0])
            assert await runtime.relist() == []
