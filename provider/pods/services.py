"""Services of the cluster, as the environment of containers needs them: one reflector for all nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provider.kube.reflector import Reflector
from provider.translate.references import Service

if TYPE_CHECKING:
    from random import Random  # noqa: TID251 (the type; the value is injected)

    from provider.clock import Clock
    from provider.kube.client import KubeApi
    from provider.kube.store import Change

Json = dict[str, Any]

SERVICES = "/api/v1/services"


class ServiceCatalogue:
    """All services of the cluster; run `run` as a task, ask `services` at any time."""

    def __init__(self, api: KubeApi, *, clock: Clock, random: Random) -> None:
        self._reflector = Reflector(api, SERVICES, {}, self._changed, clock=clock, random=random)
        self._services: tuple[Service, ...] | None = None

    @property
    def synced(self) -> bool:
        """Whether every service is known: before that a pod would start without its variables."""
        return self._reflector.synced

    async def run(self) -> None:
        """Follow the collection until cancelled."""
        await self._reflector.run()

    def services(self) -> tuple[Service, ...]:
        """Return the services in the order in which they came; translated once after a change."""
        if self._services is None:
            self._services = tuple(service_of(item) for item in self._reflector.store.objects())
        return self._services

    async def _changed(self, _change: Change) -> None:
        self._services = None


def service_of(item: Json) -> Service:
    """Return what the environment needs of a v1 Service."""
    spec = item.get("spec") or {}
    return Service(
        namespace=item["metadata"]["namespace"],
        name=item["metadata"]["name"],
        cluster_ip=spec.get("clusterIP") or "",
        ports=tuple(
            (port.get("name") or "", int(port["port"]), port.get("protocol") or "TCP")
            for port in spec.get("ports") or ()
        ),
    )
