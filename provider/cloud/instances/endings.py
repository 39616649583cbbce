"""How the end of a container's attempt is told, and whether another attempt follows. Pure; the kubelet's rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.cloud.instances.wording import NOT_LOCATED, UNKNOWN_REASON
from provider.model.instance import ContainerPhase, ContainerState
from provider.model.request import ContainerKind, RestartPolicy

if TYPE_CHECKING:
    from provider.model.attempt import SeenContainer
    from provider.model.request import ContainerSpec

START_ERROR = "StartError"
START_ERROR_CODE = 128
KILLED_CODE = 137


def ended_state(seen: SeenContainer, begun: float | None, now: float) -> ContainerState:
    """Return the state of an attempt that has ended; `begun` and `now` where what was seen has no times."""
    if seen.error and seen.started_at is None:
        reason, message = START_ERROR, seen.error
    else:
        reason = "OOMKilled" if seen.oom_killed else "Completed" if seen.exit_code == 0 else "Error"
        message = seen.message
    return ContainerState(
        phase=ContainerPhase.TERMINATED,
        reason=reason,
        message=message,
        started_at=begun if seen.started_at is None else seen.started_at,
        finished_at=now if seen.finished_at is None else seen.finished_at,
        exit_code=seen.exit_code,
        container_id=seen.container_id,
    )


def lost_state(begun: float | None = None, now: float | None = None, container_id: str = "") -> ContainerState:
    """Return the state of an attempt of which nobody knows: its exit code is that of a failure (kubelet_pods.go)."""
    return ContainerState(
        phase=ContainerPhase.TERMINATED,
        reason=UNKNOWN_REASON,
        message=NOT_LOCATED,
        started_at=begun,
        finished_at=now,
        exit_code=KILLED_CODE,
        container_id=container_id,
    )


def restarts_after(spec: ContainerSpec, policy: RestartPolicy, exit_code: int) -> bool:
    """Kubelet's ContainerShouldRestart; an init container that did well is done. `policy`: the container's."""
    if spec.kind is ContainerKind.SIDECAR:
        return True
    if spec.kind is ContainerKind.INIT and not exit_code:
        return False
    if any((exit_code in rule.codes) is not rule.others for rule in spec.restart_rules):
        return True
    return policy is RestartPolicy.ALWAYS or (policy is RestartPolicy.ON_FAILURE and exit_code != 0)
