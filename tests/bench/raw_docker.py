"""The peer: raw calls of the Engine API that make the same containers as a pod of zonelet's.

The bodies are taken from what the engine says of a pod that zonelet runs (sandbox and container, with mounts, cgroup,
network and limits); only names, addresses and the namespaces to join are new. So both sides ask for the same things.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from aiodocker.exceptions import DockerError

from provider.config.load import load
from tests.bench.measure import Burst
from tests.support.names import own_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiodocker import Docker

    from provider.cluster.installation import Installation

LABEL = "dev.zonelet.bench"
_NAME = own_name("bench-raw")
_CONFIG = ("Image", "Env", "Cmd", "Entrypoint", "WorkingDir", "User", "Tty", "OpenStdin", "Hostname", "Healthcheck")


class Template:
    """Bodies of `POST /containers/create`, made from two containers of a running pod."""

    def __init__(self, sandbox: dict[str, Any], container: dict[str, Any]) -> None:
        self._sandbox = sandbox
        self._container = container
        ((self.network, endpoint),) = sandbox["NetworkSettings"]["Networks"].items()
        self.address: str = endpoint["IPAddress"]

    def sandbox(self, address: str) -> dict[str, Any]:
        """Return the body of a sandbox at the address."""
        mac = "02:42:" + ":".join(f"{int(part):02x}" for part in address.split("."))
        endpoints = {self.network: {"IPAMConfig": {"IPv4Address": address}}}
        body = self._body(self._sandbox)
        return {**body, "MacAddress": mac, "NetworkingConfig": {"EndpointsConfig": endpoints}}

    def container(self, sandbox: str) -> dict[str, Any]:
        """Return the body of a container that joins the sandbox."""
        body = self._body(self._container)
        joined = f"container:{sandbox}"
        del body["Hostname"]  # refused beside a joined namespace
        return {**body, "HostConfig": {**body["HostConfig"], "NetworkMode": joined, "IpcMode": joined}}

    @staticmethod
    def _body(inspected: dict[str, Any]) -> dict[str, Any]:
        config = {key: inspected["Config"][key] for key in _CONFIG if inspected["Config"].get(key) is not None}
        return {**config, "Labels": {LABEL: "raw"}, "HostConfig": inspected["HostConfig"]}


async def burst(client: Docker, template: Template, addresses: Sequence[str], in_flight: int) -> Burst:
    """Start one pair for each address, at most `in_flight` at a time; remove all of them again."""
    names = [(f"{_NAME}-{index}-sandbox", f"{_NAME}-{index}-main", address) for index, address in enumerate(addresses)]
    gate = asyncio.Semaphore(in_flight)
    leave = asyncio.Lock()  # engines before 23.0 lock up otherwise: see provider's network_turns
    begun = time.monotonic()

    async def start(sandbox: str, main: str, address: str) -> float:
        async with gate:
            first = await client.containers.create(template.sandbox(address), name=sandbox)
            await first.start()
            second = await client.containers.create(template.container(sandbox), name=main)
            await second.start()
        return time.monotonic() - begun

    async def remove(sandbox: str, main: str, _address: str) -> None:
        async with gate:
            with suppress(DockerError):  # it may not have come so far
                await client.containers.container(main).delete(force=True, v=True)
            async with leave:
                with suppress(DockerError):
                    await client.containers.container(sandbox).delete(force=True, v=True)

    try:
        async with asyncio.TaskGroup() as group:
            starts = [group.create_task(start(*each)) for each in names]
        window = time.monotonic() - begun
    finally:
        begun_removal = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for each in names:
                group.create_task(remove(*each))
        removal = time.monotonic() - begun_removal
    return Burst([task.result() for task in starts], window, removal)


def free_addresses(installation: Installation, used: str, count: int) -> list[str]:
    """Return addresses of the block that has `used`, to which zonelet, which begins at the low end, does not come."""
    zones = load(installation.provider_config).zones
    blocks = [ip_network(switch.cidr) for zone in zones for switch in zone.v_switches]
    block = next(each for each in blocks if ip_address(used) in each)
    return [str(block[block.num_addresses // 2 + index]) for index in range(count)]
