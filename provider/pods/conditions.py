"""Conditions of a pod from its instance, with the kubelet's reasons (pkg/kubelet/status/generate.go)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.model.instance import TERMINAL, ContainerKind, InstancePhase
from provider.model.pod import Condition

if TYPE_CHECKING:
    from provider.model.instance import ContainerStatus, Instance
    from provider.model.pod import Pod


def conditions(pod: Pod, instance: Instance, now: str) -> list[Condition]:
    """Return the five conditions; `now` (RFC 3339) is the transition time of those whose status has changed."""
    ready, reason, message = _containers_ready(pod, instance)
    gates = [] if ready else [(reason, message)]
    before = {one.type: one for one in pod.status.conditions or ()}
    waiting = [
        gate.condition_type
        for gate in pod.spec.readiness_gates or ()
        if gate.condition_type not in before or before[gate.condition_type].status != "True"
    ]
    if ready and waiting:
        texts = (
            f'corresponding condition of pod readiness gate "{name}" does not exist or is not True.' for name in waiting
        )
        gates.append(("ReadinessGatesNotReady", ", ".join(texts)))
    seen = {one.name: one for one in instance.containers}
    undone = [one.name for one in pod.spec.init_containers or () if not _init_done(seen.get(one.name))]
    initialized = instance.initialized_at is not None or not undone or instance.phase is InstancePhase.SUCCEEDED
    sandbox = instance.sandbox_ready_at is not None and not instance.released
    done = "PodCompleted" if instance.phase is InstancePhase.SUCCEEDED else ""
    drafts = [
        ("PodReadyToStartContainers", sandbox, "", ""),
        ("Initialized", True, done, "")
        if initialized
        else (
            "Initialized",
            False,
            "ContainersNotInitialized",
            f"containers with incomplete status: [{' '.join(undone)}]",
        ),
        ("Ready", not gates, *(gates[0] if gates else ("", ""))),
        ("ContainersReady", ready, reason, message),
        ("PodScheduled", True, "", ""),
    ]
    return [_condition(pod, before.get(draft[0]), draft, now) for draft in drafts]


def _init_done(status: ContainerStatus | None) -> bool:
    if status is None:
        return False
    return status.started if status.kind is ContainerKind.SIDECAR else status.ready


def _containers_ready(pod: Pod, instance: Instance) -> tuple[bool, str, str]:
    if instance.phase in TERMINAL:
        return False, "PodCompleted" if instance.phase is InstancePhase.SUCCEEDED else "PodFailed", ""
    # The pod's containers count, not those that the cloud tells of: one that it does not know yet is not ready.
    ready = {one.name for one in instance.containers if one.ready}
    sidecars = [one.name for one in pod.spec.init_containers or () if one.restart_policy == "Always"]
    names = [*sidecars, *(one.name for one in pod.spec.containers)]
    unready = [name for name in names if name not in ready]
    if unready:
        return False, "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
    return True, "", ""


def _condition(pod: Pod, before: Condition | None, draft: tuple[str, bool, str, str], now: str) -> Condition:
    name, holds, reason, message = draft
    status = "True" if holds else "False"
    same = before is not None and before.status == status
    return Condition(
        type=name,
        status=status,
        last_transition_time=before.last_transition_time if before is not None and same else now,
        reason=reason,
        message=message,
        observed_generation=pod.metadata.generation,
    )
