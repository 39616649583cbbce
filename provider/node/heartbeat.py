"""The node's Lease, renewed while the engine is healthy (upstream: `component-helpers/apimachinery/lease`).

An unhealthy engine stops the renewal, so that the node life-cycle controller sees what a dead kubelet would show.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

from provider.kube.client import KubeApi, KubeError
from provider.observability.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import Callable

    from provider.clock import Clock
    from provider.model.capacity import BackendHealth

log = structlog.get_logger(__name__)

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
RENEWALS_PER_LEASE = 4
NOT_FOUND = 404


class Heartbeat:
    """One node's Lease; `lease_seconds` is its length, a quarter of it the interval of renewal (40 s, 10 s)."""

    def __init__(
        self,
        api: KubeApi,
        node: str,
        node_uid: Callable[[], str],
        health: Callable[[], BackendHealth],
        *,
        lease_seconds: int,
        clock: Clock,
    ) -> None:
        """Take the node's own client, and where to ask for the Node's UID and the engine's health."""
        self._api = api
        self._node = node
        self._node_uid = node_uid
        self._health = health
        self._lease_seconds = lease_seconds
        self._clock = clock

    async def run(self) -> None:
        """Renew until cancelled; a failed renewal is logged and tried again at the next interval."""
        trouble = Trouble(log, self._clock, "lease.failed", "lease.renewed", node=self._node)
        while True:
            if self._health().healthy:
                try:
                    await self.renew()
                    trouble.over()
                except KubeError as error:
                    trouble.began(error.code, error=str(error))
            await self._clock.sleep(self._lease_seconds / RENEWALS_PER_LEASE)

    async def renew(self) -> None:
        """Renew the Lease once, and make it where it is missing."""
        renewed = datetime.fromtimestamp(self._clock.now(), tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": self._node, "leaseDurationSeconds": self._lease_seconds, "renewTime": renewed}
        # The owner every time: a Node that was made again has another UID, and the lease of the former one is garbage.
        owner = {"apiVersion": "v1", "kind": "Node", "name": self._node, "uid": self._node_uid()}
        lease = {"metadata": {"ownerReferences": [owner]}, "spec": spec}
        try:
            await self._api.patch(f"{LEASES}/{self._node}", lease, "merge")
        except KubeError as error:
            if error.code != NOT_FOUND:
                raise
            await self._api.create(LEASES, self._named(lease))

    def _named(self, lease: dict[str, Any]) -> dict[str, Any]:
        metadata = {"name": self._node, "namespace": "kube-node-lease", **lease["metadata"]}
        return {**lease, "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata}
