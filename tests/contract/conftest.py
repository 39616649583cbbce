"""The worlds that the contract suites run in: one maker per implementation, one line to add another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from provider.clock import Clock, SystemClock
from provider.cloud.backend import ElasticBackend
from provider.cloud.runtime.docker_engine.client import open_client
from provider.cloud.runtime.docker_engine.engine import Engine
from provider.cloud.runtime.docker_engine.removal import remove_installation
from provider.cloud.runtime.docker_engine.runtime import DockerRuntime
from provider.cloud.runtime.docker_engine.zone_networks import ZoneNetworks
from provider.rpc.client import RemoteBackend
from provider.rpc.server import serve
from tests.support.cloud_worlds import (
    ZONE,
    BackendWorld,
    RuntimeWorld,
    addresses,
    local_backend,
    simulated_world,
    watched,
)
from tests.support.names import own_name

if TYPE_CHECKING:
    from provider.cloud.admin import CloudAdmin

ENGINE = "unix:///var/run/docker.sock"
INSTALLATION = own_name("contract")


@asynccontextmanager
async def docker_world(directory: Path) -> AsyncIterator[RuntimeWorld]:
    """The real engine; what all tests of a run share there is the zone's networks and router (`docker_networks`)."""
    clock = SystemClock()
    async with open_client(ENGINE) as client:
        networks = ZoneNetworks(
            client,
            Engine(client, INSTALLATION, clock),
            INSTALLATION,
            gateway_image="zonelet/gateway:1",
            clock=clock,
            cluster_cidr="10.211.2.0/24",
        )
        runtime = DockerRuntime(client, INSTALLATION, directory, networks, clock=clock)
        try:
            yield RuntimeWorld(runtime, ZONE, addresses(), real=True)
        finally:
            for seen in await runtime.relist():
                await runtime.remove_instance(seen.uid)


async def remove_docker_networks(directory: Path) -> None:
    async with open_client(ENGINE) as client:
        await remove_installation(client, INSTALLATION, directory, clock=SystemClock())


@pytest.fixture(scope="session")
def docker_networks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Take away at the end of the run what every `docker_world` finds again."""
    yield
    asyncio.run(remove_docker_networks(tmp_path_factory.mktemp("docker")))


RuntimeMaker = Callable[[Path], AbstractAsyncContextManager[RuntimeWorld]]
RUNTIMES: dict[str, tuple[RuntimeMaker, tuple[pytest.MarkDecorator, ...], str]] = {
    "simulated": (simulated_world, (), ""),
    "docker": (docker_world, (pytest.mark.integration,), "docker_networks"),
}
"""Name -> (maker, marks, fixture of the whole run). A maker's runtime is not started yet; it removes what was made when it is left."""


@asynccontextmanager
async def remote_backend(below: RuntimeWorld, directory: Path, clock: Clock) -> AsyncIterator[ElasticBackend]:
    address = f"unix:{directory}/elastic.sock"
    async with (
        local_backend(below, directory, clock) as backend,
        serve(backend, address, admin=cast("CloudAdmin", backend)),
        RemoteBackend(address) as remote,
    ):
        yield remote


BackendMaker = Callable[[RuntimeWorld, Path, Clock], AbstractAsyncContextManager[ElasticBackend]]
BACKENDS: dict[str, BackendMaker] = {
    "local": local_backend,
    "remote": remote_backend,
}
"""Name -> maker of a backend that is ready over a runtime that is not started yet."""


def runtime_of(request: pytest.FixtureRequest, name: str, directory: Path) -> AbstractAsyncContextManager[RuntimeWorld]:
    maker, _, shared = RUNTIMES[name]
    if shared:
        request.getfixturevalue(shared)
    return maker(directory)


@pytest.fixture(params=[pytest.param(name, marks=marks) for name, (_, marks, _) in RUNTIMES.items()])
async def idle_runtime(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RuntimeWorld]:
    """A runtime that is not started yet, for tests that run a backend of their own over it."""
    async with runtime_of(request, request.param, tmp_path) as world:
        yield world


@pytest.fixture
async def runtime_world(idle_runtime: RuntimeWorld) -> AsyncIterator[RuntimeWorld]:
    """A started runtime, for tests of the runtime alone."""
    world = idle_runtime
    await world.runtime.start([world.zone])
    try:
        yield world
    finally:
        for uid in world.mine:
            await world.runtime.remove_instance(uid)
        await world.runtime.close()


@pytest.fixture(
    params=[
        pytest.param((backend, runtime), marks=marks, id=f"{backend}-{runtime}")
        for runtime, (_, marks, _) in RUNTIMES.items()
        for backend in BACKENDS
        if (backend, runtime) != ("remote", "docker")  # the line's behaviour does not depend on what is below it
    ]
)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BackendWorld]:
    """A backend that is ready and watched."""
    backend_name, runtime_name = request.param
    async with AsyncExitStack() as stack:
        below = await stack.enter_async_context(runtime_of(request, runtime_name, tmp_path))
        backend = await stack.enter_async_context(BACKENDS[backend_name](below, tmp_path, SystemClock()))
        yield await stack.enter_async_context(watched(backend, below))
