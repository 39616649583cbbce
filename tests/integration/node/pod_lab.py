"""PodLab: the pods of one node on a real API server, over a simulated cloud that counts what it starts.

The controllers have the node's own credential, and may be ended and begun again; the cloud lives on, as it does when the
Kubernetes side of the provider is restarted.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from random import Random  # noqa: TID251 (seeded)
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from provider.clock import SystemClock
from provider.cloud.runtime.simulated import SimulatedRuntime
from provider.kube.client import KubeError
from provider.model.profile import PLAIN
from provider.model.volume import FilesVolume
from provider.pods.capacity import Sizes
from provider.pods.controller import PodController
from provider.pods.executor import NodeContext
from provider.pods.feed import InstanceFeed
from provider.translate.request import Placement
from tests.support.cloud_worlds import ZONE, RuntimeWorld, addresses, local_backend
from tests.support.control_plane import add_namespace, add_node, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from provider.cloud.backend import ElasticBackend
    from provider.cloud.runtime.base import RunSpec, SandboxSpec, SeenContainer
    from provider.kube.client import HttpKubeApi
    from provider.model.ids import PodUid
    from provider.model.volume import FileEntry, Volume

Json = dict[str, Any]
CLOCK = SystemClock()
HOST_IP = "10.214.0.1"


class CountingRuntime(SimulatedRuntime):
    """`starts` has each attempt of a container that was asked for, and how often.

    `environment` is what the newest attempt of a container was given, `files` what stands in an instance's volumes now.
    """

    def __init__(self) -> None:
        super().__init__(CLOCK)
        self.starts: Counter[tuple[str, str, int]] = Counter()
        self.environment: dict[tuple[str, str], dict[str, str]] = {}
        self.files: dict[tuple[str, str], dict[str, FileEntry]] = {}
        self.volumes: dict[str, tuple[Volume, ...]] = {}

    async def create_sandbox(self, spec: SandboxSpec) -> None:
        self.volumes[spec.uid] = spec.volumes
        for volume in spec.volumes:
            if isinstance(volume, FilesVolume):
                self.files[spec.uid, volume.name] = {each.path: each for each in volume.files}
        await super().create_sandbox(spec)

    async def write_files(self, uid: PodUid, volume: str, files: Sequence[FileEntry]) -> None:
        self.files[uid, volume] = {each.path: each for each in files}
        await super().write_files(uid, volume, files)

    async def start_container(self, spec: RunSpec) -> SeenContainer:
        self.starts[spec.uid, spec.container.name, spec.attempt] += 1
        self.environment[spec.uid, spec.container.name] = dict(spec.env)
        return await super().start_container(spec)


class PodLab:
    def __init__(
        self, node: str, namespace: str, admin: HttpKubeApi, own: HttpKubeApi, backend: ElasticBackend, runtime: Any
    ) -> None:
        self.node = node
        self.namespace = namespace
        self.admin = admin
        self.own = own
        self.backend = backend
        self.runtime: CountingRuntime = runtime
        self.profile = PLAIN
        self.controller: PodController | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def pods(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods"

    async def start(self) -> None:
        """Begin anew: nothing of an earlier life is known."""
        context = NodeContext(
            name=self.node,
            placement=Placement(zone=ZONE.id, cluster_dns=("10.96.0.10",), profile=self.profile),
            services=lambda: (),
            host_ip=lambda: HOST_IP,
            allocatable=lambda: Sizes(cpu=4000, memory=4 << 30, ephemeral_storage=1 << 40, pods=100),
        )
        controller = PodController(context, self.own, self.backend, clock=CLOCK, random=Random(1))
        feed = InstanceFeed(self.backend, {ZONE.id: controller}, clock=CLOCK, random=Random(2))

        async def life() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(controller.run())
                group.create_task(feed.run())

        self.controller = controller
        self._task = asyncio.get_running_loop().create_task(life())

    async def kill(self) -> None:
        """End the controllers at once; a failure of theirs is the test's."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            if not self._task.cancelled():
                self._task.result()
            self._task = None

    async def pod(
        self,
        name: str,
        *,
        simulate: dict[str, str] | None = None,
        labels: dict[str, str] | None = None,
        annotations: dict[str, str] | None = None,
        node: str = "",
        **spec: Any,
    ) -> Json:
        """Create a pod bound to the node; without `duration` it runs until it is deleted."""
        hints = {f"simulate.zonelet.dev/{key}": value for key, value in (simulate or {}).items()}
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "annotations": {**hints, **(annotations or {})}, "labels": labels or {}},
            "spec": {
                "nodeName": node or self.node,
                "restartPolicy": "Never",
                "containers": [{"name": "main", "image": "busybox:1.36"}],
                **spec,
            },
        }
        return dict(await self.admin.create(self.pods, body))

    async def find(self, name: str) -> Json | None:
        try:
            return await self.admin.get(f"{self.pods}/{name}")
        except KubeError as error:
            if error.code != 404:
                raise
            return None

    async def becomes(self, name: str, holds: Callable[[Json], object], seconds: float = 30) -> Json:
        """Wait until the pod's status holds, and return the pod; TimeoutError tells what it was instead."""

        async def look() -> Json | None:
            pod = await self.find(name)
            return pod if pod is not None and holds(pod["status"]) else None

        try:
            return dict(await until(look, seconds))
        except TimeoutError:
            pod = await self.find(name)
            raise TimeoutError(f"pod {name}: {None if pod is None else pod['status']}") from None

    async def gone(self, name: str) -> None:
        async def look() -> bool:
            return await self.find(name) is None

        assert await until(look)

    async def left(self) -> list[str]:
        """The UIDs of instances that the cloud still has."""
        return [each.uid for each in await self.backend.describe_instances()]

    async def reasons(self, name: str) -> list[tuple[str, str]]:
        """The events of the pod that the node has written: reason and message."""
        listed = await self.admin.list(
            f"/api/v1/namespaces/{self.namespace}/events", {"fieldSelector": f"involvedObject.name={name}"}
        )
        return [(each["reason"], each["message"]) for each in listed["items"]]


@asynccontextmanager
async def pod_lab(
    node: str, directory: Path, admin: HttpKubeApi, own: HttpKubeApi, namespace: str = ""
) -> AsyncIterator[PodLab]:
    """Make the Node, the namespace of its pods and the cloud; start the controllers."""
    runtime = CountingRuntime()
    below = RuntimeWorld(runtime, replace(ZONE, ephemeral_storage=1 << 40), addresses())
    await add_node(admin, node)
    await add_namespace(admin, namespace or node)
    async with local_backend(below, directory, CLOCK) as backend:
        lab = PodLab(node, namespace or node, admin, own, backend, runtime)
        await lab.start()
        try:
            yield lab
        finally:
            await lab.kill()
            for pod in (await admin.list(lab.pods))["items"]:
                await admin.delete(f"{lab.pods}/{pod['metadata']['name']}", grace_seconds=0)
            await admin.delete(f"/api/v1/nodes/{node}")
