"""Networks of an installation in the engine: one for the cluster, one for each vSwitch.

The engine neither masquerades nor, for a vSwitch, takes the gateway address: both are the zone's router's business.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any

from aiodocker.exceptions import DockerError

from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.cloud.runtime.docker_engine.engine import faults
from provider.cloud.runtime.docker_engine.labels import INSTALLATION, Role, encode_cluster_network, encode_zone
from provider.cloud.runtime.docker_engine.naming import cluster_network_name, vswitch_network_name

if TYPE_CHECKING:
    from aiodocker import Docker

    from provider.model.capacity import VSwitch
    from provider.model.ids import ZoneId

_MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
_INHIBIT = "com.docker.network.bridge.inhibit_ipv4"
_GATEWAY_MODE = "com.docker.network.bridge.gateway_mode_ipv4"
_FILTERS_DIRECT_ACCESS = 28
_NOT_FOUND = 404
_FORBIDDEN = 403
_CONFLICT = 409
_GATEWAY_FROM_END = 3
_ROUTER_FROM_END = 2


def gateway_address(cidr: str) -> str:
    """Return the address of a vSwitch's router: third from last of the block (ECI)."""
    return str(ipaddress.IPv4Network(cidr)[-_GATEWAY_FROM_END])


def router_address(cidr: str) -> str:
    """Return the address by which a router joins a vSwitch: second from last of the block, reserved too.

    The engine refuses to give a container the gateway's own; the router takes that one itself.
    """
    return str(ipaddress.IPv4Network(cidr)[-_ROUTER_FROM_END])


def vswitch_network(
    installation: str, zone: ZoneId, vswitch: VSwitch, node_address: str = "", engine_version: str = ""
) -> dict[str, Any]:
    """Return the body of `POST /networks/create` for a vSwitch; its labels keep the node's address."""
    return {
        "Name": vswitch_network_name(installation, zone, vswitch.id),
        "CheckDuplicate": True,
        "Driver": "bridge",
        "IPAM": {"Config": [{"Subnet": vswitch.cidr, "Gateway": gateway_address(vswitch.cidr)}]},
        "Options": {_MASQUERADE: "false", _INHIBIT: "true"} | _direct_access(engine_version),
        "Labels": encode_zone(installation, Role.NETWORK, zone, node_address),
    }


def cluster_network(installation: str, cidr: str, engine_version: str = "") -> dict[str, Any]:
    """Return the body for the installation's own cluster network: the host has .1, zones' routers the lower half.

    What else joins it gets an address of the upper half from the engine.
    """
    network = ipaddress.IPv4Network(cidr)
    _, upper = network.subnets(prefixlen_diff=1)
    return {
        "Name": cluster_network_name(installation),
        "CheckDuplicate": True,
        "Driver": "bridge",
        "IPAM": {"Config": [{"Subnet": cidr, "IPRange": str(upper), "Gateway": str(network[1])}]},
        "Options": {_MASQUERADE: "false"} | _direct_access(engine_version),
        "Labels": encode_cluster_network(installation),
    }


async def ensure_network(client: Docker, body: dict[str, Any]) -> str:
    """Return the ID of the network, made now or before.

    RuntimeFault CONFIG when the name is taken by another's network, or by one with another block of addresses, or
    when the engine refuses the block (it overlaps).
    """
    with faults(FaultKind.CONFIG):
        try:
            return str((await client.networks.create(body)).id)
        except DockerError as error:
            if error.status != _CONFLICT:
                raise
            listed = await client.networks.list(filters={"name": [body["Name"]]})
            for found in listed:
                if found["Name"] == body["Name"]:
                    require_same(found, body)
                    return str(found["Id"])
            raise


async def find_network(client: Docker, name: str) -> dict[str, Any] | None:
    """Return the engine's full answer about a network, None for an unknown one."""
    with faults(FaultKind.UNAVAILABLE):
        try:
            found: dict[str, Any] = await (await client.networks.get(name)).show()
        except DockerError as error:
            if error.status == _NOT_FOUND:
                return None
            raise
        return found


async def list_networks(client: Docker, installation: str) -> list[dict[str, Any]]:
    """Return the engine's rows of all networks of this installation."""
    with faults(FaultKind.UNAVAILABLE):
        return await client.networks.list(filters={"label": [f"{INSTALLATION}={installation}"]})


async def remove_network(client: Docker, network_id: str) -> None:
    """Remove a network; what is still attached (somebody's container, joined by hand) is detached. Unknown: done."""
    with faults(FaultKind.UNAVAILABLE):
        try:
            network = await client.networks.get(network_id)
            try:
                await network.delete()
            except DockerError as error:
                if error.status != _FORBIDDEN:
                    raise
                for container in (await network.show())["Containers"] or {}:
                    await network.disconnect({"Container": container, "Force": True})
                await network.delete()
        except DockerError as error:
            if error.status != _NOT_FOUND:
                raise


def ipv4_pool(network: dict[str, Any]) -> dict[str, str]:
    """Return the IPv4 part of a network's address management: Subnet and, mostly, Gateway. RuntimeFault CONFIG."""
    for pool in network["IPAM"]["Config"] or ():
        if ":" not in pool.get("Subnet", ":"):
            return dict(pool)
    raise RuntimeFault(FaultKind.CONFIG, f"network {network['Name']} has no IPv4 addresses; zones need them")


def require_same(found: dict[str, Any], body: dict[str, Any]) -> None:
    """Compare a network that is there with the one wanted: owner and block. RuntimeFault CONFIG."""
    owner = (found.get("Labels") or {}).get(INSTALLATION)
    if owner != body["Labels"][INSTALLATION]:
        raise RuntimeFault(FaultKind.CONFIG, f"network {body['Name']} belongs to somebody else")
    subnets = [pool["Subnet"] for pool in found["IPAM"]["Config"]]
    wanted = [pool["Subnet"] for pool in body["IPAM"]["Config"]]
    if subnets != wanted:
        raise RuntimeFault(FaultKind.CONFIG, f"network {body['Name']} has block {subnets}, the config says {wanted}")


def _direct_access(engine_version: str) -> dict[str, str]:
    """Return the option that lets other bridges' packets reach this network's addresses.

    Engines from 28 on drop a packet for a container's address that comes in by any other interface; with
    bridge-nf-call-iptables that includes what one zone's pod sends to its router for another zone's pod. Older engines
    do not know the option's value. (moby libnetwork/drivers/bridge/internal/iptabler/endpoint.go; not tried here.)
    """
    major = re.match(r"\d+", engine_version)
    return {_GATEWAY_MODE: "nat-unprotected"} if major and int(major[0]) >= _FILTERS_DIRECT_ACCESS else {}
