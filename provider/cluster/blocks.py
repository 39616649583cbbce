"""Settles the address blocks of an installation, and makes the network where zones and API server meet.

The zones' blocks are kept in provider.yaml, where a person finds them, the cluster network's block in blocks.json; both
are chosen once, because pods live in them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from provider.cloud.addresses.block_choice import Blocks, settle_blocks
from provider.cloud.addresses.free_blocks import AddressClashError
from provider.cloud.runtime.base import RuntimeFault
from provider.cloud.runtime.docker_engine.block_claims import BlockClaims
from provider.cloud.runtime.docker_engine.naming import cluster_network_name
from provider.cloud.runtime.docker_engine.network import cluster_network, ensure_network, find_network, ipv4_pool
from provider.cloud.runtime.docker_engine.used_blocks import used_blocks
from provider.cloud_blocks import configured_blocks
from provider.cluster.provider_config import stored_blocks
from provider.cluster.steps import SetupError
from provider.cluster.whole_file import write_whole
from provider.config.load import zones_without_vswitch
from provider.model.ids import ZoneId

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from aiodocker import Docker

    from provider.cluster.installation import Installation
    from provider.config.schema import ProviderConfig

__all__ = ["choose_blocks_for", "host_address", "make_cluster_network"]


async def choose_blocks_for(
    client: Docker, installation: Installation, config: ProviderConfig, cluster: Iterable[tuple[str, str]], *, own: bool
) -> Blocks:
    """Return a block for each zone that names none and, with `own`, for the cluster's network; keep the latter.

    `cluster` are (CIDR, owner) pairs of the cluster's own ranges. SetupError when a configured or an earlier chosen
    block clashes with something in use, or when there are not enough free ones.
    """
    file = installation.state / "blocks.json"
    configured = configured_blocks(config)
    named = {zone.name for zone in config.zones if zone.v_switches}
    kept = {ZoneId(zone): cidr for zone, cidr in stored_blocks(installation).items() if zone not in named}
    before = Blocks(_stored_cluster(file), kept)
    try:
        used = await used_blocks(client, installation.name, cluster)
        zones, claims = zones_without_vswitch(config), BlockClaims(installation.state)
        with claims.choosing() as others:
            blocks = settle_blocks(zones, configured, used, before, cluster=own, avoid=others)
            claims.keep([*configured, *blocks.all()])
    except AddressClashError as error:
        raise SetupError(
            "the address blocks cannot be used",
            "; ".join(error.mistakes),
            "choose other CIDRs in the configuration (zones[].vSwitches[].cidr), or remove what has them",
        ) from error
    write_whole(file, msgspec.json.encode(Blocks(blocks.cluster)))
    return blocks


async def make_cluster_network(client: Docker, installation: Installation, cidr: str) -> None:
    """Make the installation's own network unless it is there; SetupError when name or block are another's."""
    version = str((await client.version())["Version"])
    name = cluster_network_name(installation.name)
    try:
        await ensure_network(client, cluster_network(installation.name, cidr, version))
    except RuntimeFault as error:
        raise SetupError(
            f"the Docker network {name} cannot be made",
            error.message,
            f"docker network inspect {name} shows it; remove what is in the way, or use: zonelet up --name OTHER",
        ) from error


async def host_address(client: Docker, network: str) -> str:
    """Return this host's address in a Docker network: its gateway. SetupError when there is no such network."""
    try:
        found = await find_network(client, network)
        if found is not None and (address := ipv4_pool(found).get("Gateway")):
            return address
        why = "it has no gateway" if found else "there is none of this name"
    except RuntimeFault as error:
        why = error.message
    raise SetupError(
        f"the Docker network {network} cannot be used",
        why,
        "see: docker network ls; runtime.docker.network may name another, or leave it out",
    )


def _stored_cluster(file: Path) -> str:
    return msgspec.json.decode(file.read_bytes(), type=Blocks).cluster if file.exists() else ""
