"""Conditions of a pod from its instance, with the kubelet's reasons (pkg/kubelet/status/generate.go, v1.37)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.model.instance import TERMINAL, ContainerPhase, InstancePhase
from provider.model.pod_status import Condition
from provider.model.request import ContainerKind

if TYPE_CHECKING:
    from provider.model.instance import ContainerStatus, Instance
    from provider.model.pod import Pod
    from provider.model.pod_status import PodStatus

_ENDED = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}
CREATED = "ContainerInstanceCreated"
"""ECI's condition beside Kubernetes' own; reason `ContainerGroup.NoStock` (published)."""
SCHEDULE_FAILED = "ContainerInstanceScheduleFailed"
"""ECI's status.reason of a pod that would rather fail than wait; its message is `<code>: <text>`."""
_Draft = tuple[str, bool, str, str]


def conditions(pod: Pod, instance: Instance, phase: str, before: PodStatus, now: str) -> list[Condition]:
    """Return the kubelet's five conditions for a pod whose status.phase becomes `phase`, and ContainerInstanceCreated.

    The latter stands only on pods that have waited for stock, an address or the engine: others look as on any node.

    `before` is the status written last; a transition time moves to `now` (RFC 3339) where a condition's status changes.
    """
    old = {one.type: one for one in before.conditions or ()}
    seen = {one.name: one for one in instance.containers}
    containers_ready = _containers_ready(pod, seen, phase)
    drafts = [
        _ready_to_start(instance),
        _initialized(pod, seen, phase, old.get("Initialized")),
        ("Ready", *_ready(pod, containers_ready, before)),
        ("ContainersReady", *containers_ready),
        ("PodScheduled", True, "", ""),
        *_created(instance, old.get(CREATED)),
    ]
    return [_condition(pod, old.get(draft[0]), draft, now) for draft in drafts]


def _created(instance: Instance, old: Condition | None) -> list[_Draft]:
    """Return why the cloud has not made the instance yet, with the published reason; once made, that it has."""
    if instance.placed_at is not None:
        return [] if old is None else [(CREATED, True, "", "")]
    if instance.phase is InstancePhase.SCHEDULING and instance.reason:
        kind, dot, what = instance.reason.rpartition(".")
        return [(CREATED, False, f"ContainerGroup.{what}" if kind and dot else what, instance.message)]
    if instance.reason == SCHEDULE_FAILED:
        code, _, text = instance.message.partition(": ")
        return [(CREATED, False, f"ContainerGroup.{code.rpartition('.')[2]}", text)]
    return [] if old is None else [(CREATED, False, old.reason, old.message)]


def _ready_to_start(instance: Instance) -> _Draft:
    name, reason = "PodReadyToStartContainers", "PodSandboxNotReady"
    if instance.sandbox_ready_at is None:
        return name, False, reason, "no pod sandbox exists"
    # A sandbox whose pod has ended is on its way out; saying so at once spares the API server a second patch.
    if instance.released or instance.phase in TERMINAL:
        return name, False, reason, "pod sandbox is not ready"
    return name, True, "", ""


def _initialized(pod: Pod, seen: dict[str, ContainerStatus], phase: str, old: Condition | None) -> _Draft:
    name = "Initialized"
    if phase == "Succeeded":
        return name, True, _ENDED[phase], ""
    # A sidecar that starts anew does not take back what has been reached.
    if any(_begun(seen.get(one.name)) for one in pod.spec.containers):
        return name, True, "", ""
    undone = [one.name for one in pod.spec.init_containers or () if not _init_done(seen.get(one.name))]
    if not undone or (old is not None and old.status == "True"):
        return name, True, "", ""
    return name, False, "ContainersNotInitialized", f"containers with incomplete status: [{' '.join(undone)}]"


def _begun(status: ContainerStatus | None) -> bool:
    return status is not None and status.state.phase is not ContainerPhase.WAITING


def _init_done(status: ContainerStatus | None) -> bool:
    if status is None:
        return False
    return status.started if status.kind is ContainerKind.SIDECAR else status.ready


def _containers_ready(pod: Pod, seen: dict[str, ContainerStatus], phase: str) -> tuple[bool, str, str]:
    if phase in _ENDED:
        return False, _ENDED[phase], ""
    # The pod's containers count, not those that the cloud tells of: one that it does not know yet is not ready.
    sidecars = [one.name for one in pod.spec.init_containers or () if one.restart_policy == "Always"]
    names = [*sidecars, *(one.name for one in pod.spec.containers)]
    unready = [name for name in names if name not in seen or not seen[name].ready]
    if unready:
        return False, "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
    return True, "", ""


def _ready(pod: Pod, containers_ready: tuple[bool, str, str], before: PodStatus) -> tuple[bool, str, str]:
    if not containers_ready[0]:
        return containers_ready
    # Gates are other controllers' conditions: they stand in the API server's copy, which a draft of ours may trail.
    held = {one.type: one.status for status in (before, pod.status) for one in status.conditions or ()}
    texts = []
    for gate in pod.spec.readiness_gates or ():
        status = held.get(gate.condition_type)
        if status is None:
            texts.append(f'corresponding condition of pod readiness gate "{gate.condition_type}" does not exist.')
        elif status != "True":
            texts.append(f'the status of pod readiness gate "{gate.condition_type}" is not "True", but {status}')
    return (False, "ReadinessGatesNotReady", ", ".join(texts)) if texts else (True, "", "")


def _condition(pod: Pod, old: Condition | None, draft: _Draft, now: str) -> Condition:
    name, holds, reason, message = draft
    status = "True" if holds else "False"
    same = old is not None and old.status == status
    return Condition(
        type=name,
        status=status,
        last_transition_time=old.last_transition_time if old is not None and same else now,
        reason=reason,
        message=message,
        observed_generation=pod.metadata.generation,
    )
