"""Which attempt's log `kubectl logs` means (kubelet_pods.go validateContainerLogStatus). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.cloud.instances.wording import PULL_BACKOFF
from provider.model.errors import CloudCode, CloudError
from provider.model.instance import ContainerPhase

if TYPE_CHECKING:
    from provider.cloud.instances.containers import ContainerProgress

_WAITING_TEXT = {
    "ErrImagePull": "image can't be pulled",
    PULL_BACKOFF: "trying and failing to pull image",
}


def log_attempt(one: ContainerProgress, pod_name: str, *, previous: bool) -> int:
    """Return the attempt; INCORRECT_STATUS, in the kubelet's words, when there is none."""
    where = f'container "{one.name}" in pod "{pod_name}"'
    ended_before = one.last is not None and bool(one.last.container_id)
    if previous:
        if not ended_before:
            raise CloudError(CloudCode.INCORRECT_STATUS, f"previous terminated {where} not found")
        return one.last_attempt
    if one.state.container_id:
        return one.shown_attempt
    if ended_before:
        return one.last_attempt
    if one.last is not None or one.state.phase is ContainerPhase.TERMINATED:
        raise CloudError(CloudCode.INCORRECT_STATUS, f"{where} is terminated")
    why = _WAITING_TEXT.get(one.state.reason, one.state.reason)
    raise CloudError(CloudCode.INCORRECT_STATUS, f"{where} is waiting to start: {why}")
