"""The composition root: joins the cloud side and the node side, and keeps both running.

    CloudSide   the elastic cloud in this process (Docker or simulated), or one elsewhere (cloud_side.py)
    ZoneNode    one zone's node: credential, Node object, pods, kubelet port (zone_node.py)

Nothing here ends instances: a provider that stops, or is killed, leaves everything running and finds it again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from random import Random  # noqa: TID251 - the composition root hands randomness out
from typing import TYPE_CHECKING

import structlog

from provider.clock import SystemClock
from provider.cloud_side import open_cloud, tls_files
from provider.config.profiles import load_profile
from provider.exclusive import hold
from provider.kube.auth_review import AuthReviews, cluster_client_ca
from provider.kube.client import HttpKubeApi
from provider.model.errors import CloudError
from provider.model.ids import ZoneId
from provider.node.api_server_redirect import ApiServerRedirect
from provider.node.version import kubelet_version
from provider.pods.rebinder import Rebinder
from provider.pods.services import ServiceCatalogue
from provider.rpc.server import serve
from provider.supervision import keep_running
from provider.zone_node import Shared, ZoneNode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from provider.clock import Clock
    from provider.cloud.backend import ElasticBackend
    from provider.cloud_parts import CloudSide
    from provider.config.schema import ProviderConfig
    from provider.model.capacity import Zone
    from provider.rpc.options import TlsFiles

log = structlog.get_logger(__name__)

_CLOUD_RETRY_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says. `backend` empty: the cloud is in this process."""

    config: ProviderConfig
    state: Path
    kubeconfig: str | None = None
    backend: str = ""


class StartError(Exception):
    """The provider cannot begin: what is wrong, and what to do about it."""


async def run_provider(options: Options) -> None:
    """Serve until cancelled.

    TakenError, StartError (in a group, if tasks run already), KubeConfigError, AddressError, AddressClashError,
    RuntimeFault and CloudError end it before it begins; after that an API server or engine that is away is waited for.
    """
    clock, random = SystemClock(), Random()  # noqa: S311 - jitter, no secret
    with hold(options.config.name, options.state):
        api = await HttpKubeApi.from_environment(options.kubeconfig)
        try:
            async with (
                open_cloud(options.config, options.state, options.backend, clock, random) as cloud,
                asyncio.TaskGroup() as group,
            ):
                ready = asyncio.Event()
                group.create_task(
                    keep_running("cloud", lambda: cloud.run(ready), clock, fatal=lambda: not ready.is_set())
                )
                await ready.wait()
                log.info(
                    "cloud.ready", profile=options.config.profile, zones=[zone.name for zone in options.config.zones]
                )
                if not options.backend:
                    address = options.config.grpc_listen or f"unix:{options.state / 'elastic.sock'}"
                    serving = partial(_serve_api, cloud, address, tls_files(options.config))
                    group.create_task(keep_running("elastic-api", serving, clock))
                zones = await _known_zones(cloud.backend, options.config, clock)
                await keep_running("nodes", lambda: _serve_nodes(options, cloud, zones, api, clock, random), clock)
        finally:
            await api.close()


async def _serve_api(cloud: CloudSide, address: str, tls: TlsFiles | None) -> None:
    async with serve(cloud.backend, address, admin=cloud.admin, tls=tls) as bound:
        log.info("elastic-api.listening", address=bound)
        await asyncio.Event().wait()


async def _known_zones(backend: ElasticBackend, config: ProviderConfig, clock: Clock) -> dict[ZoneId, Zone]:
    """Return the cloud's zones once it tells them. StartError when it has not all that are configured."""
    while True:
        try:
            zones = {status.zone.id: status.zone for status in await backend.describe_zones()}
        except CloudError as error:
            seconds = error.retry_after or _CLOUD_RETRY_SECONDS
            log.warning("cloud.away", error=error.message, retry_seconds=seconds)
            await clock.sleep(seconds)
            continue
        if unknown := [zone.name for zone in config.zones if ZoneId(zone.name) not in zones]:
            raise StartError(f"the cloud has no zone {', '.join(unknown)}; it has {', '.join(zones)}: see zones[].name")
        return zones


async def _serve_nodes(
    options: Options,
    cloud: CloudSide,
    zones: Mapping[ZoneId, Zone],
    api: HttpKubeApi,
    clock: Clock,
    random: Random,
) -> None:
    """Run one ZoneNode per zone, and what they share, each kept running on its own."""
    services = ServiceCatalogue(api, clock=clock, random=random)
    redirect = ApiServerRedirect(
        api, cloud.backend, override=options.config.cluster.api_server, clock=clock, random=random
    )
    rebinder = Rebinder(cloud.backend, clock=clock)
    shared = Shared(
        rebinder=rebinder,
        config=options.config,
        profile=load_profile(options.config.profile),
        zones=zones,
        directory=options.state / "nodes",
        api=api,
        backend=cloud.backend,
        services=services,
        reviews=AuthReviews(api, clock=clock),
        client_ca=await cluster_client_ca(api),
        version=await kubelet_version(api, version("zonelet")),
        clock=clock,
        random=random,
    )
    nodes = [ZoneNode(zone, shared, cloud.ports[ZoneId(zone.name)]) for zone in options.config.zones]
    async with asyncio.TaskGroup() as group:
        for name, work in (
            ("services", services.run),
            ("rebinder", rebinder.run),
            ("redirect-service", redirect.follow_service),
            ("redirect-endpoints", redirect.follow_endpoints),
            *((f"node {node.name}", node.run) for node in nodes),
        ):
            group.create_task(keep_running(name, work, clock))
