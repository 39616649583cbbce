"""plan(desired, observed, now) -> actions: level-triggered, idempotent, pure.

Rules, in the order in which they are looked at:

1. An instance without a pod ends, and is forgotten once it is released; but only after the API server itself has said
   that the pod is gone.
2. Nothing is decided about a pod before the cloud has told of all its instances.
3. A terminating pod: its instance gets the shrinking grace; when its containers have ended, the terminal status is
   written, and then the pod removed. One that has no instance skips the first step.
4. A pod whose phase is terminal stays as it is, with its logs; if somebody else ended it, its instance is ended too.
5. A refused pod is Failed, but a DaemonSet's stays Pending (translate/host_daemons.py). A pod whose instance is gone is
   Failed: nothing is ever run a second time.
6. Otherwise the pod gets its instance, with its newest deadline, and the status says what the cloud says.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, convert
from msgspec.structs import replace

from provider.model.ids import ZoneId
from provider.model.instance import TERMINAL, Instance
from provider.model.pod import Pod
from provider.model.pod_status import PodStatus
from provider.pods.actions import (
    ConfirmAbsent,
    CreateInstance,
    DeleteInstance,
    ForgetInstance,
    PodAction,
    RemovePod,
    SetDeadline,
    TryAgain,
    WriteStatus,
)
from provider.pods.status import ENDED, has_begun, not_begun, out_of_time, pod_status, refused, remembered
from provider.pods.status_patch import ready, status_patch

Json = dict[str, Any]

LEAST_GRACE = 1
"""The kubelet never gives less (pkg/kubelet/pod_workers.go calculateEffectiveGracePeriod)."""
DEFAULT_GRACE = 30
LOST = "InstanceLost"
LOST_MESSAGE = (
    "The instance of this pod is gone from the cloud, and a pod is never run a second time. "
    "Create a new pod, or let its controller do so."
)


class Refusal(Struct, frozen=True):
    """A pod that will never run: status.reason and status.message, and since when (seconds since the epoch).

    `pending`: it stays Pending, and each container waits for this reason. `taken`: it was no refusal, the pod's time
    ran out before it could begin; its containers are told as lost, as the kubelet tells them (TerminatePod).
    """

    reason: str
    message: str
    at: float
    pending: bool = False
    taken: bool = False


class Waiting(Struct, frozen=True, kw_only=True):
    """A creation that could not be made yet, and when to try again (seconds since the epoch).

    `containers` are (name, waiting reason, message) of those that it is about; `message` is what all others say.
    `since`: since when what the pod itself refers to is missing. The kubelet has started such a pod, and its
    activeDeadlineSeconds run; None where it waits for the cloud or the API server.
    """

    retry_at: float
    since: float | None = None
    message: str = ""
    containers: tuple[tuple[str, str, str], ...] = ()


class Desired(Struct, frozen=True, kw_only=True):
    """The pod as the API server has it."""

    pod: Pod | None = None
    """None: the API server has no such pod, as far as is known."""
    status: Json = {}
    """The pod's status, raw."""
    listed: bool = False
    """The API server has told of all the node's pods."""
    absent: bool = False
    """The API server itself has said that the pod is gone."""
    grace: float = LEAST_GRACE
    """of a pod that is gone."""


class Observed(Struct, frozen=True, kw_only=True):
    """What the cloud has, and what has been tried."""

    zone: ZoneId
    known: bool = False
    """The cloud has told of all its instances: None means that there is none."""
    instance: Instance | None = None
    refusal: Refusal | None = None
    waiting: Waiting | None = None
    lost: bool = False
    """The cloud had an instance of this UID and has it no more."""
    host_ips: tuple[str, ...] = ()
    draft: Json | None = None
    """The status decided on last, while the API server does not have it."""
    sent: bool = False
    """The draft is on its way; False: it was not taken, and has to be sent again."""
    settled: tuple[Json, Json] | None = None
    """The status written last, and what the API server made of it: equal in meaning, whatever the difference."""


def plan(desired: Desired, observed: Observed, now: float) -> list[PodAction]:
    """Return what to do now, in order; nothing when all is as it should be."""
    pod = desired.pod
    if pod is None:
        return _without_pod(desired, observed)
    if not observed.known:
        return []
    if pod.metadata.deletion_timestamp is not None:
        return _terminating(pod, desired, observed, now)
    if pod.status.phase in ENDED:
        return _over(pod, desired, observed, now)
    return _alive(pod, desired, observed, now)


def grace_of(pod: Pod) -> float:
    """Return the seconds that a terminating pod's containers get: the API server's word, else the pod's own."""
    given = pod.metadata.deletion_grace_period_seconds
    own = pod.spec.termination_grace_period_seconds
    return max(LEAST_GRACE, given if given is not None else DEFAULT_GRACE if own is None else own)


def _without_pod(desired: Desired, observed: Observed) -> list[PodAction]:
    instance = observed.instance
    if instance is None:
        return []
    if not desired.absent:
        return [ConfirmAbsent()] if desired.listed and observed.known else []
    if instance.released:
        return [ForgetInstance()]
    return _end(instance, desired.grace)


def _terminating(pod: Pod, desired: Desired, observed: Observed, now: float) -> list[PodAction]:
    instance = observed.instance
    if instance is not None and instance.phase not in TERMINAL:
        return [*_end(instance, grace_of(pod)), *_write(pod, instance, desired, observed, now)]
    if pod.status.phase not in ENDED:
        return _write(pod, instance or remembered(pod, observed.zone), desired, observed, now)
    # Grace 0 is set already: only finalizers still hold the pod, and the API server takes it away after them.
    return [] if pod.metadata.deletion_grace_period_seconds == 0 else [RemovePod()]


def _over(pod: Pod, desired: Desired, observed: Observed, now: float) -> list[PodAction]:
    instance = observed.instance
    if instance is None:
        return []
    if observed.refusal is not None and instance.placed_at is None:
        return _end(instance, 0)  # it never began: what was said of the refusal stands
    ending = [] if instance.phase in TERMINAL else _end(instance, grace_of(pod))
    return [*ending, *_write(pod, instance, desired, observed, now)]


def _alive(pod: Pod, desired: Desired, observed: Observed, now: float) -> list[PodAction]:
    zone, refusal, waiting = observed.zone, observed.refusal, observed.waiting
    instance = observed.instance
    if refusal is not None and (instance is None or instance.placed_at is None):
        ending = [] if instance is None else _end(instance, 0)
        return [*ending, *_write(pod, _of_refusal(pod, zone, refusal), desired, observed, now)]
    if instance is not None:
        return [*_deadline(pod, instance), *_write(pod, instance, desired, observed, now)]
    if observed.lost or has_begun(pod.status):
        gone = remembered(pod, zone, reason=LOST, message=LOST_MESSAGE)
        return _write(pod, gone, desired, observed, now)
    if waiting is None:
        return [*_write(pod, not_begun(pod, zone), desired, observed, now), CreateInstance()]
    told = {name: (reason, message) for name, reason, message in waiting.containers}
    shown = replace(not_begun(pod, zone, waiting=told, message=waiting.message), placed_at=waiting.since)
    following: PodAction = CreateInstance() if now >= waiting.retry_at else TryAgain(waiting.retry_at)
    return [*_write(pod, shown, desired, observed, now), following]


def _deadline(pod: Pod, instance: Instance) -> list[PodAction]:
    """Follow a deadline that was set, or made shorter, after the instance was made."""
    wanted = pod.spec.active_deadline_seconds
    if wanted is None or wanted == instance.active_deadline or instance.phase in TERMINAL:
        return []
    return [SetDeadline(wanted)]


def _of_refusal(pod: Pod, zone: ZoneId, refusal: Refusal) -> Instance:
    if refusal.taken:
        return out_of_time(pod, zone, refusal.reason, refusal.message)
    if not refusal.pending:
        return refused(pod, zone, refusal.reason, refusal.message, refusal.at)
    why = (refusal.reason, refusal.message)
    named = [one.name for one in (*(pod.spec.init_containers or ()), *pod.spec.containers)]
    return not_begun(pod, zone, waiting=dict.fromkeys(named, why))


def _end(instance: Instance, grace: float) -> list[PodAction]:
    if instance.phase in TERMINAL:
        return []  # it releases its sandbox by itself
    asked = instance.deletion_requested_at is not None and instance.grace is not None and instance.grace <= grace
    return [] if asked else [DeleteInstance(grace)]


def _write(pod: Pod, instance: Instance, desired: Desired, observed: Observed, now: float) -> list[PodAction]:
    before = pod.status if observed.draft is None else convert(observed.draft, PodStatus)
    wanted = pod_status(pod, instance, before=before, host_ips=observed.host_ips, now=now)
    if observed.sent and observed.draft is not None:
        if wanted == observed.draft:
            return []
    elif (wanted, desired.status) == observed.settled or status_patch(desired.status, wanted) is None:
        return []
    shown = desired.status if observed.draft is None else observed.draft
    ends = wanted["phase"] in ENDED and shown.get("phase") not in ENDED
    return [WriteStatus(wanted, urgent=ends or ready(shown) is not ready(wanted))]
