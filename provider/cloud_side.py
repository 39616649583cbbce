"""The cloud side of the provider, made from its configuration: in this process, or one elsewhere over gRPC.

The one place that knows which runtime there is. The node side sees an ElasticBackend, and where kubelet ports open.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import structlog

from provider.cloud.addresses.block_choice import Blocks, settle_blocks
from provider.cloud.instances.journal import Journal
from provider.cloud.local import LocalBackend
from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.cloud.runtime.docker_engine.client import open_client
from provider.cloud.runtime.docker_engine.engine import Engine
from provider.cloud.runtime.docker_engine.labels import INSTALLATION
from provider.cloud.runtime.docker_engine.naming import cluster_network_name
from provider.cloud.runtime.docker_engine.network import find_network, ipv4_pool
from provider.cloud.runtime.docker_engine.runtime import DockerRuntime, DockerSettings
from provider.cloud.runtime.docker_engine.used_blocks import used_blocks
from provider.cloud.runtime.docker_engine.zone_networks import ZoneNetworks
from provider.cloud.runtime.simulated import SimulatedRuntime
from provider.config.load import zones_of, zones_without_vswitch
from provider.kubelet_ports import HostPort, ZonePort
from provider.model.ids import ZoneId
from provider.rpc.client import RemoteBackend
from provider.rpc.health_check import check_health
from provider.rpc.options import TlsFiles
from provider.supervision import keep_running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from random import Random  # noqa: TID251 (the type; the value is injected)

    from aiodocker import Docker

    from provider.clock import Clock
    from provider.cloud.addresses.free_blocks import Occupied
    from provider.cloud.backend import ElasticBackend
    from provider.config.schema import ProviderConfig
    from provider.kubelet_ports import KubeletPort
    from provider.model.capacity import Zone

log = structlog.get_logger(__name__)

_BLOCKS = "blocks"
"""The journal's setting with the address blocks that were chosen."""
_ENGINE_RETRY_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class CloudSide:
    """The cloud as the rest sees it. `run` keeps it going until cancelled and sets the event once it serves."""

    backend: ElasticBackend
    ports: dict[ZoneId, KubeletPort]
    run: Callable[[asyncio.Event], Awaitable[None]]


@asynccontextmanager
async def open_cloud(
    config: ProviderConfig, state: Path, remote: str, clock: Clock, random: Random
) -> AsyncIterator[CloudSide]:
    """Open the cloud: at the address `remote`, or in this process if that is empty.

    Waits for an engine that does not answer, and says so. AddressError for a `remote` that cannot be right,
    AddressClashError when the zones' blocks are in use by
    others; RuntimeFault and CloudError for an engine or journal that cannot be used at all.
    """
    if remote:
        async with RemoteBackend(remote, tls=tls_files(config)) as backend:
            yield CloudSide(backend=backend, ports=_host_ports(config), run=_serves_already)
        return
    async with AsyncExitStack() as stack:
        journal = stack.enter_context(Journal(state / "journal.sqlite"))
        opened = _simulated(config, journal, clock, random)
        if opened is None:
            client = await stack.enter_async_context(open_client(config.runtime.docker.host))
            opened = await _docker(config, state, client, journal, clock, random)
        yield opened


def tls_files(config: ProviderConfig) -> TlsFiles | None:
    """Return the elastic API's certificate, key and authority, None for a connection without TLS."""
    tls = config.grpc_tls
    return None if tls is None else TlsFiles(Path(tls.certificate_file), Path(tls.key_file), Path(tls.authority_file))


def _simulated(config: ProviderConfig, journal: Journal, clock: Clock, random: Random) -> CloudSide | None:
    if config.runtime.kind != "simulated":
        return None
    durations = config.runtime.simulated
    runtime = SimulatedRuntime(clock, durations.start_seconds, durations.duration_seconds)
    # Simulated addresses are on no network: nobody else's blocks matter.
    blocks = _settle(config, journal, (), own_network=False)
    backend = LocalBackend(_zones(config, blocks), runtime, journal, clock=clock, random=random, grpc=check_health)
    return CloudSide(backend=backend, ports=_host_ports(config), run=backend.run)


async def _docker(
    config: ProviderConfig, state: Path, client: Docker, journal: Journal, clock: Clock, random: Random
) -> CloudSide:
    docker = config.runtime.docker
    blocks = await _blocks_on_engine(config, journal, client, clock)
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
        _zones(config, blocks),
        runtime,
        journal,
        clock=clock,
        random=random,
        grpc=check_health,
        starts_in_flight=docker.starts_in_flight,
    )

    async def run(ready: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(backend.run(ready))
            await ready.wait()
            group.create_task(keep_running("zone-networks", networks.watch, clock))

    ports: dict[ZoneId, KubeletPort] = {
        ZoneId(zone.name): ZonePort(networks, ZoneId(zone.name), config.node.kubelet_port) for zone in config.zones
    }
    return CloudSide(backend=backend, ports=ports, run=run)


async def _blocks_on_engine(config: ProviderConfig, journal: Journal, client: Docker, clock: Clock) -> Blocks:
    """Return the blocks once the engine answers; a cluster's network of our own that is there keeps the one it has."""
    while True:
        try:
            joined = config.runtime.docker.network
            found = await find_network(client, joined or cluster_network_name(config.name))
            ours = found is not None and (found.get("Labels") or {}).get(INSTALLATION) == config.name
            there = ipv4_pool(found)["Subnet"] if found is not None and ours else ""
            used = await used_blocks(client, config.name)
            return _settle(config, journal, used, own_network=not joined and (found is None or ours), there=there)
        except RuntimeFault as fault:
            if fault.kind is not FaultKind.UNAVAILABLE:
                raise
            log.warning("engine.away", error=fault.message, retry_seconds=_ENGINE_RETRY_SECONDS)
            await clock.sleep(_ENGINE_RETRY_SECONDS)


def _settle(
    config: ProviderConfig, journal: Journal, used: Sequence[Occupied], *, own_network: bool, there: str = ""
) -> Blocks:
    """Choose what is not chosen yet, and keep it in the journal.

    `there` is the block of a cluster's network of ours that is there. It is held like one that was chosen here, for
    `used` does not name our own networks: a further zone must stay clear of it.
    """
    stored = journal.setting(_BLOCKS)
    before = Blocks() if stored is None else msgspec.json.decode(stored, type=Blocks)
    before = Blocks(there or before.cluster if own_network else "", before.zones)
    named = [each.cidr for zone in config.zones for each in zone.v_switches]
    blocks = settle_blocks(zones_without_vswitch(config), named, used, before, cluster=own_network)
    journal.store_setting(_BLOCKS, msgspec.json.encode(blocks))
    return blocks


def _zones(config: ProviderConfig, blocks: Blocks) -> tuple[Zone, ...]:
    return zones_of(config, [blocks.zones[zone] for zone in zones_without_vswitch(config)])


def _host_ports(config: ProviderConfig) -> dict[ZoneId, KubeletPort]:
    return {ZoneId(zone.name): HostPort() for zone in config.zones}


async def _serves_already(ready: asyncio.Event) -> None:
    """Be the `run` of a cloud that somebody else runs."""
    ready.set()
