"""A LocalBackend over the machine's real engine, watched, with everything of it gone afterwards."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from provider.clock import SystemClock
from provider.cloud.runtime.docker_engine.client import open_client
from provider.cloud.runtime.docker_engine.engine import Engine
from provider.cloud.runtime.docker_engine.removal import remove_installation
from provider.cloud.runtime.docker_engine.runtime import DockerRuntime, DockerSettings
from provider.cloud.runtime.docker_engine.zone_networks import ZoneNetworks
from provider.model.capacity import VSwitch, Zone
from provider.model.ids import VSwitchId, ZoneId
from tests.support.cloud_worlds import BackendWorld, RuntimeWorld, local_backend, watched
from tests.support.names import own_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

INSTALLATION = own_name("cloud")
ZONE = Zone(id=ZoneId("zone-a"), cpu=8_000, memory=8 << 30, vswitches=(VSwitch(VSwitchId("vsw-a"), "10.217.1.0/24"),))


@pytest.fixture(scope="module")
def zone_networks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Take away at the end of a module the networks that its tests share."""
    yield

    async def remove() -> None:
        async with open_client() as client:
            await remove_installation(client, INSTALLATION, tmp_path_factory.mktemp("cloud"), clock=SystemClock())

    asyncio.run(remove())


@pytest.fixture
def prefer_local(request: pytest.FixtureRequest) -> bool:
    """Whether a local image will do where a registry cannot be reached (imagePull: preferLocal); by default not."""
    return bool(getattr(request, "param", False))


@pytest.fixture
async def world(zone_networks: None, tmp_path: Path, prefer_local: bool) -> AsyncIterator[BackendWorld]:
    """A backend that is ready; the instances that a test leaves are removed one by one."""
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(open_client())
        networks = ZoneNetworks(
            client,
            Engine(client, INSTALLATION, clock),
            INSTALLATION,
            gateway_image="zonelet/gateway:1",
            clock=clock,
            cluster_cidr="10.217.2.0/24",
        )
        runtime = DockerRuntime(
            client,
            INSTALLATION,
            tmp_path,
            networks,
            clock=clock,
            settings=DockerSettings(prefer_local=prefer_local),
        )

        async def remove_all() -> None:
            for seen in await runtime.relist():
                await runtime.remove_instance(seen.uid)

        stack.push_async_callback(remove_all)
        below = RuntimeWorld(runtime, ZONE, iter(()), real=True)
        backend = await stack.enter_async_context(local_backend(below, tmp_path, clock))
        yield await stack.enter_async_context(watched(backend, below))
