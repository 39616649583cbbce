"""An engine that goes away in the middle: everything waits and goes on, and nothing is run twice."""

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from provider.clock import SystemClock
from provider.cloud.backend import LogOptions
from provider.cloud.runtime.docker_engine.cgroups import host_hierarchies, remove_tree
from provider.cloud.runtime.docker_engine.client import open_client
from provider.cloud.runtime.docker_engine.engine import Engine
from provider.cloud.runtime.docker_engine.host_mounts import mounts_below, unmount
from provider.cloud.runtime.docker_engine.runtime import DockerRuntime
from provider.model.instance import Instance, InstancePhase
from provider.model.request import RestartPolicy
from tests.integration.docker_engine.conftest import OneNetwork
from tests.support.cloud_worlds import (
    ZONE,
    BackendWorld,
    RuntimeWorld,
    addresses,
    container_status,
    local_backend,
    watched,
)
from tests.support.names import own_name
from tests.support.own_engine import OwnEngine, own_engine

pytestmark = pytest.mark.integration

Worlds = Callable[..., AbstractAsyncContextManager[BackendWorld]]
ENDS = {(InstancePhase.SUCCEEDED, 0), (InstancePhase.FAILED, 143), (InstancePhase.FAILED, 137)}


@pytest.fixture
def installation() -> str:
    return own_name("away")


@pytest.fixture(params=[True, False], ids=["live-restore", "plain"])
async def engine(request: pytest.FixtureRequest, tmp_path: Path, installation: str) -> AsyncIterator[OwnEngine]:
    """An engine with one network of the zone's blocks, of which nothing is left."""
    async with own_engine(live_restore=request.param) as made:
        async with open_client(made.address) as client:
            pool = [{"Subnet": "10.211.0.0/23", "Gateway": "10.211.0.5"}]
            await client.networks.create({"Name": installation, "Driver": "bridge", "IPAM": {"Config": pool}})
        yield made
        if not made.runs:
            await made.start()
        async with open_client(made.address) as client:
            for row in await Engine(client, installation).relist():
                await Engine(client, installation).remove(row["Id"])
            await (await client.networks.get(installation)).delete()
    assert remove_tree(host_hierarchies(), f"zonelet-{installation}")
    for point in mounts_below(tmp_path):
        unmount(point)


@pytest.fixture
def provider(engine: OwnEngine, installation: str, tmp_path: Path) -> Worlds:
    """Start a provider of the same installation, as often as a test wants one."""

    @asynccontextmanager
    async def make() -> AsyncIterator[BackendWorld]:
        clock = SystemClock()
        networks: Any = OneNetwork(installation)
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(open_client(engine.address))
            runtime = DockerRuntime(client, installation, tmp_path, networks, clock=clock)
            below = RuntimeWorld(runtime, ZONE, addresses(), image="busybox:latest", real=True)
            backend = await stack.enter_async_context(local_backend(below, tmp_path, clock))
            yield await stack.enter_async_context(watched(backend, below))

    return make


def running(instance: Instance) -> bool:
    return instance.phase is InstancePhase.RUNNING


def released(instance: Instance) -> bool:
    return instance.released


async def said(world: BackendWorld, instance: Instance) -> bytes:
    return b"".join([piece async for piece in world.backend.logs(instance.uid, "main", LogOptions())])


async def away(world: BackendWorld) -> None:
    """Wait until the provider has noticed."""
    clock = SystemClock()
    while (health := await world.backend.health()).healthy:
        await clock.sleep(0.1)
    assert health.message


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
async def test_what_was_asked_for_meanwhile_is_done_once_afterwards(
    engine: OwnEngine, provider: Worlds, how: signal.Signals
) -> None:
    async with provider() as world:
        job, steady = world.request(seconds=3), world.request(policy=RestartPolicy.ALWAYS)
        for request in (job, steady):
            await world.backend.create_instance(request)
        await world.until_instance(job.uid, running)
        before = container_status(await world.until_instance(steady.uid, running), "main")
        crowd = [world.request(seconds=0.5) for _ in range(6)]
        for request in crowd:
            await world.backend.create_instance(request)
        await engine.end(how)
        await away(world)
        late = world.request(seconds=0.5)
        await world.backend.create_instance(late)
        if engine.live_restore or how is signal.SIGKILL:  # an engine that is stopped may still tell what it ended
            assert not any(one.phase is InstancePhase.FAILED for one in await world.backend.describe_instances())
        await engine.start()
        for request in [job, *crowd, late]:
            ended = await world.until_instance(request.uid, released, 60)
            main = container_status(ended, "main")
            assert main.restarts == 0
            once = await said(world, ended)
            if engine.live_restore or request is late:
                assert ended.phase is InstancePhase.SUCCEEDED
                assert once == b"begun\n"
            else:  # what ran ended with its engine
                assert (ended.phase, main.state.exit_code) in ENDS
                assert once in {b"begun\n", b""}
        if engine.live_restore:
            assert container_status(await world.backend.describe_instance(steady.uid), "main") == before
        else:
            again = await world.until_instance(steady.uid, lambda one: running(one) and restarts(one) > 0, 60)
            assert restarts(again) == 1
            assert container_status(again, "main").state.container_id != before.state.container_id
        assert (await world.backend.health()).healthy


def restarts(instance: Instance) -> int:
    return container_status(instance, "main").restarts
