"""NodeWorld: one zone's NodeAgent over FakeKubeApi, a cloud that the test moves, and the two credentials apart.

Each credential is held to what a real API server allows it: the node's to NodeRestriction (upstream
`plugin/pkg/admission/noderestriction/admission.go`, admitNode), the provider's to its role in deploy/kustomize/base.
"""

from __future__ import annotations

import asyncio
from random import Random  # noqa: TID251 (seeded)
from typing import TYPE_CHECKING, Any

from provider.clock import LoopClock
from provider.config.schema import NodeConfig, ProviderConfig, ZoneConfig
from provider.kube.client import KubeError
from provider.model.capacity import BackendHealth, EngineInfo, VSwitchStatus, Zone, ZoneStatus
from provider.model.ids import VSwitchId, ZoneId
from provider.model.size import InstanceSize
from provider.node.agent import NodeAgent
from tests.support.kube_fake import FakeKubeApi, Place, _merge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from provider.clock import Clock
    from provider.cloud.backend import ElasticBackend
    from provider.kube.client import PatchKind
    from provider.model.demand import Demand
    from provider.model.errors import CloudError
    from provider.model.stock import StockStatus

Json = dict[str, Any]
NODE = "virtual-kubelet-zone-a"
NODES = "/api/v1/nodes"
PATH = f"{NODES}/{NODE}"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{NODE}"
PROVIDER_ID = "zonelet://local/zonelet/zone-a"
ENGINE = EngineInfo(runtime="docker://20.10.24", machine_id="m", boot_id="b")
OPEN_LABELS = ("kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch", "topology.kubernetes.io/")


class Credential:
    """One identity's way to the fake: `writes` keeps what it wrote (verb, path), refusals included."""

    def __init__(self, api: FakeKubeApi) -> None:
        self.api = api
        self.writes: list[tuple[str, str]] = []
        self.refused: list[str] = []

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        return await self.api.get(path, query)

    async def list(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        return await self.api.list(path, query)

    async def create(self, path: str, body: Json) -> Json:
        self.writes.append(("create", path))
        self._admit(self.may_create(path, body))
        return await self.api.create(path, body)

    async def patch(self, path: str, body: Json, kind: PatchKind, query: Mapping[str, str] | None = None) -> Json:
        self.writes.append(("patch", path))
        self._admit(self.may_patch(path, body, kind))
        return await self.api.patch(path, body, kind, query)

    async def delete(
        self,
        path: str,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        grace_seconds: int | None = None,
    ) -> Json:
        self.writes.append(("delete", path))
        return await self.api.delete(path, uid=uid, resource_version=resource_version, grace_seconds=grace_seconds)

    def watch(self, path: str, query: Mapping[str, str], idle_seconds: float) -> AsyncIterator[Json]:
        return self.api.watch(path, query, idle_seconds)

    def may_create(self, path: str, body: Json) -> str:
        """Return why not, or nothing."""
        raise NotImplementedError

    def may_patch(self, path: str, body: Json, kind: PatchKind) -> str:
        """Return why not, or nothing."""
        raise NotImplementedError

    def _admit(self, refusal: str) -> None:
        if refusal:
            self.refused.append(refusal)
            raise KubeError(403, "Forbidden", refusal)


class NodeCredential(Credential):
    """`system:node:<NODE>`."""

    def may_create(self, path: str, body: Json) -> str:
        if path != NODES:
            return ""
        if body["metadata"]["name"] != NODE:
            return "is not allowed to create another node"
        return _forbidden_labels({}, body["metadata"].get("labels") or {})

    def may_patch(self, path: str, body: Json, kind: PatchKind) -> str:
        place = Place.of(path)
        if place.plural != "nodes":
            return ""
        if place.name != NODE:
            return "is not allowed to modify another node"
        held = self.api.held(f"{NODES}/{place.name}")
        if held is None or place.sub == "status":
            return ""
        new = _merge(held, body, strategic=kind == "strategic")
        if (new.get("spec") or {}).get("taints") != (held.get("spec") or {}).get("taints"):
            return "is not allowed to modify taints"
        return _forbidden_labels(held["metadata"].get("labels") or {}, new["metadata"].get("labels") or {})


class ProviderCredential(Credential):
    """The provider's own: it may patch Nodes, and neither read nor remove them."""

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        self._admit(f"cannot get {path}")
        return {}

    async def list(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        self._admit(f"cannot list {path}")
        return {}

    async def delete(self, path: str, **_: Any) -> Json:
        self._admit(f"cannot delete {path}")
        return {}

    def may_create(self, path: str, body: Json) -> str:
        return f"cannot create {path}"

    def may_patch(self, path: str, body: Json, kind: PatchKind) -> str:
        place = Place.of(path)
        return "" if (place.plural, place.sub) == ("nodes", "") else f"cannot patch {path}"


def _forbidden_labels(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    closed = [
        key
        for key in sorted(changed)
        if key.partition("/")[0].endswith(("kubernetes.io", "k8s.io"))
        and not key.startswith((*OPEN_LABELS, "node.kubernetes.io/", "kubelet.kubernetes.io/"))
    ]
    return f"is not allowed to modify labels: {', '.join(closed)}" if closed else ""


class ZoneCloud:
    """Of ElasticBackend what the agent asks: `health` and the zones, or an error, or no answer at all."""

    def __init__(self) -> None:
        self.state = BackendHealth(healthy=True, engine=ENGINE)
        self.address: str | None = "172.20.0.5"
        self.cpu = 4_000
        self.stock: tuple[StockStatus, ...] = ()
        self.error: CloudError | None = None
        self.silent = False
        self.asked = 0

    async def health(self) -> BackendHealth:
        self.asked += 1
        if self.silent:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        return self.state

    async def describe_zones(self) -> tuple[ZoneStatus, ...]:
        zone = Zone(id=ZoneId("zone-a"), cpu=self.cpu, memory=8 << 30, ephemeral_storage=1 << 40)
        vswitch = VSwitchStatus(VSwitchId("vsw"), "10.0.0.0/24", 249, 0)
        return (ZoneStatus(zone=zone, vswitches=(vswitch,), node_address=self.address, stock=self.stock),)


class NodeWorld:
    """`start` runs a new agent (a new provider), `kill` ends it."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or LoopClock()
        self.api = FakeKubeApi(self.clock)
        self.node_api = NodeCredential(self.api)
        self.provider_api = ProviderCredential(self.api)
        self.cloud = ZoneCloud()
        self.config = ProviderConfig(node=NodeConfig(taint="NoSchedule"))
        self.zone = ZoneConfig(name="zone-a", labels={"team": "x"})
        self.address: str | None = None
        self.seen: list[Json] = []
        self.demand: Callable[[], Demand | None] | None = None
        self.agent = self._made()
        self._task: asyncio.Task[None] | None = None

    def _made(self) -> NodeAgent:
        backend: ElasticBackend = self.cloud  # type: ignore[assignment]
        return NodeAgent(
            self.zone,
            self.config,
            provider_api=self.provider_api,
            node_api=self.node_api,
            backend=backend,
            version="v1.37.2-zonelet-0.1.0",
            clock=self.clock,
            random=Random(1),
            address=self.address,
            seen=self.seen.append,
            demand=self.demand,
            default_size=InstanceSize(2_000, 4 << 30),
        )

    async def start(self) -> None:
        self.agent = self._made()
        self._task = asyncio.get_running_loop().create_task(self.agent.run())
        await self.settle()

    async def kill(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            if not self._task.cancelled():
                self._task.result()
            self._task = None

    async def settle(self, seconds: float = 5) -> None:
        await self.clock.sleep(seconds)

    def node(self) -> Json:
        held = self.api.held(PATH)
        assert held is not None
        return held

    def ready(self) -> Json:
        return next(each for each in self.node()["status"]["conditions"] if each["type"] == "Ready")

    def renewals(self) -> list[str]:
        return [path for verb, path in self.node_api.writes if path == LEASE or path == LEASE.rpartition("/")[0]]

    def edit(self, change: Callable[[Json], None]) -> None:
        """Let an administrator change the Node."""
        self.api.edit(PATH, change)
