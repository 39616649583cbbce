"""A provider that dies at any request to the engine: the next one takes over, and every container starts once."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from enum import StrEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiodocker import Docker

from provider.clock import SystemClock
from provider.cloud.backend import LogOptions
from provider.cloud.runtime.docker_engine.client import json_lines, stream
from provider.cloud.runtime.docker_engine.labels import INSTALLATION
from provider.cloud.runtime.docker_engine.runtime import DockerRuntime
from provider.model.capacity import VSwitch, Zone
from provider.model.ids import VSwitchId
from provider.model.instance import InstancePhase
from provider.model.request import InstanceRequest
from tests.integration.docker_engine.conftest import ZONE, OneNetwork
from tests.support.cloud_worlds import (
    BackendWorld,
    RuntimeWorld,
    addresses,
    container_status,
    local_backend,
    watched,
)

pytestmark = pytest.mark.integration

SOCKET = "/var/run/docker.sock"
PLACE = Zone(id=ZONE, cpu=4_000, memory=4 << 30, vswitches=(VSwitch(VSwitchId("vsw-0"), "10.213.100.128/25"),))
"""The upper half of the test network: the lower one begins with the engine's own address."""


class Moment(StrEnum):
    """When, in a request, the provider dies."""

    BEFORE = "before"
    ON_THE_WAY = "on-the-way"
    AFTER = "after"


class Death:
    """Dies at the nth request of an act of Engine, at a moment of it."""

    def __init__(self, act: str, number: int, moment: Moment) -> None:
        self._act = act
        self._left = number
        self._moment = moment
        self._sent = asyncio.Event()
        self.died = asyncio.Event()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Docker]:
        """Open a client that notes when a request is on its way."""
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(self._note)
        connector = aiohttp.UnixConnector(SOCKET, limit=0)
        async with (
            aiohttp.ClientSession(connector=connector, trace_configs=[trace]) as session,
            Docker(f"unix://{SOCKET}", session=session) as client,
        ):
            yield client

    def arm(self, runtime: DockerRuntime) -> None:
        setattr(runtime._engine, self._act, self._until_death(getattr(runtime._engine, self._act)))

    def _until_death(self, act: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: Any) -> Any:
            self._left -= 1
            if self._left:
                return await act(*arguments)
            match self._moment:
                case Moment.ON_THE_WAY:
                    self._sent.clear()
                    async with asyncio.TaskGroup() as group:
                        going = group.create_task(act(*arguments))
                        await self._sent.wait()
                        going.cancel()
                case Moment.AFTER:
                    await act(*arguments)
            self.died.set()
            return await asyncio.get_running_loop().create_future()

        return call

    async def _note(self, session: aiohttp.ClientSession, context: SimpleNamespace, sent: Any) -> None:
        self._sent.set()


@asynccontextmanager
async def provider(
    client: Docker, name: str, directory: Path, death: Death | None = None
) -> AsyncIterator[BackendWorld]:
    networks: Any = OneNetwork(name)
    runtime = DockerRuntime(client, name, directory, networks, clock=SystemClock())
    if death is not None:
        death.arm(runtime)
    below = RuntimeWorld(runtime, PLACE, addresses(), image="busybox:latest", real=True)
    async with local_backend(below, directory, SystemClock()) as backend, watched(backend, below) as world:
        yield world


async def to_the_end(world: BackendWorld, request: InstanceRequest, said: list[bytes]) -> None:
    """Wait for the end as the controller of pods does, note what the container has said, and forget the instance."""
    ended = await world.until_instance(request.uid, lambda one: one.released, 60)
    main = container_status(ended, "main")
    assert (ended.phase, main.restarts, main.state.exit_code) == (InstancePhase.FAILED, 0, 7)
    said.append(b"".join([piece async for piece in world.backend.logs(request.uid, "main", LogOptions())]))
    await world.backend.forget_instance(request.uid)


async def starts(client: Docker, name: str, since: float) -> list[str]:
    """Return the names of the installation's containers that the engine has started since, one for each start."""
    filters = {"type": ["container"], "event": ["start"], "label": [f"{INSTALLATION}={name}"]}
    until = SystemClock().now()
    parameters = {"filters": json.dumps(filters), "since": f"{since:.9f}", "until": f"{until:.9f}"}
    async with stream(client, "GET", "events", parameters) as response, aclosing(json_lines(response)) as events:
        return [str(event["Actor"]["Attributes"]["name"]) async for event in events]


@pytest.mark.parametrize("moment", Moment)
@pytest.mark.parametrize(
    ("act", "number"),
    [("make", 1), ("make", 2), ("start", 1), ("start", 2), ("remove", 1), ("remove", 2)],
    ids=["make-sandbox", "make-main", "start-sandbox", "start-main", "remove-sandbox", "remove-main"],
)
async def test_every_container_starts_once_wherever_the_provider_dies(
    client: Docker, installation: str, tmp_path: Path, act: str, number: int, moment: Moment
) -> None:
    death = Death(act, number, moment)
    begun = SystemClock().now()
    said: list[bytes] = []
    async with asyncio.timeout(90):
        async with death.client() as dying, provider(dying, installation, tmp_path, death) as world:
            request = world.request(seconds=0.2, code=7)
            await world.backend.create_instance(request)
            async with asyncio.TaskGroup() as group:
                going = group.create_task(to_the_end(world, request, said))
                await death.died.wait()
                going.cancel()
            world.dead = True
        async with provider(client, installation, tmp_path) as world:
            if any(one.uid == request.uid for one in await world.backend.describe_instances()):
                assert (await world.backend.create_instance(request)).uid == request.uid
                await to_the_end(world, request, said)
            (zone,) = await world.backend.describe_zones()
            assert (zone.instances, [one.used for one in zone.vswitches]) == (0, [0])
            assert await world.below.runtime.relist() == []
    assert b"begun\n" in said
    assert set(said) <= {b"begun\n", b""}, "the log went with the container, once it had been forgotten"
    started = await starts(client, installation, begun)
    assert len(started) == len(set(started)) == 2, started
