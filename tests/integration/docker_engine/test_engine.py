"""A sandbox at a fixed address with a container that joins it, on a real engine, and nothing left afterwards."""

from collections.abc import AsyncIterator

import pytest
from aiodocker import Docker

from provider.cloud.runtime.base import FaultKind, RunSpec, RuntimeFault, SandboxSpec
from provider.cloud.runtime.docker_engine.container_config import container_config, sandbox_config
from provider.cloud.runtime.docker_engine.engine import Engine
from provider.cloud.runtime.docker_engine.labels import ContainerLabels, decode
from provider.cloud.runtime.docker_engine.naming import container_name, sandbox_name
from provider.cloud.runtime.docker_engine.states import seen_container
from provider.model.ids import PodUid, VSwitchId, ZoneId
from provider.model.request import ContainerSpec
from tests.support.names import own_name

pytestmark = pytest.mark.integration

ADDRESS = "10.213.77.9"
UID = PodUid("u-1")


@pytest.fixture
async def client() -> AsyncIterator[Docker]:
    async with Docker(url="unix:///var/run/docker.sock") as opened:
        yield opened


@pytest.fixture
async def installation(client: Docker) -> AsyncIterator[str]:
    name = own_name("engine")
    pool = {"Subnet": "10.213.77.0/24", "Gateway": "10.213.77.253"}
    network = await client.networks.create({"Name": name, "Driver": "bridge", "IPAM": {"Config": [pool]}})
    yield name
    engine = Engine(client, name)
    for row in await engine.relist():
        await engine.remove(row["Id"])
    await network.delete()


def run(*command: str) -> RunSpec:
    container = ContainerSpec(name="main", image="busybox:latest", command=command)
    return RunSpec(uid=UID, zone=ZoneId("zone-a"), attempt=0, container=container)


async def sandbox(engine: Engine, installation: str) -> str:
    spec = SandboxSpec(
        uid=UID,
        zone=ZoneId("zone-a"),
        vswitch=VSwitchId("vsw-0"),
        address=ADDRESS,
        name="p",
        namespace="ns",
        hostname="p",
    )
    name = sandbox_name(installation, UID)
    await engine.create(name, sandbox_config(installation, spec, "zonelet/pause:1", installation))
    await engine.start(name, FaultKind.SANDBOX)
    return name


async def test_life_of_a_sandbox_and_a_container(client: Docker, installation: str) -> None:
    engine = Engine(client, installation)
    pause = await sandbox(engine, installation)
    assert await sandbox(engine, installation) == pause
    main = container_name(installation, UID, "main", 0)
    spec = run("sh", "-c", f"ip -4 addr | grep -q {ADDRESS}/24 && exit 7")
    made = await engine.create(main, container_config(installation, spec, pause))
    assert await engine.create(main, container_config(installation, spec, pause)) == made
    await engine.start(main)
    await client.containers.container(main).wait()
    inspected = await engine.inspect(main)
    assert inspected is not None
    labels = decode(inspected["Config"]["Labels"], installation)
    assert isinstance(labels, ContainerLabels)
    seen = seen_container(inspected, labels)
    assert (seen.exited, seen.exit_code, seen.container_id) == (True, 7, f"docker://{made}")
    assert len(await engine.relist()) == 2
    for name in (pause, main, pause, main):
        await engine.remove(name)
    assert await engine.relist() == []
    assert await engine.inspect(pause) is None


async def test_a_missing_binary_is_a_start_error(client: Docker, installation: str) -> None:
    engine = Engine(client, installation)
    pause = await sandbox(engine, installation)
    main = container_name(installation, UID, "main", 0)
    await engine.create(main, container_config(installation, run("/no/such"), pause))
    with pytest.raises(RuntimeFault, match="no such file") as caught:
        await engine.start(main)
    assert caught.value.kind is FaultKind.START
    inspected = await engine.inspect(main)
    assert inspected is not None
    labels = decode(inspected["Config"]["Labels"], installation)
    assert isinstance(labels, ContainerLabels)
    seen = seen_container(inspected, labels)
    assert (seen.exited, seen.exit_code, seen.started_at) == (True, 128, None)


async def test_stop_with_grace(client: Docker, installation: str) -> None:
    engine = Engine(client, installation)
    pause = await sandbox(engine, installation)
    await engine.stop(pause, 5)
    await engine.stop(pause, 5)
    await engine.stop("unknown-" + installation, 5)
    inspected = await engine.inspect(pause)
    assert inspected is not None
    assert inspected["State"]["Running"] is False


async def test_an_image_that_is_not_there(client: Docker, installation: str) -> None:
    body = sandbox_config(
        installation,
        SandboxSpec(
            uid=UID, zone=ZoneId("z"), vswitch=VSwitchId("v"), address=ADDRESS, name="p", namespace="n", hostname="p"
        ),
        "zonelet/none:0",
        installation,
    )
    with pytest.raises(RuntimeFault, match="No such image") as caught:
        await Engine(client, installation).create(sandbox_name(installation, UID), body)
    assert caught.value.kind is FaultKind.CREATE
