"""Zones on a real engine for tests: pods are containers on the vSwitch networks, their programs run in this process."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

from aiodocker import Docker

from provider.clock import SystemClock
from provider.cloud.runtime.docker_engine.engine import Engine
from provider.cloud.runtime.docker_engine.labels import INSTALLATION
from provider.cloud.runtime.docker_engine.network_namespace import connected_socket, listening_socket
from provider.cloud.runtime.docker_engine.zone_networks import ZoneNetworks, remove_networks
from provider.model.capacity import VSwitch, Zone
from provider.model.ids import VSwitchId, ZoneId
from tests.support.names import own_name

CLUSTER = "10.211.200.0/24"
HOST = "10.211.200.1"
A0, A1, B0 = "10.211.204.0/24", "10.211.205.0/24", "10.211.206.0/29"
ZONE_A, ZONE_B = ZoneId("zone-a"), ZoneId("zone-b")
SECONDS = 5.0


def zone(name: str, *cidrs: str) -> Zone:
    switches = tuple(VSwitch(VSwitchId(f"vsw-{name}-{number}"), cidr) for number, cidr in enumerate(cidrs))
    return Zone(id=ZoneId(name), cpu=1000, memory=1 << 30, vswitches=switches)


ZONES = (zone("zone-a", A0, A1), zone("zone-b", B0))


@dataclass
class Pod:
    """A container at a fixed address; `pid` is that of its namespace."""

    client: Docker
    address: str
    pid: int

    async def connect(self, host: str, port: int) -> socket.socket:
        return await connected_socket(self.pid, host, port, SECONDS)

    async def ask(self, host: str, port: int) -> str:
        """Return what a `tells_who_asks` says."""
        return await answer(await self.connect(host, port))


@dataclass
class Engines:
    """One installation on the engine, and what the test made."""

    client: Docker
    installation: str
    containers: list[str] = field(default_factory=list)

    def networks(self, cidr: str | None = CLUSTER, cluster_network: str = "") -> ZoneNetworks:
        """Return what a new process of the provider would have."""
        return ZoneNetworks(
            self.client,
            Engine(self.client, self.installation),
            self.installation,
            cluster_network=cluster_network,
            gateway_image="zonelet/gateway:1",
            clock=SystemClock(),
            cluster_cidr=cidr,
        )

    async def pod(self, network: str, address: str) -> Pod:
        body: dict[str, object] = {
            "Image": "busybox:latest",
            "Cmd": ["sleep", "3600"],
            "HostConfig": {"NetworkMode": network},
            "NetworkingConfig": {"EndpointsConfig": {network: {"IPAMConfig": {"IPv4Address": address}}}},
        }
        return await self._run(body, address)

    async def outsider(self) -> Pod:
        """Return a container on the engine's default bridge: outside, as seen from a zone."""
        return await self.pod_on("bridge")

    async def pod_on(self, network: str) -> Pod:
        """Return a container at an address that the engine chooses."""
        body = {"Image": "busybox:latest", "Cmd": ["sleep", "3600"], "HostConfig": {"NetworkMode": network}}
        made = await self._run(body, "")
        shown = await self.client.containers.container(self.containers[-1]).show()
        return Pod(self.client, shown["NetworkSettings"]["Networks"][network]["IPAddress"], made.pid)

    async def _run(self, body: dict[str, object], address: str) -> Pod:
        container = await self.client.containers.create(body, name=f"{self.installation}-{len(self.containers)}")
        self.containers.append(container.id)
        await container.start()
        return Pod(self.client, address, (await container.show())["State"]["Pid"])

    async def gateway(self, zone_id: ZoneId) -> str:
        """Return the ID of a zone's router."""
        shown = await self.client.containers.container(f"{self.installation}-gateway_{zone_id}").show()
        return str(shown["Id"])

    async def left(self) -> list[str]:
        """Return the names of all networks and containers of the installation."""
        label = {"label": [f"{INSTALLATION}={self.installation}"]}
        rows = await self.client.networks.list(filters=label)
        containers = await Engine(self.client, self.installation).relist()
        return sorted([row["Name"] for row in rows] + [row["Names"][0] for row in containers])


@asynccontextmanager
async def engines() -> AsyncIterator[Engines]:
    """Yield an installation; everything of it is gone afterwards."""
    async with Docker(url="unix:///var/run/docker.sock") as client:
        made = Engines(client, own_name("network"))
        try:
            yield made
        finally:
            for container in made.containers:
                await client.containers.container(container).delete(force=True)
            await remove_networks(client, made.installation)
            assert await made.left() == []


@asynccontextmanager
async def tells_who_asks(listening: socket.socket) -> AsyncIterator[int]:
    """Serve: each line is answered with the client's address. Yields the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _ = writer.get_extra_info("peername")
        while await reader.readline():
            writer.write(f"{host}\n".encode())
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, sock=listening):
        yield listening.getsockname()[1]


async def answer(connected: socket.socket) -> str:
    """Ask once, close, and return the answer."""
    try:
        return await say(connected)
    finally:
        connected.close()


async def say(connected: socket.socket) -> str:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(SECONDS):
        await loop.sock_sendall(connected, b"who?\n")
        return (await loop.sock_recv(connected, 100)).decode().strip()


def served_in(pod: Pod, port: int) -> AbstractAsyncContextManager[int]:
    """Serve `tells_who_asks` in a pod."""
    return tells_who_asks(listening_socket(pod.pid, "0.0.0.0", port))
