"""Keeps the address of the service `kubernetes` reachable from pods: its endpoints become redirects of the zones.

A zone has no kube-proxy yet, and Argo's executor needs no other service. Upstream keeps the service's EndpointSlice
true to the running API servers (pkg/controlplane/reconcilers), so it is followed as kube-proxy would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from provider.kube.reflector import Reflector
from provider.model.capacity import Redirect
from provider.model.errors import CloudError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from random import Random  # noqa: TID251 (the type; the value is injected)

    from provider.clock import Clock
    from provider.cloud.backend import ElasticBackend
    from provider.kube.client import KubeApi
    from provider.kube.store import Change

log = structlog.get_logger(__name__)

SERVICE = "/api/v1/namespaces/default/services"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
_RETRY_SECONDS = 5.0

Json = dict[str, Any]


def redirects(
    services: Iterable[Mapping[str, Any]], slices: Iterable[Mapping[str, Any]], override: str = ""
) -> list[Redirect]:
    """Return one redirect for each TCP port of the services; targets by port name, `override` (host:port) instead.

    A service without a cluster address, or without a ready endpoint for a port, gives none for it.
    """
    found = []
    known = list(slices)
    for service in services:
        spec = service.get("spec") or {}
        address = spec.get("clusterIP") or ""
        if address in ("", "None") or ":" in address:
            continue
        for port in spec.get("ports") or ():
            if (port.get("protocol") or "TCP") != "TCP":
                continue
            targets = [_host_port(override)] if override else sorted(_targets(known, port.get("name") or ""))
            if targets:
                found.append(Redirect(address, int(port["port"]), tuple(targets)))
    return found


def _targets(slices: Iterable[Mapping[str, Any]], name: str) -> set[tuple[str, int]]:
    found: set[tuple[str, int]] = set()
    for each in slices:
        if each.get("addressType") != "IPv4":
            continue
        ports = [
            port["port"] for port in each.get("ports") or () if (port.get("name") or "") == name and port.get("port")
        ]
        for endpoint in each.get("endpoints") or ():
            # kube-proxy's reading: no `ready` means ready
            if (endpoint.get("conditions") or {}).get("ready") is not False:
                found.update((address, int(port)) for address in endpoint.get("addresses") or () for port in ports)
    return found


def _host_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


class ApiServerRedirect:
    """Follows service and EndpointSlices; every change is told to the backend, a refusal is tried again."""

    def __init__(self, api: KubeApi, backend: ElasticBackend, *, override: str, clock: Clock, random: Random) -> None:
        self._backend = backend
        self._override = override
        self._clock = clock
        self._told: list[Redirect] | None = None
        selectors = {"fieldSelector": "metadata.name=kubernetes"}
        labels = {"labelSelector": "kubernetes.io/service-name=kubernetes"}
        self._services = Reflector(api, SERVICE, selectors, self._changed, clock=clock, random=random)
        self._slices = Reflector(api, SLICES, labels, self._changed, clock=clock, random=random)

    async def follow_service(self) -> None:
        """Follow the service until cancelled; run it beside `follow_endpoints`."""
        await self._services.run()

    async def follow_endpoints(self) -> None:
        """Follow the endpoints until cancelled."""
        await self._slices.run()

    async def _changed(self, _change: Change) -> None:
        wanted = redirects(self._services.store.objects(), self._slices.store.objects(), self._override)
        if not wanted or wanted == self._told:
            return
        while True:
            try:
                await self._backend.set_redirects(wanted)
            except CloudError as error:
                log.warning("redirect.refused", error=str(error), retry_seconds=_RETRY_SECONDS)
                await self._clock.sleep(error.retry_after or _RETRY_SECONDS)
            else:
                break
        self._told = wanted
        log.info("redirect.set", redirects=[(r.address, r.port, list(r.targets)) for r in wanted])
