"""Networks of an installation in the engine: one for the cluster, one for each vSwitch.

The engine neither masquerades nor, for a vSwitch, takes the gateway address: both are the zone's router's business.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from aiodocker.exceptions import DockerError

from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.cloud.runtime.docker_engine.engine import faults
from provider.cloud.runtime.docker_engine.labels import INSTALLATION, Role, encode_zone
from provider.cloud.runtime.docker_engine.naming import vswitch_network_name

if TYPE_CHECKING:
    from aiodocker import Docker

    from provider.model.capacity import VSwitch
    from provider.model.ids import ZoneId

_MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
_INHIBIT = "com.docker.network.bridge.inhibit_ipv4"
_CONFLICT = 409
_GATEWAY_FROM_END = 3


def gateway_address(cidr: str) -> str:
    """Return the address of a vSwitch's router: third from last of the block (ECI)."""
    return str(ipaddress.IPv4Network(cidr)[-_GATEWAY_FROM_END])


def vswitch_network(installation: str, zone: ZoneId, vswitch: VSwitch) -> dict[str, Any]:
    """Return the body of `POST /networks/create` for a vSwitch."""
    return {
        "Name": vswitch_network_name(installation, zone, vswitch.id),
        "CheckDuplicate": True,
        "Driver": "bridge",
        "IPAM": {"Config": [{"Subnet": vswitch.cidr, "Gateway": gateway_address(vswitch.cidr)}]},
        "Options": {_MASQUERADE: "false", _INHIBIT: "true"},
        "Labels": encode_zone(installation, Role.NETWORK, zone),
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
                    _require_same(found, body)
                    return str(found["Id"])
            raise


def _require_same(found: dict[str, Any], body: dict[str, Any]) -> None:
    owner = (found.get("Labels") or {}).get(INSTALLATION)
    if owner != body["Labels"][INSTALLATION]:
        raise RuntimeFault(FaultKind.CONFIG, f"network {body['Name']} belongs to somebody else")
    subnets = [pool["Subnet"] for pool in found["IPAM"]["Config"]]
    wanted = [pool["Subnet"] for pool in body["IPAM"]["Config"]]
    if subnets != wanted:
        raise RuntimeFault(FaultKind.CONFIG, f"network {body['Name']} has block {subnets}, the config says {wanted}")
