"""Chooses free address blocks on this machine, and makes the network where zones and API server meet."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

import docker.types
from docker.errors import APIError, DockerException

from provider.cloud.addresses.free_blocks import AddressClashError, choose_blocks, occupied, refuse_clashes
from provider.cloud.runtime.docker_engine.host_routes import host_networks
from provider.cloud.runtime.docker_engine.labels import INSTALLATION
from provider.cloud.runtime.docker_engine.network import cluster_network
from provider.cluster.steps import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from docker import DockerClient

__all__ = ["ensure_cluster_network", "free_blocks", "host_routes", "network_block", "remove_cluster_network"]


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


def host_routes() -> list[tuple[str, str]]:
    """Return (CIDR, owner) of every interface address and of every routing table, VPNs' own included."""
    return [
        (each.cidr, f"interface {each.interface}" if each.interface else "a route of this machine")
        for each in host_networks()
    ]


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
    try:
        body = cluster_network(installation, cidr, str(client.version()["Version"]))
        client.networks.create(
            name,
            driver=body["Driver"],
            check_duplicate=body["CheckDuplicate"],
            ipam=docker.types.IPAMConfig(
                pool_configs=[
                    docker.types.IPAMPool(subnet=each["Subnet"], iprange=each["IPRange"], gateway=each["Gateway"])
                    for each in body["IPAM"]["Config"]
                ]
            ),
            options=body["Options"],
            labels=body["Labels"],
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
