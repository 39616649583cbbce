"""A local control plane without Argo, and providers on it: one on the Docker engine, one on the simulated runtime."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import yaml

from provider.cluster.installation import Installation, python_module
from provider.cluster.processes import Process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from provider.clock import Clock
    from provider.kube.client import KubeApi

READY_SECONDS = 120.0


class Provider:
    """A provider daemon of the bench, with a state directory of its own below the cluster's."""

    def __init__(self, cluster: Installation, kind: str) -> None:
        self.name = f"{cluster.name}-{kind}"
        self.kind = kind
        self.nodes = [f"{self.name}-{zone}" for zone in "abc"]
        self._cluster = cluster
        self._state = cluster.state / f"bench-{kind}"
        self.process = Process(f"provider-{kind}", cluster.state / "run")

    @property
    def state(self) -> Path:
        """The provider's own state directory."""
        return self._state

    @asynccontextmanager
    async def running(self, api: KubeApi, clock: Clock) -> AsyncIterator[None]:
        """Run the daemon while the block runs; it is ready when its nodes are."""
        self._state.mkdir(parents=True, exist_ok=True)
        zones = [{"name": name, "nodeName": name} for name in self.nodes]
        taint = "NoSchedule" if self.kind == "simulated" else "none"
        document = {
            "name": self.name,
            "zones": zones,
            "node": {"taint": taint},
            "runtime": {"kind": self.kind, "imagePull": "preferLocal"},
            "stateDir": str(self._state),
        }
        config = self._state / "provider.yaml"
        config.write_text(yaml.safe_dump(document))
        argv, environment = python_module("provider.cli.main", "run", "--config", str(config))
        environment["KUBECONFIG"] = str(self._cluster.provider_kubeconfig)
        self.process.start(argv, environment)
        try:
            await self._ready(api, clock)
            yield
        finally:
            await self.process.stop(clock)

    async def _ready(self, api: KubeApi, clock: Clock) -> None:
        deadline = clock.now() + READY_SECONDS
        while clock.now() < deadline:
            listed = await api.list("/api/v1/nodes")
            ready = [node["metadata"]["name"] for node in listed["items"] if _ready(node)]
            if set(self.nodes) <= set(ready):
                return
            if self.process.pid() is None:
                break
            await clock.sleep(0.3)
        raise TimeoutError(f"the nodes of {self.name} are not Ready; read {self.process.log}")


def _ready(node: dict[str, dict[str, list[dict[str, str]]]]) -> bool:
    conditions = node.get("status", {}).get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
