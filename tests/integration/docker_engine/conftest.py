"""A DockerRuntime on the machine's real engine, on one plain network, with everything of it gone afterwards."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiodocker import Docker

from provider.clock import SystemClock
from provider.cloud.backend import LogOptions
from provider.cloud.runtime.base import RunSpec, SandboxSpec, SeenContainer
from provider.cloud.runtime.docker_engine.cgroups import host_hierarchies, remove_tree
from provider.cloud.runtime.docker_engine.client import open_client
from provider.cloud.runtime.docker_engine.engine import Engine
from provider.cloud.runtime.docker_engine.host_mounts import mounts_below, unmount
from provider.cloud.runtime.docker_engine.runtime import DockerRuntime
from provider.model.capacity import Zone
from provider.model.ids import PodUid, VSwitchId, ZoneId
from provider.model.request import ContainerSpec
from tests.support.names import own_name

SUBNET, GATEWAY = "10.213.100.0/24", "10.213.100.1"
ZONE = ZoneId("zone-a")


class OneNetwork:
    """What the runtime asks of ZoneNetworks to make sandboxes: one network for all."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.zones: list[Zone] = []

    async def ensure(self, zones: list[Zone]) -> None:
        self.zones = list(zones)

    def network_of(self, zone: ZoneId, vswitch: VSwitchId) -> str:
        return self.name

    def node_address(self, zone: ZoneId) -> str | None:
        return None


@pytest.fixture
async def client() -> AsyncIterator[Docker]:
    async with open_client("unix:///var/run/docker.sock") as opened:
        yield opened


@pytest.fixture
async def plain_network(client: Docker) -> AsyncIterator[str]:
    name = own_name("docker")
    pool = {"Subnet": SUBNET, "Gateway": GATEWAY}
    network = await client.networks.create({"Name": name, "Driver": "bridge", "IPAM": {"Config": [pool]}})
    yield name
    await network.delete()


@pytest.fixture
async def installation(client: Docker, plain_network: str, tmp_path: Path) -> AsyncIterator[str]:
    """The name of an installation of which nothing is left afterwards, whatever a test did."""
    name = plain_network
    yield name
    engine = Engine(client, name)
    for row in await engine.relist():
        await engine.remove(row["Id"])
    assert remove_tree(host_hierarchies(), f"zonelet-{name}")
    for point in mounts_below(tmp_path):
        unmount(point)


@pytest.fixture
async def make_runtime(client: Docker, installation: str, tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Start runtimes of the same installation, as after a restart of the provider."""
    made: list[DockerRuntime] = []

    async def make(**arguments: Any) -> DockerRuntime:
        networks: Any = OneNetwork(installation)
        runtime = DockerRuntime(client, installation, tmp_path, networks, clock=SystemClock(), **arguments)
        await runtime.start([])
        made.append(runtime)
        return runtime

    yield make
    for runtime in made:
        await runtime.close()


@pytest.fixture
async def runtime(make_runtime: Callable[..., Any]) -> DockerRuntime:
    made: DockerRuntime = await make_runtime()
    return made


@pytest.fixture
def sandbox_spec() -> Callable[..., SandboxSpec]:
    def make(uid: str = "u-1", host: int = 9, **fields: Any) -> SandboxSpec:
        return SandboxSpec(
            uid=PodUid(uid),
            zone=ZONE,
            vswitch=VSwitchId("vsw-0"),
            address=f"10.213.100.{host}",
            name="pod",
            namespace="default",
            hostname="pod",
            **fields,
        )

    return make


@pytest.fixture
def run_spec() -> Callable[..., RunSpec]:
    def make(*command: str, uid: str = "u-1", name: str = "main", attempt: int = 0, **fields: Any) -> RunSpec:
        env = fields.pop("env", ())
        container = ContainerSpec(name=name, image="busybox:latest", command=command or None, **fields)
        return RunSpec(uid=PodUid(uid), zone=ZONE, attempt=attempt, container=container, env=env)

    return make


@pytest.fixture
def ended(runtime: DockerRuntime) -> Callable[..., Awaitable[SeenContainer]]:
    """Wait for an attempt's end by hints and inspect, as the supervisor does."""

    async def wait(name: str = "main", attempt: int = 0, uid: str = "u-1") -> SeenContainer:
        hints = runtime.hints()
        try:
            async with asyncio.timeout(60):
                while True:
                    seen = await runtime.inspect(PodUid(uid))
                    for one in () if seen is None else seen.containers:
                        if (one.name, one.attempt) == (name, attempt) and one.exited:
                            return one
                    await anext(hints)
        finally:
            await hints.aclose()

    return wait


@pytest.fixture
def output(runtime: DockerRuntime) -> Callable[..., Awaitable[str]]:
    async def read(name: str = "main", attempt: int = 0, **options: Any) -> str:
        logs = runtime.logs(PodUid("u-1"), name, attempt, LogOptions(**options))
        return b"".join([data async for data in logs]).decode()

    return read


@pytest.fixture
def run(
    runtime: DockerRuntime,
    shell: Callable[..., RunSpec],
    ended: Callable[..., Awaitable[SeenContainer]],
    output: Callable[..., Awaitable[str]],
) -> Callable[..., Awaitable[str]]:
    """Run a script to its good end in an instance that is there, and return what it printed."""

    async def act(script: str, **fields: Any) -> str:
        spec = shell(script, **fields)
        await runtime.start_container(spec)
        end = await ended(spec.container.name, spec.attempt, spec.uid)
        said = await output(spec.container.name, spec.attempt)
        assert end.exit_code == 0, said
        return said

    return act


@pytest.fixture
def shell(run_spec: Callable[..., RunSpec]) -> Callable[..., RunSpec]:
    def make(script: str, **fields: Any) -> RunSpec:
        return run_spec("sh", "-c", script, **fields)

    return make
