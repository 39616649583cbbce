"""Which address blocks are in use around a Docker engine, and by whom, so that zones stay clear of them.

This installation's own networks are left out: they are what the blocks were chosen for.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from provider.cloud.addresses.free_blocks import Occupied, occupied
from provider.cloud.runtime.base import FaultKind
from provider.cloud.runtime.docker_engine.engine import faults
from provider.cloud.runtime.docker_engine.host_routes import HostNetwork, host_networks
from provider.cloud.runtime.docker_engine.labels import INSTALLATION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from aiodocker import Docker

_BRIDGE_NAME = "com.docker.network.bridge.name"


async def used_blocks(
    client: Docker, installation: str, cluster: Iterable[tuple[str, str]] = ()
) -> tuple[Occupied, ...]:
    """Return what is in use: Docker networks, the host's interfaces and routes, and what the caller adds.

    `cluster` are (CIDR, owner) pairs that no table shows, such as the cluster's service and pod ranges.
    RuntimeFault UNAVAILABLE when the engine does not answer, OSError when the kernel does not.
    """
    with faults(FaultKind.UNAVAILABLE):
        networks = await client.networks.list()
    return combine(networks, await asyncio.to_thread(host_networks), installation, cluster)


def combine(
    networks: Sequence[Mapping[str, Any]],
    host: Iterable[HostNetwork],
    installation: str,
    cluster: Iterable[tuple[str, str]] = (),
) -> tuple[Occupied, ...]:
    """Return one list of what the engine, the kernel and the caller say. Pure.

    An interface that is the bridge of a Docker network counts as that network, whose name says more, and is left out
    with it if it is our own.
    """
    bridges = {_bridge(network) for network in networks}
    theirs = [
        (str(pool["Subnet"]), f"Docker network {network['Name']}")
        for network in networks
        if (network.get("Labels") or {}).get(INSTALLATION) != installation
        for pool in (network.get("IPAM") or {}).get("Config") or ()
        if "Subnet" in pool
    ]
    machine = [
        (each.cidr, f"interface {each.interface}" if each.interface else "a route of this machine")
        for each in host
        if each.interface not in bridges
    ]
    return tuple(_outermost(occupied([*theirs, *machine, *cluster])))


def _outermost(blocks: Sequence[Occupied]) -> Iterator[Occupied]:
    """Yield each owner's blocks once, without those inside another of its own (an address in its network)."""
    for block in dict.fromkeys(blocks):
        if not any(
            block.owner == other.owner and block != other and block.network.subnet_of(other.network) for other in blocks
        ):
            yield block


def _bridge(network: Mapping[str, Any]) -> str:
    """Return the name of the network's bridge; one that has none gets a name that no interface has."""
    return str((network.get("Options") or {}).get(_BRIDGE_NAME) or f"br-{network['Id'][:12]}")
