"""World: one node's controller and feed over FakeKubeApi and FakeCloud, to be started, killed and started again."""

from __future__ import annotations

import asyncio
from random import Random  # noqa: TID251 (seeded)
from typing import TYPE_CHECKING, Any

from provider.clock import LoopClock
from provider.model.ids import ZoneId
from provider.model.profile import PLAIN
from provider.pods.capacity import Sizes
from provider.pods.controller import PodController
from provider.pods.executor import NodeContext
from provider.pods.feed import InstanceFeed
from provider.translate.request import Placement
from tests.support.cloud_fake import FakeCloud
from tests.support.kube_fake import Call, FakeKubeApi

if TYPE_CHECKING:
    from collections.abc import Callable

Json = dict[str, Any]
NODE = "node-a"
ZONE = ZoneId("zone-a")
PODS = "/api/v1/namespaces/n/pods"


class World:
    def __init__(self) -> None:
        self.clock = LoopClock()
        self.api = FakeKubeApi(self.clock)
        self.cloud: Any = FakeCloud(self.clock)
        self.apparmor = True
        self.cluster_dns: tuple[str, ...] = ("10.96.0.10",)
        self.services: tuple[Any, ...] | None = ()
        self.allocatable: Sizes | None = Sizes(cpu=4000, memory=8 * 2**30, ephemeral_storage=2**40, pods=10)
        self.labels: dict[str, str] | None = None
        self.host_daemons = False
        self.profile = PLAIN
        self.controller = self._made()
        self._task: asyncio.Task[None] | None = None
        self.phases: dict[str, list[str]] = {}
        """by UID, each phase that the API server was given"""
        self.api.hook = self._watch_phases
        self.watchers: list[Callable[[Call], None]] = []

    def _made(self) -> PodController:
        node = NodeContext(
            name=NODE,
            placement=Placement(zone=ZONE, cluster_dns=self.cluster_dns, profile=self.profile),
            services=lambda: self.services,
            host_ip=lambda: "192.0.2.1",
            allocatable=lambda: self.allocatable,
            labels=lambda: self.labels,
            apparmor=lambda: self.apparmor,
            host_daemons=self.host_daemons,
        )
        return PodController(node, self.api, self.cloud, clock=self.clock, random=Random(1))

    async def start(self) -> None:
        """Start the provider anew: nothing of an earlier life is known to it."""
        self.controller = self._made()
        feed = InstanceFeed(self.cloud, {ZONE: self.controller}, clock=self.clock, random=Random(2))

        async def life() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.controller.run())
                group.create_task(feed.run())

        self._task = asyncio.get_running_loop().create_task(life())
        await self.clock.sleep(0.2)

    async def kill(self) -> None:
        """End the provider at once."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            if not self._task.cancelled():
                self._task.result()
            self._task = None

    async def pod(self, name: str = "p", **fields: Any) -> str:
        """Create a pod bound to the node, which mounts all its volumes; return its UID."""
        own = fields.pop("spec", {})
        mounts = [{"name": one["name"], "mountPath": f"/{one['name']}"} for one in own.get("volumes") or ()]
        spec = {"nodeName": NODE, "containers": [{"name": "c", "image": "i", "volumeMounts": mounts}], **own}
        made = await self.api.create(
            PODS, {"metadata": {"name": name, **fields.pop("metadata", {})}, "spec": spec, **fields}
        )
        return str(made["metadata"]["uid"])

    async def created(self, name: str, **fields: Any) -> str:
        """Bind a pod and wait until the cloud has accepted it; return its UID."""
        uid = await self.pod(name, **fields)
        await self.settle(0.1)
        return uid

    async def get(self, name: str = "p") -> Json:
        return await self.api.get(f"{PODS}/{name}")

    async def status(self, name: str = "p") -> Json:
        return dict((await self.get(name))["status"])

    async def delete(self, name: str = "p", grace: int | None = None) -> None:
        await self.api.delete(f"{PODS}/{name}", grace_seconds=grace)

    def exists(self, name: str = "p") -> bool:
        return any(key[1:] == ("pods", "n", name) for key in self.api._objects)

    async def settle(self, seconds: float = 2) -> None:
        await self.clock.sleep(seconds)

    def reasons(self) -> list[str]:
        return [one["reason"] for one in self.api.events()]

    def changes(self, uid: str = "") -> list[str]:
        """Return the provider's own writes, as `patch Running` or `delete 0`."""
        return [
            f"patch {one.body['status'].get('phase', '')}".strip()
            if one.verb == "patch"
            else f"delete {one.body['grace']}"
            for one in self.api.writes()
            if one.body is not None
            and one.verb in ("patch", "delete")
            and (one.body.get("uid") or one.body.get("metadata", {}).get("uid"))
        ]

    def _watch_phases(self, call: Call) -> None:
        if call.verb == "patch" and call.body is not None and call.path.endswith("/status"):
            phase = call.body["status"].get("phase")
            if phase:
                self.phases.setdefault(call.body["metadata"]["uid"], []).append(phase)
        for watcher in self.watchers:
            watcher(call)
