"""A vSwitch's network and sockets in a container's namespace, on a real engine."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiodocker import Docker

from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.cloud.runtime.docker_engine.engine import Engine
from provider.cloud.runtime.docker_engine.labels import Role, encode_zone
from provider.cloud.runtime.docker_engine.network import ensure_network, vswitch_network
from provider.cloud.runtime.docker_engine.network_namespace import connected_socket, listening_socket
from provider.model.capacity import VSwitch
from provider.model.ids import VSwitchId, ZoneId
from tests.support.names import own_name

pytestmark = pytest.mark.integration

ZONE = ZoneId("zone-a")


@pytest.fixture
async def client() -> AsyncIterator[Docker]:
    async with Docker(url="unix:///var/run/docker.sock") as opened:
        yield opened


async def test_a_network_is_made_once_and_never_with_another_block(client: Docker) -> None:
    installation = own_name("engine")
    body = vswitch_network(installation, ZONE, VSwitch(VSwitchId("vsw-0"), "10.213.78.0/24"))
    made = await ensure_network(client, body)
    try:
        assert await ensure_network(client, body) == made
        other = vswitch_network(installation, ZONE, VSwitch(VSwitchId("vsw-0"), "10.213.79.0/24"))
        with pytest.raises(RuntimeFault, match=r"10\.213\.78\.0/24") as caught:
            await ensure_network(client, other)
        assert caught.value.kind is FaultKind.CONFIG
    finally:
        await (await client.networks.get(made)).delete()


async def test_a_socket_in_a_containers_namespace(client: Docker) -> None:
    installation = own_name("engine")
    engine = Engine(client, installation)
    name = f"{installation}-gateway"
    labels = encode_zone(installation, Role.GATEWAY, ZONE)
    config = {"Image": "zonelet/pause:1", "Labels": labels, "HostConfig": {"NetworkMode": "none"}}
    await engine.create(name, config)
    try:
        await engine.start(name)
        inspected = await engine.inspect(name)
        assert inspected is not None
        pid = inspected["State"]["Pid"]
        with await asyncio.to_thread(listening_socket, pid, "127.0.0.1", 10250) as listening:
            with await connected_socket(pid, "127.0.0.1", 10250, 5) as connected:
                assert connected.getpeername() == listening.getsockname() == ("127.0.0.1", 10250)
            with pytest.raises(OSError, match="in use"):
                await asyncio.to_thread(listening_socket, pid, "127.0.0.1", 10250)
    finally:
        await engine.remove(name)
