"""The cloud side on a Docker engine. Imported only where there is one: its libraries cost 10 MB."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from provider.cloud.local import LocalBackend
from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.cloud.runtime.docker_engine.block_claims import BlockClaims
from provider.cloud.runtime.docker_engine.client import open_client
from provider.cloud.runtime.docker_engine.engine import Engine
from provider.cloud.runtime.docker_engine.labels import INSTALLATION
from provider.cloud.runtime.docker_engine.naming import cluster_network_name
from provider.cloud.runtime.docker_engine.network import find_network, ipv4_pool
from provider.cloud.runtime.docker_engine.runtime import DockerRuntime, DockerSettings
from provider.cloud.runtime.docker_engine.used_blocks import used_blocks
from provider.cloud.runtime.docker_engine.zone_networks import ZoneNetworks
from provider.cloud_blocks import configured_blocks, settle, zones_with
from provider.cloud_parts import CloudSide
from provider.config.profiles import load_profile
from provider.kubelet_ports import ZonePort
from provider.model.ids import ZoneId
from provider.rpc.health_check import check_health
from provider.supervision import keep_running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from random import Random  # noqa: TID251 (the type; the value is injected)

    from aiodocker import Docker

    from provider.clock import Clock
    from provider.cloud.addresses.block_choice import Blocks
    from provider.cloud.instances.journal import Journal
    from provider.config.schema import ProviderConfig
    from provider.kubelet_ports import KubeletPort

__all__ = ["blocks_on_engine", "open_docker"]

log = structlog.get_logger(__name__)

_ENGINE_RETRY_SECONDS = 5.0


@asynccontextmanager
async def open_docker(
    config: ProviderConfig, state: Path, journal: Journal, clock: Clock, random: Random
) -> AsyncIterator[CloudSide]:
    """Open the cloud on the configured engine, and wait for one that does not answer.

    AddressClashError when the zones' blocks are in use by others; RuntimeFault for an engine that cannot be used.
    """
    async with open_client(config.runtime.docker.host) as client:
        yield await _docker(config, state, client, journal, clock, random)


async def _docker(
    config: ProviderConfig, state: Path, client: Docker, journal: Journal, clock: Clock, random: Random
) -> CloudSide:
    docker = config.runtime.docker
    blocks = await blocks_on_engine(config, journal, client, clock, BlockClaims(state))
    networks = ZoneNetworks(
        client,
        Engine(client, config.name, clock),
        config.name,
        cluster_network=docker.network,
        gateway_image=docker.gateway_image,
        clock=clock,
        cluster_cidr=blocks.cluster or None,
    )
    settings = DockerSettings(
        pause_image=docker.pause_image,
        memory_share=docker.memory_share,
        cpu_reserve=docker.cpu_reserve,
        prefer_local=config.runtime.image_pull == "preferLocal",
        host_paths=config.pods.host_path.allowed_paths,
    )
    runtime = DockerRuntime(client, config.name, state, networks, clock=clock, settings=settings)
    backend = LocalBackend(
        zones_with(config, blocks),
        runtime,
        journal,
        clock=clock,
        random=random,
        grpc=check_health,
        starts_in_flight=docker.starts_in_flight,
        profile=load_profile(config.profile),
    )

    async def run(ready: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(backend.run(ready))
            await ready.wait()
            group.create_task(keep_running("zone-networks", networks.watch, clock))

    ports: dict[ZoneId, KubeletPort] = {
        ZoneId(zone.name): ZonePort(networks, ZoneId(zone.name), config.node.kubelet_port) for zone in config.zones
    }
    return CloudSide(backend=backend, ports=ports, run=run, admin=backend)


async def blocks_on_engine(
    config: ProviderConfig, journal: Journal, client: Docker, clock: Clock, claims: BlockClaims
) -> Blocks:
    """Return the blocks once the engine answers; a cluster's network of our own that is there keeps the one it has."""
    joined = config.runtime.docker.network
    while True:
        try:
            found = await find_network(client, joined or cluster_network_name(config.name))
            ours = found is not None and (found.get("Labels") or {}).get(INSTALLATION) == config.name
            there = ipv4_pool(found)["Subnet"] if found is not None and ours else ""
            used = await used_blocks(client, config.name)
            break
        except RuntimeFault as fault:
            if fault.kind is not FaultKind.UNAVAILABLE:
                raise
            log.warning("engine.away", error=fault.message, retry_seconds=_ENGINE_RETRY_SECONDS)
            await clock.sleep(_ENGINE_RETRY_SECONDS)
    own = not joined and (found is None or ours)
    with claims.choosing() as others:
        blocks = settle(config, journal, used, own_network=own, there=there, avoid=others)
        claims.keep([*configured_blocks(config), *blocks.all()])
    return blocks
