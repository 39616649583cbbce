"""Chooses free address blocks on this machine, and makes the network where zones and API server meet."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker.types
from docker.errors import APIError, DockerException

from provider.cloud.addresses.free_blocks import AddressClashError, choose_blocks, occupied, refuse_clashes
from provider.cloud.runtime.docker_engine.labels import INSTALLATION, PREFIX, Role
from provider.cluster.steps import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from docker import DockerClient

__all__ = ["ensure_cluster_network", "free_blocks", "host_routes", "network_block", "remove_cluster_network"]

_MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
_ROUTES = Path("/proc/net/route")


def free_blocks(
    client: DockerClient, count: int, configured: Sequence[str], used: Iterable[tuple[str, str]]
) -> tuple[str, ...]:
    """Return `count` blocks clear of host routes, Docker networks, `configured` CIDRs and `used` (CIDR, owner) pairs.

    SetupError when a configured CIDR clashes, or there are not enough.
    """
    everything = occupied([*host_routes(), *docker_subnets(client), *used])
    try:
        refuse_clashes(configured, everything)
        return choose_blocks(count, configured, everything)
    except AddressClashError as error:
        raise SetupError(
            "the address blocks cannot be used",
            "; ".join(error.mistakes),
            "choose other CIDRs in the configuration (zones[].vSwitches[].cidr), or remove what has them",
        ) from error


def host_routes(table: str | None = None) -> list[tuple[str, str]]:
    """Return (CIDR, owner) of /proc/net/route, or of such a table; its numbers are little-endian hexadecimal."""
    found = []
    for line in (_ROUTES.read_text() if table is None else table).splitlines()[1:]:
        fields = line.split()
        address, mask = (ipaddress.ip_address(bytes.fromhex(fields[index])[::-1]) for index in (1, 7))
        found.append((f"{address}/{mask}", f"interface {fields[0]}"))
    return found


def docker_subnets(client: DockerClient) -> list[tuple[str, str]]:
    """Return (CIDR, owner) of the engine's networks."""
    return [
        (each["Subnet"], f"Docker network {network.name}")
        for network in client.networks.list()
        for each in network.attrs["IPAM"]["Config"] or ()
        if "Subnet" in each
    ]


def network_block(client: DockerClient, name: str) -> tuple[str, str] | None:
    """Return (CIDR, address of this host in it) of a Docker network, None when there is none of this name."""
    network = _find(client, name)
    if network is None:
        return None
    for each in network.attrs["IPAM"]["Config"] or ():
        subnet = ipaddress.ip_network(each["Subnet"])
        if subnet.version == 4:  # noqa: PLR2004 - IPv4
            return str(subnet), each.get("Gateway") or str(subnet[1])
    raise SetupError(
        f"the Docker network {name} has no IPv4 block",
        "zones get their addresses from it",
        "name another in runtime.docker.network, or leave that key out",
    )


def ensure_cluster_network(client: DockerClient, name: str, installation: str, cidr: str) -> bool:
    """Make the network unless it is there; return whether it was made. This host has its first address.

    The engine does not masquerade for it: what zones send through it keeps its source address.
    """
    found = _find(client, name)
    if found is not None:
        owner = (found.attrs.get("Labels") or {}).get(INSTALLATION)
        if owner != installation:
            raise SetupError(
                f"the Docker network {name} belongs to somebody else",
                f"it has no label {INSTALLATION}={installation}",
                f"rename or remove it (docker network rm {name}), or use: zonelet up --name OTHER",
            )
        return False
    pool = docker.types.IPAMPool(subnet=cidr, gateway=str(ipaddress.IPv4Network(cidr)[1]))
    try:
        client.networks.create(
            name,
            driver="bridge",
            check_duplicate=True,
            ipam=docker.types.IPAMConfig(pool_configs=[pool]),
            options={_MASQUERADE: "false"},
            labels={INSTALLATION: installation, f"{PREFIX}role": Role.NETWORK},
        )
    except APIError as error:
        raise SetupError(
            f"the engine refused the network {name} ({cidr})",
            error.explanation or str(error),
            "docker network ls shows the others; remove one that is not needed",
        ) from error
    return True


def remove_cluster_network(client: DockerClient, name: str, installation: str) -> bool:
    """Remove the network if it is this installation's; return whether there was one."""
    found = _find(client, name)
    if found is None or (found.attrs.get("Labels") or {}).get(INSTALLATION) != installation:
        return False
    try:
        found.remove()
    except DockerException as error:
        raise SetupError(
            f"the Docker network {name} cannot be removed",
            str(error),
            f"docker network inspect {name} shows what is attached; remove that, then run this again",
        ) from error
    return True


def _find(client: DockerClient, name: str) -> Any:
    return next((each for each in client.networks.list(names=[name]) if each.name == name), None)
