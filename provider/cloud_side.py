"""The cloud side of the provider, made from its configuration: in this process, or one elsewhere over gRPC.

The one place that knows which runtime there is (docker_side.py makes the Docker one). The node side sees an
ElasticBackend, and where kubelet ports open.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from provider.cloud.instances.journal import Journal
from provider.cloud.local import LocalBackend
from provider.cloud.runtime.simulated import SimulatedRuntime
from provider.cloud_blocks import settle, zones_with
from provider.cloud_parts import CloudSide
from provider.config.profiles import load_profile
from provider.kubelet_ports import HostPort
from provider.model.ids import ZoneId
from provider.rpc.client import RemoteBackend
from provider.rpc.health_check import check_health
from provider.rpc.options import TlsFiles

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator
    from random import Random  # noqa: TID251 (the type; the value is injected)

    from provider.clock import Clock
    from provider.config.schema import ProviderConfig
    from provider.kubelet_ports import KubeletPort


@asynccontextmanager
async def open_cloud(
    config: ProviderConfig, state: Path, remote: str, clock: Clock, random: Random
) -> AsyncIterator[CloudSide]:
    """Open the cloud: at the address `remote`, or in this process if that is empty.

    Waits for an engine that does not answer, and says so. AddressError for a `remote` that cannot be right,
    AddressClashError when the zones' blocks are in use by others; RuntimeFault and CloudError for an engine or journal
    that cannot be used at all.
    """
    if remote:
        async with RemoteBackend(remote, tls=tls_files(config)) as backend:
            yield CloudSide(backend=backend, ports=_host_ports(config), run=_serves_already)
        return
    async with AsyncExitStack() as stack:
        journal = stack.enter_context(Journal(state / "journal.sqlite"))
        if config.runtime.kind == "simulated":
            yield _simulated(config, journal, clock, random)
            return
        from provider.docker_side import open_docker

        yield await stack.enter_async_context(open_docker(config, state, journal, clock, random))


def tls_files(config: ProviderConfig) -> TlsFiles | None:
    """Return the elastic API's certificate, key and authority, None for a connection without TLS."""
    tls = config.grpc_tls
    return None if tls is None else TlsFiles(Path(tls.certificate_file), Path(tls.key_file), Path(tls.authority_file))


def _simulated(config: ProviderConfig, journal: Journal, clock: Clock, random: Random) -> CloudSide:
    durations = config.runtime.simulated
    runtime = SimulatedRuntime(clock, durations.start_seconds, durations.duration_seconds)
    # Simulated addresses are on no network: nobody else's blocks matter.
    blocks = settle(config, journal, (), own_network=False)
    backend = LocalBackend(
        zones_with(config, blocks),
        runtime,
        journal,
        clock=clock,
        random=random,
        grpc=check_health,
        profile=load_profile(config.profile),
    )
    return CloudSide(backend=backend, ports=_host_ports(config), run=backend.run, admin=backend)


def _host_ports(config: ProviderConfig) -> dict[ZoneId, KubeletPort]:
    return {ZoneId(zone.name): HostPort() for zone in config.zones}


async def _serves_already(ready: asyncio.Event) -> None:
    """Be the `run` of a cloud that somebody else runs."""
    ready.set()
