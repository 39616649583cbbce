"""Events of a Node (in the namespace `default`, as the kubelet's); a failure to write one is logged, no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import structlog

from provider.kube.client import KubeApi, KubeError
from provider.node.shape import rfc3339

if TYPE_CHECKING:
    from provider.clock import Clock

log = structlog.get_logger(__name__)

EVENTS = "/api/v1/namespaces/default/events"


class NodeEvents:
    """Writes events about one Node with the node's own credential; `node_uid` is set once it is known."""

    def __init__(self, api: KubeApi, node_name: str, *, clock: Clock) -> None:
        self.node_uid = ""
        self._api = api
        self._node_name = node_name
        self._clock = clock

    async def emit(self, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """Write one event."""
        now = rfc3339(self._clock.now())
        event: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{self._node_name}.", "namespace": "default"},
            "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": self._node_name, "uid": self.node_uid},
            "type": kind,
            "reason": reason,
            "message": message,
            "source": {"component": "kubelet", "host": self._node_name},
            "reportingComponent": "kubelet",
            "reportingInstance": self._node_name,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            await self._api.create(EVENTS, event)
        except KubeError as error:
            log.warning("event.failed", node=self._node_name, reason=reason, error=str(error))
