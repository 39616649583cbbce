"""What is there of an installation's networks, and what shall be: the cluster's network, node addresses, routers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import structlog
from aiodocker.exceptions import DockerError
from msgspec import Struct

from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.cloud.runtime.docker_engine.engine import faults
from provider.cloud.runtime.docker_engine.gateway import Cluster, Router, RouterSpec, ensure_router
from provider.cloud.runtime.docker_engine.labels import INSTALLATION, NODE_ADDRESS, Role, with_role, zone_label
from provider.cloud.runtime.docker_engine.naming import cluster_network_name, vswitch_network_name
from provider.cloud.runtime.docker_engine.network import (
    cluster_network,
    ensure_network,
    find_network,
    gateway_address,
    ipv4_pool,
    list_networks,
    remove_network,
    require_same,
    router_address,
    vswitch_network,
)
from provider.cloud.runtime.docker_engine.node_addresses import node_addresses
from provider.cloud.runtime.docker_engine.zone_routing import Attachment, RouterPlan
from provider.model.capacity import Zone
from provider.model.ids import ZoneId

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aiodocker import Docker

    from provider.cloud.runtime.docker_engine.engine import Engine

_UNKNOWN_OR_USED = (403, 404)
_log = structlog.get_logger(__name__)


class Settings(Struct, frozen=True, kw_only=True):
    """What an installation's networks are made from.

    `joined` names somebody else's network for the cluster; `cluster_cidr` is the block of an own one, None for one that
    is there already (`zonelet up` makes it before the API server, which advertises an address in it).
    """

    installation: str
    gateway_image: str
    joined: str = ""
    cluster_cidr: str | None = None


class Layout(Struct, frozen=True, kw_only=True):
    """How things shall be. `networks` are the engine's rows of this installation's networks, by name."""

    zones: tuple[Zone, ...]
    cluster: Cluster
    addresses: dict[ZoneId, str]
    networks: dict[str, dict[str, Any]]
    engine_version: str


async def survey(
    client: Docker, engine: Engine, settings: Settings, zones: Sequence[Zone], remembered: Mapping[ZoneId, str]
) -> Layout:
    """Return the layout for exactly these zones; remove routers and unused networks of others.

    `remembered` are the node addresses known to the caller; labels are asked next. RuntimeFault CONFIG, UNAVAILABLE.
    """
    version = await _engine_version(client)
    cluster, found = await _cluster(client, settings, version)
    networks = {str(row["Name"]): row for row in await list_networks(client, settings.installation)}
    routers = await _all_routers(client)
    own = {row["Id"]: row["Labels"] for row in routers if row["Labels"].get(INSTALLATION) == settings.installation}
    labels = [*(row.get("Labels") or {} for row in networks.values()), *own.values()]
    known = {zone_label(each): each[NODE_ADDRESS] for each in labels if NODE_ADDRESS in each}
    others = [row["Labels"].get(NODE_ADDRESS, "") for row in routers if row["Id"] not in own]
    taken = [*_attached(found, own), *others, ipv4_pool(found).get("Gateway", "")]
    addresses = node_addresses(
        cluster.cidr,
        [zone.id for zone in zones],
        {zone.id: known[zone.id] for zone in zones if zone.id in known} | dict(remembered),
        taken,
        own=cluster.own,
    )
    layout = Layout(zones=tuple(zones), cluster=cluster, addresses=addresses, networks=networks, engine_version=version)
    await _remove_strays(client, engine, settings, layout, own)
    return layout


async def bring_up(client: Docker, engine: Engine, settings: Settings, layout: Layout, zone: Zone) -> Router:
    """Return the zone's router, its networks made before. RuntimeFault CONFIG, CREATE, SANDBOX, UNAVAILABLE."""
    switches: list[tuple[str, str]] = []
    ids: dict[str, str] = {}
    for vswitch in zone.vswitches:
        address, version = layout.addresses[zone.id], layout.engine_version
        body = vswitch_network(settings.installation, zone.id, vswitch, address, version)
        name = body["Name"]
        present = layout.networks.get(name)
        if present is None:
            ids[name] = await ensure_network(client, body)
        else:
            require_same(present, body)
            ids[name] = present["Id"]
        switches.append((name, vswitch.cidr))
    spec = RouterSpec(
        installation=settings.installation,
        zone=zone.id,
        image=settings.gateway_image,
        cluster=layout.cluster,
        address=layout.addresses[zone.id],
        switches=tuple(switches),
    )
    return await ensure_router(client, engine, spec, ids)


def router_plan(layout: Layout, router: Router) -> RouterPlan:
    """Return what the router of a zone must be. Pure."""
    zone = router.spec.zone
    return RouterPlan(
        cluster=router.cluster,
        switches=tuple(
            Attachment(router_address(cidr), gateway_address(cidr), cidr) for _, cidr in router.spec.switches
        ),
        out=router.out,
        out_gateway=router.out_gateway,
        others=tuple(
            (vswitch.cidr, layout.addresses[other.id])
            for other in layout.zones
            if other.id != zone
            for vswitch in other.vswitches
        ),
    )


async def remove_networks(client: Docker, engine: Engine, installation: str) -> None:
    """Remove the routers and networks of an installation; what was joined to them by hand is detached, not removed."""
    for row in await engine.relist(**with_role(Role.GATEWAY)):
        await engine.remove(row["Id"])
    for row in await list_networks(client, installation):
        await remove_network(client, row["Id"])


async def _engine_version(client: Docker) -> str:
    with faults(FaultKind.UNAVAILABLE):
        return str((await client.version())["Version"])


async def _cluster(client: Docker, settings: Settings, version: str) -> tuple[Cluster, dict[str, Any]]:
    """Return the cluster's network and the engine's full answer about it; make an own one if need be."""
    name = settings.joined or cluster_network_name(settings.installation)
    found = await find_network(client, name)
    if not settings.joined:
        if found is None and settings.cluster_cidr is not None:
            await ensure_network(client, cluster_network(settings.installation, settings.cluster_cidr, version))
            found = await find_network(client, name)
        elif found is not None:
            block = settings.cluster_cidr or ipv4_pool(found)["Subnet"]
            require_same(found, cluster_network(settings.installation, block, version))
    if found is None:
        origin = "the cluster that it belongs to" if settings.joined else "the installation (zonelet up)"
        raise RuntimeFault(FaultKind.CONFIG, f"there is no Docker network {name}; start {origin}, or name another")
    return Cluster(name, ipv4_pool(found)["Subnet"], not settings.joined), found


async def _all_routers(client: Docker) -> list[dict[str, Any]]:
    """Return the engine's rows of every installation's routers."""
    wanted = [f"{key}={value}" for key, value in with_role(Role.GATEWAY).items()]
    with faults(FaultKind.UNAVAILABLE):
        listed = await client.containers.list(all=1, filters=json.dumps({"label": wanted}))
    return [dict(row._container) for row in listed]  # noqa: SLF001 - aiodocker has no other way to the whole row


def _attached(network: Mapping[str, Any], own: Iterable[str]) -> list[str]:
    """Return the addresses of a network that running containers have, our routers left out."""
    rows: Mapping[str, Mapping[str, str]] = network.get("Containers") or {}
    return [row["IPv4Address"].partition("/")[0] for key, row in rows.items() if key not in own]


async def _remove_strays(
    client: Docker, engine: Engine, settings: Settings, layout: Layout, own: Mapping[str, Mapping[str, str]]
) -> None:
    """Remove routers of zones that are no more, and networks that nobody wants or uses."""
    zones = {zone.id for zone in layout.zones}
    for container_id, labels in own.items():
        if zone_label(labels) not in zones:
            await engine.remove(container_id)
    wanted = {
        vswitch_network_name(settings.installation, zone.id, vswitch.id)
        for zone in layout.zones
        for vswitch in zone.vswitches
    } | {layout.cluster.name}
    for name in sorted(layout.networks.keys() - wanted):
        with faults(FaultKind.UNAVAILABLE):
            try:
                await (await client.networks.get(name)).delete()
            except DockerError as error:
                if error.status not in _UNKNOWN_OR_USED:
                    raise
                _log.info("a network that is no longer configured stays while it is used", network=name)
