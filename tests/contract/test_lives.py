"""A cloud that ends by a bug and is run again in the same process: it begins anew, and nothing of it stays half dead."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing
from random import Random  # noqa: TID251 (seeded)
from typing import TYPE_CHECKING, Any, cast

import pytest

from provider.clock import SystemClock
from provider.cloud.instances.journal import Journal
from provider.cloud.local import LocalBackend
from provider.model.errors import CloudCode, CloudError
from provider.model.instance import Instance, InstancePhase, Synced
from provider.rpc.client import RemoteBackend
from provider.rpc.health_check import check_health
from provider.rpc.server import serve
from tests.support.cloud_worlds import RuntimeWorld, watched

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
    from pathlib import Path

    from provider.cloud.backend import ElasticBackend
    from provider.cloud.runtime.base import ContainerRuntime, RunSpec, SeenContainer
    from provider.model.ids import PodUid


class Breakable:
    """A runtime that raises what no runtime may, once, when it is told to; starts and removals wait while it holds."""

    def __init__(self, runtime: ContainerRuntime) -> None:
        self._runtime = runtime
        self._broken = asyncio.Event()
        self._free = asyncio.Event()
        self._free.set()
        self.held: asyncio.Queue[str] = asyncio.Queue()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    def crash(self) -> None:
        self._broken.set()

    def hold(self) -> None:
        self._free.clear()

    def go_on(self) -> None:
        self._free.set()

    async def hints(self) -> AsyncGenerator[PodUid, None]:
        arriving: asyncio.Queue[PodUid] = asyncio.Queue()

        async def follow() -> None:
            async with aclosing(self._runtime.hints()) as hints:
                async for uid in hints:
                    arriving.put_nowait(uid)

        async def fail() -> None:
            await self._broken.wait()
            self._broken.clear()
            raise ValueError("a bug of the runtime")

        async with asyncio.TaskGroup() as group:
            group.create_task(follow())
            group.create_task(fail())
            while True:
                yield await arriving.get()

    async def start_container(self, spec: RunSpec) -> SeenContainer:
        await self._wait("start")
        return await self._runtime.start_container(spec)

    async def remove_instance(self, uid: PodUid) -> None:
        await self._wait("remove")
        await self._runtime.remove_instance(uid)

    async def _wait(self, act: str) -> None:
        if not self._free.is_set():
            self.held.put_nowait(act)
            await self._free.wait()


class Lives:
    """One backend, run again and again."""

    def __init__(self, backend: LocalBackend, below: RuntimeWorld, runtime: Breakable) -> None:
        self.backend = backend
        self.below = below
        self.runtime = runtime
        self._life: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        ready = asyncio.Event()
        self._life = asyncio.get_running_loop().create_task(self.backend.run(ready))
        async with asyncio.timeout(20):
            await ready.wait()

    async def crash(self) -> None:
        assert self._life is not None
        self.runtime.crash()
        with pytest.raises(ExceptionGroup) as caught:
            await self._life
        assert caught.group_contains(ValueError, match="a bug of the runtime")

    async def end(self) -> None:
        assert self._life is not None
        self._life.cancel()
        await asyncio.gather(self._life, return_exceptions=True)


@pytest.fixture
async def lives(idle_runtime: RuntimeWorld, tmp_path: Path) -> AsyncIterator[Lives]:
    runtime = Breakable(idle_runtime.runtime)
    with Journal(tmp_path / "journal.sqlite") as journal:
        backend = LocalBackend(
            [idle_runtime.zone],
            cast("ContainerRuntime", runtime),
            journal,
            clock=SystemClock(),
            random=Random(1),
            grpc=check_health,
            starts_in_flight=2,
        )
        made = Lives(backend, idle_runtime, runtime)
        await made.begin()
        yield made
        await made.end()


def running(instance: Instance) -> bool:
    return instance.phase is InstancePhase.RUNNING


def released(instance: Instance) -> bool:
    return instance.released


async def test_the_second_life_has_timers_and_turns_to_start(lives: Lives) -> None:
    async with watched(lives.backend, lives.below) as world:
        limited = world.request(active_deadline=6.0)
        await world.backend.create_instance(limited)
        await world.until_instance(limited.uid, running)
        lives.runtime.hold()
        others = [world.request() for _ in range(4)]
        for other in others:
            await world.backend.create_instance(other)
        async with asyncio.timeout(20):
            assert [await lives.runtime.held.get() for _ in range(2)] == ["start", "start"]
        await lives.crash()
        world.dead = True
    with pytest.raises(CloudError) as caught:
        await lives.backend.describe_instances()
    assert caught.value.code is CloudCode.UNAVAILABLE
    lives.runtime.go_on()
    await lives.begin()
    async with watched(lives.backend, lives.below) as world:
        for other in others:
            await world.until_instance(other.uid, running)
        ended = await world.until_instance(limited.uid, released)
        assert (ended.phase, ended.reason) == (InstancePhase.FAILED, "DeadlineExceeded")
        late = world.request(active_deadline=1.0)
        await world.backend.create_instance(late)
        await world.until_instance(late.uid, released)


@pytest.mark.parametrize("over", ["local", "remote"])
async def test_who_waits_for_a_life_that_ends_is_told(lives: Lives, tmp_path: Path, over: str) -> None:
    synced = asyncio.Event()

    async def watch(backend: ElasticBackend) -> None:
        async with aclosing(backend.watch()) as changes:
            async for change in changes:
                if isinstance(change, Synced):
                    synced.set()

    async def refusal(awaitable: Awaitable[None]) -> CloudCode:
        with pytest.raises(CloudError) as caught:
            await awaitable
        return caught.value.code

    async with AsyncExitStack() as stack:
        backend: ElasticBackend = lives.backend
        if over == "remote":
            address = await stack.enter_async_context(serve(backend, f"unix:{tmp_path}/elastic.sock"))
            backend = await stack.enter_async_context(RemoteBackend(address))
        world = await stack.enter_async_context(watched(backend, lives.below))
        world.dead = True
        request = world.request(seconds=0.1)
        await backend.create_instance(request)
        await world.until_instance(request.uid, released)
        lives.runtime.hold()
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            waiting = [
                group.create_task(refusal(act)) for act in (backend.forget_instance(request.uid), watch(backend))
            ]
            await synced.wait()
            assert await lives.runtime.held.get() == "remove"
            await lives.crash()
        assert [one.result() for one in waiting] == [CloudCode.UNAVAILABLE] * 2
        lives.runtime.go_on()
        await lives.begin()
        await backend.forget_instance(request.uid)
        assert await backend.describe_instances() == []
