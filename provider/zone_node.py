"""One zone as a node of the cluster: its credential, its Node object, its pods, its kubelet port.

Everything about the node goes through the node's own credential, as on a real node; the provider's own is used for
the certificate request and for what NodeRestriction keeps from nodes.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import structlog
from msgspec.structs import replace

from provider.config.load import node_name
from provider.kube.client import HttpKubeApi, KubeError
from provider.kubelet.access import Access
from provider.kubelet.server import kubelet_app, serving
from provider.model.ids import VSwitchId, ZoneId
from provider.model.quantity import milli, whole
from provider.node.agent import NodeAgent
from provider.node.client_cert import NodeCredential
from provider.node.serving_cert import ServingCertificate
from provider.observability.trouble import Trouble
from provider.pods.capacity import Sizes
from provider.pods.controller import PodController
from provider.pods.executor import NodeContext
from provider.pods.feed import InstanceFeed
from provider.supervision import keep_running
from provider.translate.request import Placement

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from random import Random  # noqa: TID251 (the type; the value is injected)

    from provider.clock import Clock
    from provider.cloud.backend import ElasticBackend
    from provider.config.schema import ProviderConfig, ZoneConfig
    from provider.kube.auth_review import AuthReviews
    from provider.kubelet_ports import KubeletPort
    from provider.model.capacity import Zone
    from provider.model.profile import Profile
    from provider.pods.rebinder import Rebinder
    from provider.pods.services import ServiceCatalogue

log = structlog.get_logger(__name__)

PORT_RETRY_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What all nodes of the provider have in common. `client_ca` is the PEM that signs the API server's certificate."""

    config: ProviderConfig
    profile: Profile
    rebinder: Rebinder
    zones: Mapping[ZoneId, Zone]
    directory: Path
    api: HttpKubeApi
    backend: ElasticBackend
    services: ServiceCatalogue
    reviews: AuthReviews
    client_ca: str
    version: str
    clock: Clock
    random: Random


class ZoneNode:
    """Run `run` again after it failed: nothing is kept between two runs but what the cluster and the cloud know."""

    def __init__(self, zone: ZoneConfig, shared: Shared, port: KubeletPort) -> None:
        self.name = node_name(zone)
        self.zone = ZoneId(zone.name)
        self._config = zone
        self._shared = shared
        self._port = port

    async def run(self) -> None:
        """Be the node until cancelled."""
        shared = self._shared
        credential = NodeCredential(
            shared.api,
            shared.api.connection,
            self.name,
            shared.directory,
            clock=shared.clock,
            random=shared.random,
        )
        api = await HttpKubeApi.from_kubeconfig(str(await credential.ensure()))
        try:
            await self._serve(api, credential)
        finally:
            await api.close()

    async def _serve(self, api: HttpKubeApi, credential: NodeCredential) -> None:
        shared, clock, random = self._shared, self._shared.clock, self._shared.random
        certificate = ServingCertificate(
            api,
            self.name,
            shared.directory,
            cluster_ca=shared.api.connection.ca,
            client_ca=shared.client_ca,
            clock=clock,
            random=random,
        )
        port = self._port.reserve()
        agent = NodeAgent(
            self._config,
            replace(shared.config, node=replace(shared.config.node, kubelet_port=port)),
            provider_api=shared.api,
            node_api=api,
            backend=shared.backend,
            version=shared.version,
            clock=clock,
            random=random,
            seen=certificate.node_seen,
            address=self._port.address,
            demand=None if shared.profile.grid is None else lambda: controller.demand(),  # noqa: PLW0108 - made below
            default_size=shared.profile.default_size,
        )
        controller = self._controller(api, agent)
        feed = InstanceFeed(
            shared.backend,
            {self.zone: controller},
            clock=clock,
            random=random,
            zone_changed=lambda zone: self._zone_changed(agent, zone),
        )
        with self._rebinding(controller):
            await self._run_parts(api, credential, certificate, agent, controller, feed)

    @contextmanager
    def _rebinding(self, controller: PodController) -> Iterator[None]:
        """Let pods that wait here go to other zones; only where nodes offer what their zones can sell."""
        if self._shared.profile.grid is None:
            yield
            return
        with self._shared.rebinder.joined(controller):
            yield

    def _zone_changed(self, agent: NodeAgent, zone: ZoneId) -> None:
        # Any zone's stock: this one offers more, or less, when the others have none.
        if zone == self.zone or self._shared.profile.grid is not None:
            agent.zone_changed()
            self._shared.rebinder.wake()

    async def _run_parts(
        self,
        api: HttpKubeApi,
        credential: NodeCredential,
        certificate: ServingCertificate,
        agent: NodeAgent,
        controller: PodController,
        feed: InstanceFeed,
    ) -> None:
        clock = self._shared.clock
        async with asyncio.TaskGroup() as group:
            for name, work in (
                ("node", agent.run),
                ("credential", lambda: credential.run(api.reload)),
                ("serving-certificate", certificate.run),
                ("kubelet-port", lambda: self._serve_port(controller, certificate)),
            ):
                group.create_task(keep_running(f"{self.name} {name}", work, clock))
            # These two know of each other: when one fails, both begin anew with the whole node.
            group.create_task(self._follow_pods(controller, agent))
            group.create_task(feed.run())

    async def _follow_pods(self, controller: PodController, agent: NodeAgent) -> None:
        """Look after the pods while the Node is ours: under another's Node of this name run another's pods."""
        await agent.owned.wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(controller.run())
            await agent.taken.wait()
            raise KubeError(HTTPStatus.CONFLICT, "NodeTaken", f"the Node {self.name} is somebody else's now")

    def _controller(self, api: HttpKubeApi, agent: NodeAgent) -> PodController:
        shared = self._shared
        zone = shared.zones[self.zone]
        context = NodeContext(
            name=self.name,
            placement=Placement(
                zone=self.zone,
                vswitches=tuple(VSwitchId(each.id) for each in zone.vswitches),
                cluster_dns=shared.config.cluster.dns,
                cluster_domain=shared.config.cluster.domain,
                host_paths=shared.config.pods.host_path.allowed_paths,
                profile=shared.profile,
            ),
            services=lambda: shared.services.services() if shared.services.synced else None,
            host_ip=lambda: agent.address,
            allocatable=lambda: _sizes(agent.allocatable),
            labels=lambda: _labels(agent.node),
            apparmor=lambda: agent.apparmor,
            host_daemons=shared.config.node.daemon_sets == "all",
        )
        follows_stock = shared.profile.grid is not None
        return PodController(
            context,
            api,
            shared.backend,
            clock=shared.clock,
            random=shared.random,
            demand_changed=agent.zone_changed if follows_stock else lambda: None,
            stock_waited=shared.rebinder.wake,
        )

    async def _serve_port(self, controller: PodController, certificate: ServingCertificate) -> None:
        """Serve the kubelet port; again in another namespace when the zone's router was made anew."""
        shared = self._shared
        access = Access(shared.reviews, self.name)
        trouble = Trouble(log, shared.clock, "kubelet.port_waits", "kubelet.port_goes_on", node=self.name)
        while True:
            try:
                listener = await self._port.listen()
            except OSError as error:
                trouble.began(
                    error.errno, port=self._port.reserve(), error=str(error), retry_seconds=PORT_RETRY_SECONDS
                )
                await shared.clock.sleep(PORT_RETRY_SECONDS)
                continue
            trouble.over()
            app = kubelet_app(self.name, self.zone, shared.backend, controller.pods, access, shared.clock)
            with suppress(ConnectionError):
                async with serving(app, listener, certificate.context):
                    log.info("kubelet.listening", node=self.name, address=listener.getsockname())
                    await self._port.moved()


def _labels(node: Mapping[str, Any] | None) -> Mapping[str, str] | None:
    return None if node is None else node["metadata"].get("labels") or {}


def _sizes(resources: Mapping[str, str] | None) -> Sizes | None:
    """Return node.status.allocatable as the kubelet's admission counts it."""
    if resources is None:
        return None
    return Sizes(
        cpu=milli(resources["cpu"]),
        memory=whole(resources["memory"]),
        ephemeral_storage=whole(resources["ephemeral-storage"]),
        pods=whole(resources["pods"]),
    )
