"""A second provider of the bench's cluster, whose instances are simulated."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import yaml

from provider.cluster.processes import Process, python_module
from provider.cluster.provider_daemon import is_ready

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from provider.clock import Clock
    from provider.cluster.installation import Installation
    from provider.kube.client import KubeApi

READY_SECONDS = 120.0
_LABEL = "zonelet.dev/bench"


class SimulatedProvider:
    """Its nodes have a label of their own, and a taint, so that only pods that ask for them come."""

    def __init__(self, cluster: Installation) -> None:
        self.process = Process("provider-simulated", cluster.state / "run")
        self.selector = {_LABEL: "simulated"}
        self._cluster = cluster
        self._state = cluster.state / "simulated"
        self._nodes = [f"simulated-{zone}" for zone in "abc"]

    @asynccontextmanager
    async def running(self, api: KubeApi, clock: Clock) -> AsyncIterator[int]:
        """Run the daemon while the block runs; yields its pid once its nodes are Ready."""
        self._state.mkdir(parents=True, exist_ok=True)
        document = {
            "name": f"{self._cluster.name}-simulated",
            "zones": [{"name": name, "nodeName": name, "labels": self.selector} for name in self._nodes],
            "runtime": {"kind": "simulated"},
            "stateDir": str(self._state),
        }
        config = self._state / "provider.yaml"
        config.write_text(yaml.safe_dump(document))
        argv, environment = python_module("provider.cli.main", "run", "--config", str(config))
        environment["KUBECONFIG"] = str(self._cluster.provider_kubeconfig)
        self.process.start(argv, environment)
        try:
            yield await self._ready(api, clock)
        finally:
            await self.process.stop(clock)

    async def _ready(self, api: KubeApi, clock: Clock) -> int:
        deadline = clock.now() + READY_SECONDS
        while clock.now() < deadline and (pid := self.process.pid()) is not None:
            listed = await api.list("/api/v1/nodes")
            if set(self._nodes) <= {node["metadata"]["name"] for node in listed["items"] if is_ready(node)}:
                return pid
            await clock.sleep(0.3)
        raise TimeoutError(f"the simulated nodes are not Ready; read {self.process.log}")
