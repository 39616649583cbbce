"""Carries out the actions of a plan: the only place that calls the cloud and the API server for a pod.

Outcomes go into the record, and the next plan looks at them. Errors: refusals that time heals (KubeError, CloudError
with `retry_after`) pass to the caller, who waits and plans again, except at creation, where they are a `Waiting` that
the pod's status shows.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from provider.kube.client import KubeError
from provider.kube.events import reference
from provider.model.errors import CloudCode, CloudError, Rejection
from provider.model.ids import PodUid
from provider.model.timestamps import seconds_of
from provider.pods.actions import (
    ConfirmAbsent,
    CreateInstance,
    DeleteInstance,
    ForgetInstance,
    PodAction,
    RemovePod,
    SetDeadline,
)
from provider.pods.capacity import Occupancy, Sizes
from provider.pods.node_affinity import MISMATCH, selects
from provider.pods.reconcile import Refusal, Waiting
from provider.pods.references import fetch, names_of
from provider.translate import host_daemons
from provider.translate.admission import admit
from provider.translate.dns import dns_notices
from provider.translate.instance_size import size_plan
from provider.translate.profile_rules import check_rules
from provider.translate.references import References
from provider.translate.request import Placement, instance_request
from provider.translate.security import wants_apparmor
from provider.translate.sizing import pod_requests

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random  # noqa: TID251 (the type; the value is injected)

    from provider.clock import Clock
    from provider.cloud.backend import ElasticBackend
    from provider.kube.client import KubeApi
    from provider.kube.events import EventRecorder
    from provider.model.ids import ZoneId
    from provider.model.instance import Instance
    from provider.model.pod import Pod
    from provider.pods.record import PodRecord
    from provider.pods.references import Fetched
    from provider.translate.references import Service

Json = dict[str, Any]

CREATIONS = 16
"""Creations under way at a time, first in, first out."""
FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 30.0
UNAVAILABLE_RETRY_SECONDS = 5.0
NOT_FOUND = 404
CONFLICT = 409
REJECTED = "Pod was rejected: "
DEADLINE_EXCEEDED = "DeadlineExceeded"
DEADLINE_MESSAGE = "Pod was active on the node longer than the specified deadline"
SANDBOX = "FailedCreatePodSandBox"
_CONTAINER = re.compile(r"spec\.(containers|initContainers)\[(\d+)\]")


@dataclass(frozen=True)
class NodeContext:
    """The node that pods run on. What may change, or is known later only, is asked for when it is needed."""

    name: str
    placement: Placement
    services: Callable[[], tuple[Service, ...] | None]
    """None until all are known: a pod would start without its variables."""
    host_ip: Callable[[], str | None] = lambda: None
    allocatable: Callable[[], Sizes | None] = lambda: None
    """None: the node itself admits every pod, and the cloud lets it wait for stock."""
    labels: Callable[[], Mapping[str, str] | None] = lambda: None
    """The Node's labels; None before it is registered: then no pod is refused for them."""
    apparmor: Callable[[], bool] = lambda: True
    """Whether the engine confines containers by AppArmor profiles."""
    host_daemons: bool = False
    """Whether DaemonSets' pods that want the host are started all the same."""

    @property
    def host_ips(self) -> tuple[str, ...]:
        """status.hostIPs."""
        address = self.host_ip()
        return () if address is None else (address,)


class Executor:
    """Acts for the pods of one node."""

    def __init__(
        self,
        node: NodeContext,
        api: KubeApi,
        backend: ElasticBackend,
        recorder: EventRecorder,
        *,
        take: Callable[[PodRecord, Json], None],
        created: Callable[[PodRecord, Pod, Fetched], None],
        clock: Clock,
        random: Random,
    ) -> None:
        """Take where to put a pod that the API server answered with (`take`), and whom to tell of a creation.

        `created` also gets what the pod's files were made from.
        """
        self.occupancy = Occupancy()
        self._node = node
        self._api = api
        self._backend = backend
        self._recorder = recorder
        self._take = take
        self._created = created
        self._clock = clock
        self._random = random
        self._creations = asyncio.Semaphore(CREATIONS)

    async def carry_out(self, record: PodRecord, action: PodAction) -> None:
        """Do it; the outcome is in the record. Raises KubeError and CloudError for what is to be tried again."""
        match action:
            case CreateInstance():
                await self._create(record)
            case DeleteInstance(grace):
                await self._delete(record, grace)
            case SetDeadline(active_deadline):
                record.instance = await self._backend.update_deadline(record.uid, active_deadline)
            case ForgetInstance():
                await self._backend.forget_instance(record.uid)
                record.instance = None
            case RemovePod():
                await self._remove(record)
            case ConfirmAbsent():
                await self._confirm(record)

    def retry_seconds(self, failures: int) -> float:
        """Return how long to wait after so many failures in a row."""
        ceiling = min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** (failures - 1))
        return ceiling * self._random.uniform(0.75, 1.25)

    def facts(self) -> References:
        """Return what the node itself puts into its pods."""
        sizes = self._node.allocatable() or Sizes()
        return References(
            services=self._node.services() or (),
            host_ip=self._node.host_ip() or "",
            cpu=sizes.cpu,
            memory=sizes.memory,
            ephemeral_storage=sizes.ephemeral_storage,
        )

    # ------------------------------------------------------------------ creation

    async def _create(self, record: PodRecord) -> None:
        raw = record.raw
        if raw is None or record.terminating:
            return
        daemon = "" if self._node.host_daemons else host_daemons.not_started(raw)
        if daemon:
            self._set_aside(record, raw, host_daemons.REASON, daemon)
            return
        try:
            check_rules(raw, self._node.placement.profile)
            pod = admit(raw)
            self._admit(record, raw, pod)
            if record.refusal is not None:
                return
            async with self._creations:
                await self._ask(record, raw, pod)
        except Rejection as rejection:
            self._rejected(record, raw, rejection)

    def _admit(self, record: PodRecord, raw: Json, pod: Pod) -> None:
        if wants_apparmor(pod) and not self._node.apparmor():
            self._refuse(record, raw, "AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host")
            return
        size = pod_requests(pod.spec)
        asked = Sizes(size.get("cpu", 0), size.get("memory", 0), size.get("ephemeral-storage", 0))
        # Where the cloud has sizes of its own, it alone knows what fits: the pod waits in its queue.
        has_sizes = self._node.placement.profile.grid is not None
        shortage = self.occupancy.take(record.uid, asked, None if has_sizes else self._node.allocatable())
        if shortage is not None:
            self._refuse(record, raw, shortage.reason, shortage.message)

    async def _is_selected(self, raw: Json) -> bool:
        """Say whether the pod selects this node. Raises KubeError.

        What is known of the Node's labels may trail what the scheduler went by: a refusal goes by the Node as it is.
        """
        name, labels = self._node.name, self._node.labels()
        if labels is None or selects(raw, name, labels):
            return True
        node = await self._api.get(f"/api/v1/nodes/{name}")
        return selects(raw, name, node["metadata"].get("labels") or {})

    async def _ask(self, record: PodRecord, raw: Json, pod: Pod) -> None:
        if self._node.services() is None:
            self._wait(record, "services have not yet been read at least once, cannot construct envvars")
            return
        try:
            if not await self._is_selected(raw):
                self._refuse(record, raw, *MISMATCH)
                return
            fetched = await fetch(pod, names_of(pod), self._api, self.facts(), self._random)
        except KubeError as error:
            # A pod that was bound a moment ago may not have reached the Node authorizer yet: tell only what stays.
            if record.failures:
                self._event(raw, "FailedMount", f"Unable to fetch {error.message}", warning=True)
            self._wait(record, "", error.retry_after)
            return
        request = instance_request(pod, fetched.references, self._node.placement)
        if record.terminating:
            return  # somebody took it back while we were asking
        try:
            instance = await self._backend.create_instance(request)
        except CloudError as error:
            await self._not_created(record, raw, error)
            return
        self._accepted(record, instance)
        placement = self._node.placement
        for reason, message in dns_notices(pod, placement.cluster_dns, placement.cluster_domain):
            self._event(raw, reason, message, warning=True)
        for told in size_plan(pod, placement.profile).told:
            self._event(raw, told.reason, told.message, warning=True)
        self._created(record, pod, fetched)

    def _accepted(self, record: PodRecord, instance: Instance) -> None:
        # The feed may have told of it, and of more, already.
        record.instance = record.instance or instance
        record.waiting, record.failures = None, 0

    async def _not_created(self, record: PodRecord, raw: Json, error: CloudError) -> None:
        if error.code is CloudCode.TOKEN_CONFLICT:
            # Either the answer to an earlier creation was lost on its way, or that instance is over and forgotten.
            await self._adopt(record)
        elif error.retry_after is not None or error.code is CloudCode.UNAVAILABLE:
            self._wait(record, f"{error.code}: {error.message}", error.retry_after or UNAVAILABLE_RETRY_SECONDS)
            self._event(raw, SANDBOX, f"Failed to create pod sandbox: {error.code}: {error.message}", warning=True)
        else:
            self._refuse(record, raw, str(error.code).rpartition(".")[2], error.message)

    async def _adopt(self, record: PodRecord) -> None:
        try:
            self._accepted(record, await self._backend.describe_instance(record.uid))
        except CloudError as error:
            if error.code is not CloudCode.NOT_FOUND:
                raise
            record.lost = True

    def _rejected(self, record: PodRecord, raw: Json, rejection: Rejection) -> None:
        if rejection.terminal:
            refuse = self._set_aside if host_daemons.daemon_set_of(raw) else self._refuse
            refuse(record, raw, rejection.reason, rejection.message)
            return
        if self._out_of_time(record, raw):
            return
        place = _CONTAINER.match(rejection.field)
        if place is None:
            self._event(raw, rejection.reason, rejection.message, warning=True)
            self._wait_for_own(record)
            return
        group, index = place[1], int(place[2])
        name = raw["spec"][group][index]["name"]
        field = f"spec.{group}{{{name}}}"
        self._event(raw, "Failed", f"Error: {rejection.message}", field, warning=True)
        self._wait_for_own(record, ((name, rejection.waiting, rejection.message),))

    def _refuse(self, record: PodRecord, raw: Json, reason: str, message: str) -> None:
        self.occupancy.release(record.uid)
        self._event(raw, reason, message, warning=True)
        record.refusal = Refusal(reason, REJECTED + message, self._clock.now())

    def _set_aside(self, record: PodRecord, raw: Json, reason: str, message: str) -> None:
        """Leave a DaemonSet's pod Pending for good: its controller makes a failed one anew."""
        self.occupancy.release(record.uid)
        self._event(raw, reason, message, warning=True)
        record.refusal = Refusal(reason, message, self._clock.now(), pending=True)

    def _wait(
        self,
        record: PodRecord,
        message: str,
        seconds: float | None = None,
        containers: tuple[tuple[str, str, str], ...] = (),
    ) -> None:
        record.failures += 1
        delay = seconds or self.retry_seconds(record.failures)
        record.waiting = Waiting(retry_at=self._clock.now() + delay, message=message, containers=containers)

    def _wait_for_own(self, record: PodRecord, containers: tuple[tuple[str, str, str], ...] = ()) -> None:
        """Wait for what the pod refers to; its time runs meanwhile."""
        since = self._since(record)
        self._wait(record, "", containers=containers)
        waiting, deadline = record.waiting, None if record.pod is None else record.pod.spec.active_deadline_seconds
        if waiting is not None:
            latest = waiting.retry_at if deadline is None else min(waiting.retry_at, since + deadline)
            record.waiting = replace(waiting, since=since, retry_at=latest)

    def _since(self, record: PodRecord) -> float:
        if record.waiting is not None and record.waiting.since is not None:
            return record.waiting.since
        told = None if record.pod is None else record.pod.status.start_time
        return self._clock.now() if told is None else seconds_of(told)

    def _out_of_time(self, record: PodRecord, raw: Json) -> bool:
        """Fail a pod whose activeDeadlineSeconds have passed while it waited (active_deadline.go)."""
        deadline = None if record.pod is None else record.pod.spec.active_deadline_seconds
        now = self._clock.now()
        if deadline is None or now < self._since(record) + deadline:
            return False
        self.occupancy.release(record.uid)
        self._event(raw, DEADLINE_EXCEEDED, DEADLINE_MESSAGE)
        record.refusal = Refusal(DEADLINE_EXCEEDED, DEADLINE_MESSAGE, now, taken=True)
        return True

    def _event(self, raw: Json, reason: str, message: str, field: str = "", *, warning: bool = False) -> None:
        self._recorder.record(reference(raw, field), reason, message, warning=warning)

    # ------------------------------------------------------------------ the end

    async def _delete(self, record: PodRecord, grace: float) -> None:
        try:
            record.instance = await self._backend.delete_instance(record.uid, grace)
        except CloudError as error:
            if error.code is not CloudCode.NOT_FOUND:
                raise
            record.instance, record.lost = None, True

    async def rebind(self, record: PodRecord, to: ZoneId) -> bool:
        """Delete a waiting pod as it was seen, and its instance at once; False if somebody has changed it meanwhile.

        With grace 0, for nothing runs: the pod of a workflow must never be seen as failed.
        """
        raw = record.raw
        if raw is None:
            return False
        meta = raw["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        try:
            version = meta["resourceVersion"]
            await self._api.delete(path, uid=record.uid, resource_version=version, grace_seconds=0)
        except KubeError as error:
            if error.code not in (NOT_FOUND, CONFLICT):
                raise
            return False
        zone = self._node.placement.zone
        self._event(
            raw, "StockExhaust", f"zone {zone} has no stock for it: it is made anew for zone {to}", warning=True
        )
        await self._delete(record, 0)
        return True

    async def _remove(self, record: PodRecord) -> None:
        if record.raw is None:
            return
        meta = record.raw["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        try:
            answer = await self._api.delete(path, uid=record.uid, grace_seconds=0)
        except KubeError as error:
            if error.code not in (NOT_FOUND, CONFLICT):
                raise
            record.absent = True  # another pod has its name, or nobody
            return
        if (answer.get("metadata") or {}).get("finalizers"):
            self._take(record, answer)
        else:
            record.absent = True

    async def _confirm(self, record: PodRecord) -> None:
        """Ask for the pod of an instance. A list, since the Node authorizer answers a GET of what is gone with 403."""
        instance = record.instance
        if instance is None:
            return
        selector = f"metadata.name={instance.name},spec.nodeName={self._node.name}"
        listed = await self._api.list(f"/api/v1/namespaces/{instance.namespace}/pods", {"fieldSelector": selector})
        held = [item for item in listed["items"] if PodUid(item["metadata"]["uid"]) == record.uid]
        if held:
            self._take(record, held[0])
        else:
            record.absent = True
