"""PodController: the pods of one node. A reflector tells of pods, the feed of instances; a worker per pod acts.

Identity is the UID. Nothing runs per pod while nothing happens: a worker ends when its plan is empty, waiting times
stand in one timetable, status writes and events in queues with a fixed number of senders.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Any

import structlog

from provider.kube.client import KubeApi, KubeError
from provider.kube.events import EventRecorder, reference
from provider.kube.reflector import Reflector
from provider.model.errors import CloudCode, CloudError, Rejection
from provider.model.ids import PodUid, ZoneId
from provider.model.instance import TERMINAL, Change, InstanceChanged, InstanceGone, Notice, Synced
from provider.model.stock import Amounts
from provider.observability.trouble import Trouble
from provider.pods.actions import CreateInstance, DeleteInstance, ForgetInstance, PodAction, TryAgain, WriteStatus
from provider.pods.capacity import Sizes
from provider.pods.conditions import SCHEDULE_FAILED
from provider.pods.demand import DemandBook
from provider.pods.executor import CONFLICT, NOT_FOUND, Executor, NodeContext
from provider.pods.live_volumes import LiveVolumes
from provider.pods.node_affinity import selects
from provider.pods.pull_secrets import PullSecrets
from provider.pods.rebind import Waiter, fails_fast, is_recreated, waits_for_stock
from provider.pods.reconcile import Refusal, plan
from provider.pods.record import PodRecord
from provider.pods.status import ENDED
from provider.pods.status_writer import StatusWriter, Write
from provider.pods.timetable import Timetable
from provider.pods.worker import Workers
from provider.translate.sizing import pod_requests
from provider.translate.written_back import written_back

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random  # noqa: TID251 (the type; the value is injected)

    from provider.clock import Clock
    from provider.cloud.backend import ElasticBackend
    from provider.kube import store
    from provider.model.demand import Demand
    from provider.model.pod import Pod
    from provider.pods.references import Fetched

Json = dict[str, Any]
log = structlog.get_logger(__name__)

PODS = "/api/v1/pods"
NO_ANSWER = 0
"""KubeError.code of a server that did not answer."""
GONE_RETRY_SECONDS = 30.0
"""A pod that the API server does not know any more: the watch says so soon, this is only in case that it does not."""
MUTABLE = frozenset({"activeDeadlineSeconds", "tolerations"})
"""Fields of a pod's spec that may change and that are followed, or are not this node's."""


class PodController:
    """One node's pods, from the API server to the cloud and back."""

    def __init__(
        self,
        node: NodeContext,
        api: KubeApi,
        backend: ElasticBackend,
        *,
        clock: Clock,
        random: Random,
        demand_changed: Callable[[], None] = lambda: None,
        stock_waited: Callable[[], None] = lambda: None,
    ) -> None:
        """Take the node's own credential as `api`, whom to tell when `demand` has changed, and when a pod waits."""
        self._stock_waited = stock_waited
        self._node = node
        self._demand = DemandBook(node.placement.profile)
        self._demand_changed = demand_changed
        self._clock = clock
        self._records: dict[PodUid, PodRecord] = {}
        # Every pod's worker notices that a side is away: the node says it once for all of them.
        self._api_away = Trouble(log, clock, "pods.wait_for_api_server", "pods.go_on", node=node.name)
        self._cloud_away = Trouble(log, clock, "pods.wait_for_cloud", "pods.go_on", node=node.name)
        self._known = False
        self._started = False
        selector = {"fieldSelector": f"spec.nodeName={node.name}"}
        self._reflector = Reflector(
            api, PODS, selector, self._pod_changed, clock=clock, random=random, listed=self._side_listed
        )
        self.recorder = EventRecorder(api, node.name, clock=clock, random=random)
        self._executor = Executor(
            node, api, backend, self.recorder, take=self._take, created=self._created, clock=clock, random=random
        )
        self._volumes = LiveVolumes(
            lambda uid: self._records.get(PodUid(uid)),
            self._executor.facts,
            api,
            backend,
            self._warn,
            clock=clock,
            random=random,
        )
        self._pull_secrets = PullSecrets(
            lambda uid: self._records.get(PodUid(uid)), api, backend, self._warn, clock=clock, random=random
        )
        self._writer = StatusWriter(api, self._held, self._written, clock=clock)
        self._workers = Workers(self._work, self._crashed)
        self._later = Timetable(self._workers.trigger, clock)

    @property
    def zone(self) -> ZoneId:
        """The zone whose instances are this node's pods."""
        return self._node.placement.zone

    async def run(self) -> None:
        """Follow the node's pods until cancelled."""
        async with asyncio.TaskGroup() as group:
            for part in (
                self.recorder.run(),
                self._workers.run(),
                self._later.run(),
                self._writer.run(),
                self._volumes.run(),
                self._pull_secrets.run(),
                self._reflector.run(),
            ):
                group.create_task(part)

    def pods(self) -> list[Json]:
        """Return the node's pods with their newest status, in the order in which they came."""
        newest = (record.newest() for record in self._records.values())
        return [pod for pod in newest if pod is not None]

    def demand(self) -> Demand | None:
        """Return what the node's pods take; None before both sides have told of all that they have."""
        if not self._started:
            return None
        return self._demand.demand(
            uid for uid, one in self._records.items() if one.instance is None and one.refusal is None and not one.lost
        )

    @property
    def node_name(self) -> str:
        """The Node's name."""
        return self._node.name

    @property
    def node_labels(self) -> Mapping[str, str] | None:
        """The Node's labels; None before it is registered."""
        return self._node.labels()

    def waiters(self, nodes: Mapping[ZoneId, tuple[str, Mapping[str, str] | None]]) -> list[Waiter]:
        """Return the pods that wait for stock and may be made anew; `nodes` are the zones' Nodes and their labels."""
        found = []
        for record in self._records.values():
            raw, instance = record.raw, record.instance
            if raw is None or instance is None or not waits_for_stock(instance):
                continue
            if record.terminating or record.refusal is not None or not is_recreated(raw):
                continue
            others = [
                zone
                for zone, (name, labels) in nodes.items()
                if zone != self.zone and labels is not None and selects(raw, name, labels)
            ]
            size = Amounts(instance.cpu, instance.memory, 0, 1)
            found.append(
                Waiter(
                    uid=record.uid,
                    zone=self.zone,
                    size=size,
                    others=tuple(others),
                    priority=raw["spec"].get("priority") or 0,
                    since=instance.created_at,
                )
            )
        return found

    async def rebind(self, uid: PodUid, to: ZoneId) -> bool:
        """Delete a pod that waits for stock, for its owner to make it anew; False if it has changed meanwhile."""
        record = self._records.get(uid)
        if record is None or record.terminating or not waits_for_stock(record.instance):
            return False
        return await self._executor.rebind(record, to)

    # ------------------------------------------------------------------ what the two sides tell

    async def _pod_changed(self, change: store.Change) -> None:
        uid = PodUid(change.new["metadata"]["uid"])
        record = self._records.get(uid)
        self._count(uid, None if change.kind == "deleted" else change.new)
        if change.kind == "deleted":
            if record is None:
                return
            record.absent = True
            record.raw = change.new
            self._writer.drop(uid)
        else:
            record = self._record(uid)
            if change.old is not None and record.instance is not None:
                self._tell_of_changes(change.old, change.new)
            record.raw = change.new
            if change.old is not None:
                self._volumes.pod_changed(uid, change.old, change.new)
        self._look(uid)

    def instance_changed(self, change: Change) -> None:
        """Take a change of one of the zone's instances, and the end of the list of them."""
        match change:
            case InstanceChanged(instance):
                self._record(instance.uid).instance = instance
                if waits_for_stock(instance):
                    self._stock_waited()
                self._pull_secrets.instance_changed(instance)
                self._look(instance.uid)
            case InstanceGone(uid):
                record = self._records.get(uid)
                if record is not None:
                    record.instance, record.lost = None, True
                    self._look(uid)
            case Notice():
                self._notice(change)
            case Synced():
                if not self._known:
                    self._known = True
                    self._side_listed()

    def _count(self, uid: PodUid, raw: Json | None) -> None:
        if self._demand.changed(uid, raw):
            self._demand_changed()

    def _side_listed(self) -> None:
        """Go on once both sides have told of all that they have: take over what runs, then look at everything."""
        if self._started or not (self._known and self._reflector.synced):
            return
        self._started = True
        self._demand_changed()
        for record in self._records.values():
            instance, pod = record.instance, record.pod
            if instance is not None and instance.phase not in TERMINAL:
                size = Sizes(instance.cpu, instance.memory) if pod is None else _sizes(record)
                self._executor.occupancy.take(record.uid, size, None)
        for record in sorted(self._records.values(), key=_age):
            self._workers.trigger(record.uid)

    def _notice(self, notice: Notice) -> None:
        record = self._records.get(notice.uid)
        if record is None or record.raw is None:
            return
        involved = reference(record.raw, _field_path(record.raw, notice.container))
        self.recorder.record(involved, notice.reason, notice.message, warning=notice.warning)

    def _warn(self, pod: Json, reason: str, message: str) -> None:
        self.recorder.record(reference(pod), reason, message, warning=True)

    def _tell_of_changes(self, old: Json, new: Json) -> None:
        """Say that a running pod's changed spec is not followed; a deletion raises the generation too."""
        if old["metadata"].get("generation") == new["metadata"].get("generation"):
            return
        before, after = old["spec"], new["spec"]
        for key in sorted((before.keys() | after.keys()) - MUTABLE):
            if before.get(key) != after.get(key):
                message = f"spec.{key} was changed; this node goes on with what the pod was started with"
                self.recorder.record(reference(new), "UnsupportedPodUpdate", message, warning=True)

    # ------------------------------------------------------------------ planning

    def _record(self, uid: PodUid) -> PodRecord:
        record = self._records.get(uid)
        if record is None:
            record = self._records[uid] = PodRecord(uid)
        return record

    def _look(self, uid: PodUid) -> None:
        if self._started:
            self._workers.trigger(uid)

    async def _work(self, uid: str) -> bool:
        record = self._records.get(PodUid(uid))
        if record is None:
            return False
        self._keep_books(record)
        self._fail_fast(record)
        desired = record.desired(listed=self._reflector.synced)
        observed = record.observed(self.zone, self._node.host_ips, known=self._known)
        more = False
        for action in plan(desired, observed, self._clock.now()):
            log.debug("pod.action", node=self._node.name, uid=uid, action=type(action).__name__)
            try:
                more = await self._act(record, action) or more
            except (KubeError, CloudError) as error:
                self._later_again(record, error)
                return False
        return more or self._dropped(record)

    def _fail_fast(self, record: PodRecord) -> None:
        """Refuse a pod that would rather fail than wait for stock."""
        instance, pod = record.instance, record.pod
        if pod is None or instance is None or record.refusal is not None or not waits_for_stock(instance):
            return
        if fails_fast(pod, self._node.placement.profile):
            record.refusal = Refusal(SCHEDULE_FAILED, f"{instance.reason}: {instance.message}", self._clock.now())

    async def _act(self, record: PodRecord, action: PodAction) -> bool:
        """Carry one action out; say whether the plan is to be made anew."""
        match action:
            case TryAgain(at):
                self._later.set(record.uid, at)
                return False
            case WriteStatus(status, urgent):
                self._write(record, status, urgent=urgent)
                return False
        await self._executor.carry_out(record, action)
        if isinstance(action, CreateInstance | DeleteInstance | ForgetInstance):
            self._cloud_away.over()
        return True

    def _later_again(self, record: PodRecord, error: KubeError | CloudError) -> None:
        record.failures += 1
        delay = max(error.retry_after or 0.0, self._executor.retry_seconds(record.failures))
        told = {"uid": record.uid, "error": str(error), "retry_seconds": round(delay, 1)}
        if error.code == NO_ANSWER:
            self._api_away.began(error.code, **told)
        elif error.code is CloudCode.UNAVAILABLE:
            self._cloud_away.began(error.code, **told)
        else:
            log.warning("pod.failed", node=self._node.name, **told)
        self._later.set(record.uid, self._clock.now() + delay)

    def _crashed(self, uid: str, _error: Exception) -> None:
        record = self._records.get(PodUid(uid))
        if record is not None:
            record.failures += 1
            self._later.set(uid, self._clock.now() + self._executor.retry_seconds(record.failures + 3))

    def _keep_books(self, record: PodRecord) -> None:
        """Count out what has ended, and keep the volumes new of what has not."""
        instance = record.instance
        ended = instance.phase in TERMINAL if instance is not None else record.absent or record.lost
        if ended:
            self._executor.occupancy.release(record.uid)
            self._volumes.drop(record.uid)
            self._pull_secrets.drop(record.uid)
        elif instance is not None and record.pod is not None and not record.absent:
            self._volumes.follow_unknown(record.uid, record.pod)

    def _dropped(self, record: PodRecord) -> bool:
        """Forget a pod that neither side knows any more; never asks for another plan."""
        if record.absent and record.instance is None and self._reflector.store.get(record.uid) is None:
            self._records.pop(record.uid, None)
            self._count(record.uid, None)
            self._later.cancel(record.uid)
            self._executor.occupancy.release(record.uid)
            self._volumes.drop(record.uid)
            self._pull_secrets.drop(record.uid)
        return False

    # ------------------------------------------------------------------ what comes back

    def _take(self, record: PodRecord, pod: Json) -> None:
        """Hold the API server's answer as the newest state; a watch that lags behind does not take it back."""
        if record.absent:
            return  # an answer that was overtaken by the news of the pod's end
        change = self._reflector.store.put(pod)
        if change is not None:
            record.raw = change.new
            self._count(record.uid, change.new)  # the watch does not tell it a second time

    def _created(self, record: PodRecord, pod: Pod, fetched: Fetched) -> None:
        record.lost = False
        self._volumes.follow(record.uid, pod, fetched)

    def _held(self, uid: str) -> Json | None:
        record = self._records.get(PodUid(uid))
        return None if record is None or record.absent else record.raw

    def _write(self, record: PodRecord, status: Json, *, urgent: bool) -> None:
        if record.raw is None:
            return
        record.draft, record.sent = status, True
        meta = record.raw["metadata"]
        self._writer.submit(
            Write(record.uid, meta["namespace"], meta["name"], status, urgent, self._written_back(record))
        )

    def _written_back(self, record: PodRecord) -> dict[str, str]:
        if record.pod is None or record.instance is None:
            return {}
        try:
            return written_back(record.pod, record.instance, self._node.placement.profile)
        except Rejection:
            return {}  # it was taken under another profile

    def _written(self, write: Write, answer: Json | KubeError) -> None:
        record = self._records.get(PodUid(write.uid))
        if record is None:
            return
        if isinstance(answer, KubeError):
            record.sent = record.sent and record.draft is not write.status
            if answer.code in (NOT_FOUND, CONFLICT):
                self._later.set(record.uid, self._clock.now() + GONE_RETRY_SECONDS)
            else:
                self._later_again(record, answer)
            return
        self._api_away.over()
        if record.draft is write.status:
            record.draft = None
        if record.waiting is None:
            record.failures = 0
        self._take(record, answer)
        record.settled = (write.status, answer.get("status") or {})
        if write.status["phase"] in ENDED:
            log.info("pod.ended", node=self._node.name, uid=write.uid, phase=write.status["phase"])
        self._look(record.uid)


def _sizes(record: PodRecord) -> Sizes:
    if record.pod is None:
        return Sizes()
    try:
        size = pod_requests(record.pod.spec)
    except Rejection:
        return Sizes()  # it was taken under an earlier version's rules
    return Sizes(size.get("cpu", 0), size.get("memory", 0), size.get("ephemeral-storage", 0))


def _age(record: PodRecord) -> float:
    made = "" if record.raw is None else record.raw["metadata"].get("creationTimestamp") or ""
    return datetime.fromisoformat(made).timestamp() if made else 0.0


def _field_path(pod: Mapping[str, Any], container: str) -> str:
    """Return the kubelet's fieldPath of a container (kubecontainer.fieldPath), empty for the pod as a whole."""
    if not container:
        return ""
    init = any(one["name"] == container for one in pod["spec"].get("initContainers") or ())
    return f"spec.{'initContainers' if init else 'containers'}{{{container}}}"
