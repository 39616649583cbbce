"""ZoneWorld: one zone of the provider over a simulated cloud, as `zonelet run` puts it together, on a real API server."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random  # noqa: TID251 (seeded)
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from provider.clock import SystemClock
from provider.config.profiles import load_profile
from provider.config.schema import NodeConfig, ProviderConfig, ZoneConfig
from provider.kube.auth_review import AuthReviews, cluster_client_ca
from provider.kubelet_ports import HostPort
from provider.model.ids import ZoneId
from provider.node.version import kubelet_version
from provider.pods.rebinder import Rebinder
from provider.pods.services import ServiceCatalogue
from provider.zone_node import Shared, ZoneNode
from tests.support.cloud_worlds import ZONE, local_backend, simulated_world
from tests.support.control_plane import client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from provider.cluster.local import LocalCluster

CLOCK = SystemClock()


@dataclass
class ZoneWorld:
    """`name` of the Node; `directory` holds what the node keeps."""

    name: str
    directory: Path
    node: ZoneNode
    port: HostPort
    running: asyncio.Task[None]

    @property
    def path(self) -> str:
        return f"/api/v1/nodes/{self.name}"

    @property
    def kubeconfig(self) -> Path:
        return self.directory / f"{self.name}.kubeconfig"


@asynccontextmanager
async def zone_world(cluster: LocalCluster, directory: Path, name: str) -> AsyncIterator[ZoneWorld]:
    """Run the zone's node called `name`; its own failure is the test's."""
    zone = ZoneConfig(name="zone-a", node_name=name)
    config = ProviderConfig(name="node-test", zones=(zone,), node=NodeConfig(taint="NoSchedule"))
    random = Random(1)
    async with (
        simulated_world(directory) as below,
        local_backend(replace_zone(below), directory, CLOCK) as backend,
        client(cluster.provider_kubeconfig) as api,
    ):
        services = ServiceCatalogue(api, clock=CLOCK, random=random)
        shared = Shared(
            config=config,
            profile=load_profile(config.profile),
            rebinder=Rebinder(backend, clock=CLOCK),
            zones={ZoneId("zone-a"): below.zone},
            directory=directory,
            api=api,
            backend=backend,
            services=services,
            reviews=AuthReviews(api, clock=CLOCK),
            client_ca=await cluster_client_ca(api),
            version=await kubelet_version(api, "0.1.0"),
            clock=CLOCK,
            random=random,
        )
        port = HostPort()
        node = ZoneNode(zone, shared, port)

        async def live() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(services.run())
                group.create_task(node.run())

        running = asyncio.get_running_loop().create_task(live())
        try:
            yield ZoneWorld(name, directory, node, port, running)
            assert not running.done(), running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def replace_zone(below: Any) -> Any:
    below.zone = replace(ZONE, ephemeral_storage=1 << 40)
    return below


def condition(node: dict[str, Any], kind: str) -> dict[str, Any]:
    return next((each for each in node.get("status", {}).get("conditions", ()) if each["type"] == kind), {})
