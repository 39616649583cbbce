"""One zone's Node: registered, kept true, made again when somebody deletes it, and its lease.

Two credentials write it. The node's own creates it and reports its status, as a kubelet does; the provider's sets what
NodeRestriction forbids a node to change of itself (the role label, taints of an existing Node). Labels and taints are
made right at the start and when the Node is created; what an administrator changes in between stays.
A provider that ends leaves the Node: its lease runs out after 40 s if no other takes over, and only then the cluster
evicts its pods.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import structlog
from msgspec.structs import replace

from provider.kube.client import KubeApi, KubeError, PatchKind
from provider.kube.reflector import Reflector
from provider.model.capacity import BackendHealth, EngineInfo, ZoneStatus
from provider.model.demand import Demand
from provider.model.errors import CloudError
from provider.model.size import InstanceSize
from provider.node.changes import own_patch, privileged_patch, status_patch, whose
from provider.node.events import NodeEvents
from provider.node.heartbeat import Heartbeat
from provider.node.offer import offer
from provider.node.shape import (
    NodeFacts,
    node_conditions,
    node_name,
    node_part,
    node_resources,
    node_status,
    node_taints,
    provider_id,
)
from provider.observability.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random  # noqa: TID251 (the type; the value is injected)

    from provider.clock import Clock
    from provider.cloud.backend import ElasticBackend
    from provider.config.schema import ProviderConfig, ZoneConfig
    from provider.kube.store import Change

Json = dict[str, Any]

log = structlog.get_logger(__name__)

NODES = "/api/v1/nodes"
LOOK_SECONDS = 10.0
"""How often the zone is looked at when nothing is told (the kubelet's nodeStatusUpdateFrequency)."""
_NO_SIZE = InstanceSize(0, 0)
OFFER_SPACING_SECONDS = 0.2
"""The same where allocatable follows the stock; so it is patched no more often than this either."""
SPACING_SECONDS = 1.0
"""The zone is looked at no more often than this, however often it is told to have changed."""
ANSWER_SECONDS = 10.0
"""A cloud that has not answered after this is not healthy."""
RETRY_SECONDS = 2.0
OTHER_NODE = (HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)
"""What a patch of a Node is answered that has gone, or whose name another Node has now (its UID is immutable)."""
CONFLICTS = 5
"""How often a patch of the taints is tried when others write them at the same time."""


class NodeAgent:
    """The Node of one zone; `run` as a task, `zone_changed` when the cloud says so."""

    def __init__(
        self,
        zone: ZoneConfig,
        config: ProviderConfig,
        *,
        provider_api: KubeApi,
        node_api: KubeApi,
        backend: ElasticBackend,
        version: str,
        clock: Clock,
        random: Random,
        address: str | None = None,
        seen: Callable[[Json], None] = lambda _: None,
        demand: Callable[[], Demand | None] | None = None,
        default_size: InstanceSize = _NO_SIZE,
    ) -> None:
        """`version` is the kubeletVersion; `seen` gets the Node whenever it is new (ServingCertificate.node_seen).

        `address` is the InternalIP where the cloud has no address for the zone (simulated instances). With `demand`
        allocatable follows what the zone can sell (offer.py), of instances of `default_size`; None as its answer: not
        known yet. Without it allocatable is the zone as a whole.
        """
        self.name = node_name(zone)
        self.registered = asyncio.Event()
        """Set once the Node is there and true; it stays set."""
        self.owned = asyncio.Event()
        """Set while the Node is known to be ours: before, and when another's stands there, its pods are not ours."""
        self.taken = asyncio.Event()
        """Set while somebody else's Node has this name."""
        self._zone = zone
        self._config = config
        self._provider_api = provider_api
        self._node_api = node_api
        self._backend = backend
        self._version = version
        self._clock = clock
        self._random = random
        self._address = address
        self._seen = seen
        self._demand = demand
        self._default_size = default_size
        self._offered: dict[str, str] | None = None
        self._offered_empty: dict[str, str] | None = None
        self._spacing = SPACING_SECONDS if demand is None else OFFER_SPACING_SECONDS
        self._path = f"{NODES}/{self.name}"
        self._node: Json | None = None
        self._reconciled = False
        self._health = BackendHealth(healthy=False, reason="Starting", message="the cloud has not been asked yet")
        self._status: ZoneStatus | None = None
        self._engine: EngineInfo | None = None
        self._look = asyncio.Event()
        self._sync = asyncio.Event()
        self._report_at = 0.0
        self._told = ""
        self._trouble = Trouble(log, clock, "node.failed", "node.goes_on", node=self.name)
        self._events = NodeEvents(node_api, self.name, clock=clock)
        selector = {"fieldSelector": f"metadata.name={self.name}"}
        self._reflector = Reflector(node_api, NODES, selector, self._changed, clock=clock, random=random)
        self._heartbeat = Heartbeat(
            node_api,
            self.name,
            lambda: self._events.node_uid,
            self._lease_health,
            lease_seconds=config.node.lease_seconds,
            clock=clock,
        )

    @property
    def node(self) -> Json | None:
        """Return the Node as the API server has it, None before it is registered and while it is deleted."""
        return self._node

    @property
    def address(self) -> str | None:
        """Return the Node's InternalIP, None before it is known; it stays while the zone is made again."""
        if self._status is not None and self._status.node_address:
            return self._status.node_address
        published = ((self._node or {}).get("status") or {}).get("addresses") or ()
        return next((str(each["address"]) for each in published if each["type"] == "InternalIP"), None)

    @property
    def apparmor(self) -> bool:
        """Whether the node can do what a pod says of AppArmor; so it is taken as long as the engine is not known."""
        return self._engine is None or self._engine.apparmor

    @property
    def allocatable(self) -> Mapping[str, str] | None:
        """Return what the Node offers to pods (node.status.allocatable); None before it is known."""
        facts = self._facts()
        return None if facts is None else node_resources(facts)

    def zone_changed(self) -> None:
        """Look at the zone soon: stock, addresses or health may have changed."""
        self._look.set()

    async def run(self) -> None:
        """Keep the Node until cancelled; the API server and the cloud may come and go."""
        self._look.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tick())
            group.create_task(self._observe_for_ever())
            group.create_task(self._sync_for_ever())
            group.create_task(self._reflector.run())
            group.create_task(self._beat())

    # -- the zone

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            self._look.set()

    async def _observe_for_ever(self) -> None:
        while True:
            await self._look.wait()
            self._look.clear()
            await self._observe()
            self._sync.set()
            await self._clock.sleep(self._spacing)

    async def _observe(self) -> None:
        # Asked before the zones: a pod that comes between is counted too early rather than not at all.
        demand = None if self._demand is None else self._demand()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                self._health = await self._backend.health()
                zones = await self._backend.describe_zones()
        except TimeoutError:
            text = f"the cloud has not answered in {ANSWER_SECONDS:.0f} s"
            self._health = BackendHealth(healthy=False, reason="CloudTimeout", message=text)
            return
        except CloudError as error:
            self._health = BackendHealth(healthy=False, reason="CloudUnavailable", message=error.message)
            return
        self._engine = self._health.engine or self._engine
        status = next((each for each in zones if each.zone.id == self._zone.name), self._status)
        if status is not None and status.node_address is None:
            status = replace(status, node_address=self._address)
        self._status = status
        if self._demand is not None and status is not None:
            self._offered_empty = offer(Demand(), status, zones, self._default_size)
            if demand is not None:
                self._offered = offer(demand, status, zones, self._default_size)

    def _facts(self) -> NodeFacts | None:
        """Return what the Node is made of; None as long as the cloud has not told zone and engine once."""
        if self._status is None or self._engine is None:
            return None
        return NodeFacts(
            config=self._config,
            zone_config=self._zone,
            status=self._status,
            engine=self._engine,
            health=self._health,
            version=self._version,
            allocatable=self._offered,
        )

    # -- the Node

    async def _beat(self) -> None:
        await self.registered.wait()
        await self._heartbeat.run()

    async def _changed(self, change: Change) -> None:
        """Take what the watch tells."""
        if change.kind != "deleted":
            self._take(change.new)
        elif self._node is not None and change.new["metadata"]["uid"] == self._node["metadata"]["uid"]:
            log.warning("node.deleted", node=self.name, next="it is registered again")
            self._forget()

    def _take(self, node: Json) -> None:
        """Hold a state unless a newer one, of whatever UID, is held: answers and watch overtake each other."""
        held = self._node
        if held is not None and _version(node) <= _version(held):
            return
        if held is None or held["metadata"]["uid"] != node["metadata"]["uid"]:
            self._reconciled = False  # made by another meanwhile: an answer may overtake the news of the deletion
        self._node = node
        self._sync.set()
        if self._is_foreign(node):
            return
        self._events.node_uid = node["metadata"]["uid"]
        self._seen(node)

    def _forget(self) -> None:
        self._node = None
        self._reconciled = False
        self._sync.set()

    def _lease_health(self) -> BackendHealth:
        """Return the health that the Lease is renewed by; another's Node has a Lease of its own."""
        if self.taken.is_set():
            return BackendHealth(healthy=False, reason="NodeTaken", message=self._told)
        return self._health

    async def _sync_for_ever(self) -> None:
        while True:
            await self._sync.wait()
            self._sync.clear()
            try:
                await self._synchronize()
                self._trouble.over()
            except KubeError as error:
                if self._node is not None and self.taken.is_set():
                    continue  # it is told, and the watch tells when it is over
                self._trouble.began(error.code, error=str(error))
                if error.code in OTHER_NODE:
                    self._forget()
                await self._clock.sleep(error.retry_after or RETRY_SECONDS)
                self._sync.set()

    async def _synchronize(self) -> None:
        facts = self._facts()
        if self._node is None and (found := await self._read()) is not None:
            self._take(found)
        if self._node is None:
            if facts is None:
                self._say("node.waits", "the cloud has not told what the zone is yet: " + self._health.message)
                return
            await self._register(facts)
        if self.taken.is_set():
            return
        if facts is not None and not self._reconciled:
            uid = self._required()["metadata"]["uid"]
            await self._reconcile(facts)
            self._reconciled = self._required()["metadata"]["uid"] == uid
            self.registered.set()
        await self._report(facts)

    async def _read(self) -> Json | None:
        try:
            return await self._node_api.get(self._path)
        except KubeError as error:
            if error.code != HTTPStatus.NOT_FOUND:
                raise
            return None

    async def _register(self, facts: NodeFacts) -> None:
        now = self._clock.now()
        body = node_part(replace(facts, allocatable=self._offered or self._offered_empty), now)
        if taints := node_taints(facts):
            body["spec"]["taints"] = taints  # a node may set them at its creation, and only then
        try:
            self._take(await self._node_api.create(NODES, body))
        except KubeError as error:
            if error.code != HTTPStatus.CONFLICT:
                raise
            self._take(await self._node_api.get(self._path))
        else:
            self._next_report(changed=True)
            log.info("node.registered", node=self.name)
            await self._tell_ready(_ready(body["status"]))

    async def _reconcile(self, facts: NodeFacts) -> None:
        """Make labels and taints what the configuration says; the rest of both stays as it is."""
        if own := own_patch(self._required(), facts):
            await self._patch(self._node_api, self._path, own, "merge")
        for attempt in range(CONFLICTS):
            privileged = privileged_patch(self._required(), facts)
            if privileged is None:
                return
            try:
                await self._patch(self._provider_api, self._path, privileged, "merge")
            except KubeError as error:
                if error.code == HTTPStatus.FORBIDDEN:
                    raise KubeError(error.code, error.reason, f"{error.message}; {_ROLE_ADVICE}") from error
                if error.code != HTTPStatus.CONFLICT or attempt == CONFLICTS - 1:
                    raise
                self._take(await self._node_api.get(self._path))

    async def _report(self, facts: NodeFacts | None) -> None:
        """Send the status when it has changed, or when it is time for its heartbeat."""
        now = self._clock.now()
        current = self._required().get("status") or {}
        due = now >= self._report_at
        if not self._health.healthy and _ready(current) == "Unknown":
            return  # the lease has run out meanwhile; to and fro with the node controller would tell nobody anything
        patch = status_patch(current, self._wanted(facts, current, now), heartbeat=due)
        if patch is None:
            return
        await self._patch(self._node_api, f"{self._path}/status", patch, "strategic")
        self._next_report(changed=not due or self._report_at == 0.0)
        if _ready(current) != (fresh := _ready(patch["status"])):
            await self._tell_ready(fresh)

    async def _tell_ready(self, ready: str) -> None:
        """Tell of the new status of Ready as the kubelet does, whose nodes begin with False."""
        log.info("node.ready", node=self.name, ready=ready, why=self._health.message)
        reason = "NodeReady" if ready == "True" else "NodeNotReady"
        await self._events.emit("Normal", reason, f"Node {self.name} status is now: {reason}")

    def _wanted(self, facts: NodeFacts | None, current: Json, now: float) -> Json:
        previous = current.get("conditions") or ()
        if facts is None:
            return {"conditions": node_conditions(self._health, now, previous)}
        wanted = node_status(facts, now, previous)
        if self._demand is not None and self._offered is None:
            del wanted["allocatable"]  # the pods are not known yet: what an earlier life has offered stays
        if facts.status.node_address is None and any(
            each["type"] == "InternalIP" for each in current.get("addresses") or ()
        ):
            del wanted["addresses"]  # the runtime has not made the zone again yet; the address does not change by it
        return wanted

    def _next_report(self, *, changed: bool) -> None:
        """Set the time of the next heartbeat; after a change with a shift, so that nodes do not report all at once."""
        shift = self._random.uniform(-0.5, 0.5) if changed else 0.0
        self._report_at = self._clock.now() + self._config.node.status_interval_seconds * (1 + shift)

    def _is_foreign(self, node: Json) -> bool:
        """Say whether the Node is somebody else's, also in the log and by the two events."""
        theirs = whose(node, provider_id(self._config, self._zone))
        if theirs:
            self.owned.clear()
            self.taken.set()
            self._say(
                "node.taken",
                f"a Node {self.name} is there already, {theirs}; give this zone another zones[].nodeName, or remove "
                f"the other one: kubectl delete node {self.name}",
            )
            return True
        if self.taken.is_set():
            self._told = ""
        self.taken.clear()
        self.owned.set()
        return False

    async def _patch(self, api: KubeApi, path: str, body: Json, kind: PatchKind) -> None:
        """Patch the Node only if it is the one that is held: another's may have taken its place meanwhile."""
        metadata = {**body.get("metadata", {}), "uid": self._required()["metadata"]["uid"]}
        self._take(await api.patch(path, {**body, "metadata": metadata}, kind))

    def _required(self) -> Json:
        if self._node is None:  # deleted while it was written to
            raise KubeError(HTTPStatus.NOT_FOUND, "NotFound", f"the Node {self.name} has been deleted meanwhile")
        if self.taken.is_set():
            raise KubeError(HTTPStatus.CONFLICT, "NodeTaken", self._told)
        return self._node

    def _say(self, event: str, text: str) -> None:
        """Log what is wrong once, not every ten seconds."""
        if self._told != text:
            self._told = text
            log.error(event, node=self.name, why=text)


_ROLE_ADVICE = "the provider's credential lacks its role: kubectl apply -k deploy/kustomize/base (or zonelet doctor)"


def _version(node: Json) -> int:
    return int(node["metadata"]["resourceVersion"])


def _ready(status: Json) -> str:
    return next((each["status"] for each in status.get("conditions") or () if each["type"] == "Ready"), "")
