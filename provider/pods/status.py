"""Instance -> v1 PodStatus as the stock kubelet v1.37 writes it. Pure.

Upstream: pkg/kubelet/kubelet_pods.go (generateAPIPodStatus, convertToAPIContainerStatuses), pkg/kubelet/status
(TerminatePod, normalizeStatus), pkg/kubelet/prober (started, ready). Written here: everything that a stock node writes
for a pod without resize. Left out: `user` (the engine's default user is not known to the cloud's line),
`allocatedResourcesStatus`.

A pod that has no instance is shown through a made-up one: `not_begun`, `refused`, `remembered`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import to_builtins
from msgspec.structs import replace

from provider.model.errors import Rejection
from provider.model.ids import InstanceId, PodUid
from provider.model.instance import TERMINAL, ContainerPhase, ContainerState, ContainerStatus, Instance, InstancePhase
from provider.model.quantity import bytes_text, cpu_text
from provider.model.request import ContainerKind
from provider.model.timestamps import EPOCH, rfc3339, seconds_of
from provider.pods.conditions import conditions
from provider.translate.sizing import is_sidecar, pod_limits, pod_requests, qos_class

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from provider.model.ids import ZoneId
    from provider.model.pod import Container, Pod, PodSpec
    from provider.model.pod_status import ContainerStatusEntry, PodStatus, StateEntry

Json = dict[str, Any]

ENDED = frozenset({"Succeeded", "Failed"})
"""Terminal values of status.phase: no pod leaves them."""
MESSAGE_BYTES = 12 * 1024
"""All termination messages of a pod together (kubecontainer.MaxPodTerminationMessageLogLength)."""
KILLED = 137
NEVER_STARTED = 128
"""Exit code of a container that could not start, as containerd reports it."""
UNKNOWN = ContainerState(
    phase=ContainerPhase.TERMINATED,
    reason="ContainerStatusUnknown",
    message="The container could not be located when the pod was terminated",
    exit_code=KILLED,
)
_PHASES = {
    InstancePhase.SCHEDULING: "Pending",
    InstancePhase.PENDING: "Pending",
    InstancePhase.RUNNING: "Running",
    InstancePhase.SUCCEEDED: "Succeeded",
    InstancePhase.FAILED: "Failed",
    InstancePhase.EXPIRED: "Failed",
}


def pod_status(pod: Pod, instance: Instance, *, before: PodStatus, host_ips: Sequence[str], now: float) -> Json:
    """Return the whole status; `before` is the one written last (phase, start and transition times go on from it)."""
    phase = next((one.phase for one in (pod.status, before) if one.phase in ENDED), _PHASES[instance.phase])
    ended = phase in ENDED
    if instance.phase in TERMINAL:
        instance = _terminated(pod, instance)
    status: Json = {
        "observedGeneration": pod.metadata.generation,
        "phase": phase,
        "conditions": [to_builtins(one) for one in conditions(pod, instance, phase, before, rfc3339(now))],
        "qosClass": pod.status.qos_class or qos_class(pod.spec),
    }
    # The reason belongs to the phase: it stays as long as the phase does.
    same = before.phase == phase
    for key, text, kept in (
        ("reason", instance.reason, before.reason),
        ("message", instance.message, before.message),
    ):
        said = (kept if same and kept else text) if ended else ""
        if said:
            status[key] = said
    start = before.start_time or pod.status.start_time
    begun = now if instance.placed_at is None and ended else instance.placed_at
    if start is not None or begun is not None:
        status["startTime"] = start if start is not None else rfc3339(begun or now)
    if host_ips:
        status |= {"hostIP": host_ips[0], "hostIPs": [{"ip": ip} for ip in host_ips]}
    if instance.address is not None and instance.sandbox_ready_at is not None:
        status |= {"podIP": instance.address, "podIPs": [{"ip": instance.address}]}
    return status | _pod_resources(pod.spec) | _container_statuses(pod, instance, ended=ended)


def _pod_resources(spec: PodSpec) -> Json:
    """Return the whole pod's resources, as a kubelet with InPlacePodLevelResourcesVerticalScaling (1.36) tells them."""
    try:
        requests, limits = _quantities(pod_requests(spec)), _quantities(pod_limits(spec))
    except Rejection:  # the pod is refused for just that, and nothing is allocated
        return {}
    resources = {key: value for key, value in (("requests", requests), ("limits", limits)) if value}
    return {"resources": resources} | ({"allocatedResources": requests} if requests else {})


def _quantities(sizes: Mapping[str, int]) -> dict[str, str]:
    return {name: cpu_text(size) if name == "cpu" else bytes_text(size) for name, size in sorted(sizes.items())}


def not_begun(
    pod: Pod, zone: ZoneId, *, waiting: Mapping[str, tuple[str, str]] | None = None, message: str = ""
) -> Instance:
    """Return the stand-in of a pod whose creation is not accepted yet.

    `waiting` gives reason and message of single containers, `message` what the others say.
    """
    states = {name: ContainerState(reason=reason, message=text) for name, (reason, text) in (waiting or {}).items()}
    usual = ContainerState(reason=_waiting_reason(pod), message=message)
    return _stand_in(pod, zone, {name: states.get(name, usual) for name, _ in _kinds(pod)})


def refused(pod: Pod, zone: ZoneId, reason: str, message: str, now: float) -> Instance:
    """Return the stand-in of a pod that never runs: Failed, each container ended with the reason.

    The stock kubelet writes no container statuses here; controllers that look for an exit code or a `wait` container
    then wait for ever (argo #3879), so each one says that it never started.
    """
    ended = ContainerState(
        phase=ContainerPhase.TERMINATED,
        reason=reason,
        message=message,
        started_at=now,
        finished_at=now,
        exit_code=NEVER_STARTED,
    )
    instance = _stand_in(pod, zone, dict.fromkeys((name for name, _ in _kinds(pod)), ended))
    return replace(instance, phase=InstancePhase.FAILED, released=True, reason=reason, message=message)


def remembered(pod: Pod, zone: ZoneId, *, reason: str = "", message: str = "") -> Instance:
    """Return the stand-in of a pod whose instance is gone, from what its status says: Failed, nothing runs any more."""
    status = pod.status
    entries = {one.name: one for one in (*(status.init_container_statuses or ()), *(status.container_statuses or ()))}
    containers = tuple(_status_of(entries[name], kind) for name, kind in _kinds(pod) if name in entries)
    return replace(
        _stand_in(pod, zone, {}),
        phase=InstancePhase.SUCCEEDED if status.phase == "Succeeded" else InstancePhase.FAILED,
        released=True,
        reason=reason,
        message=message,
        containers=containers,
    )


def has_begun(status: PodStatus) -> bool:
    """Return whether the status tells of a container that has started: such a pod is never started again."""
    if status.phase in ENDED or status.phase == "Running":
        return True
    return any(
        state.running is not None or state.terminated is not None
        for one in (*(status.init_container_statuses or ()), *(status.container_statuses or ()))
        for state in (one.state, one.last_state)
    )


def out_of_time(pod: Pod, zone: ZoneId, reason: str, message: str) -> Instance:
    """Return the stand-in of a pod that ended before it could begin: Failed, its containers nowhere to be found."""
    return replace(_stand_in(pod, zone, {}), phase=InstancePhase.FAILED, released=True, reason=reason, message=message)


def _stand_in(pod: Pod, zone: ZoneId, states: Mapping[str, ContainerState]) -> Instance:
    return Instance(
        uid=PodUid(pod.metadata.uid),
        id=InstanceId(""),
        zone=zone,
        name=pod.metadata.name,
        namespace=pod.metadata.namespace,
        containers=tuple(
            ContainerStatus(name=name, kind=kind, state=states[name]) for name, kind in _kinds(pod) if name in states
        ),
    )


def _kinds(pod: Pod) -> list[tuple[str, ContainerKind]]:
    init = pod.spec.init_containers or ()
    kinds = [(one.name, ContainerKind.SIDECAR if is_sidecar(one) else ContainerKind.INIT) for one in init]
    return [*kinds, *((one.name, ContainerKind.APP) for one in pod.spec.containers)]


def _waiting_reason(pod: Pod) -> str:
    return "PodInitializing" if pod.spec.init_containers else "ContainerCreating"


# --------------------------------------------------------------------------- the end of a pod


def _terminated(pod: Pod, instance: Instance) -> Instance:
    """Return the instance with what the kubelet's TerminatePod makes of containers that never said how they ended.

    Once the pod was initialized a missing end counts as a failure. Of the init containers the ones up to the last that
    began count, at least the first.
    """
    seen = {one.name: one for one in instance.containers}
    kinds = _kinds(pod)
    init = [name for name, kind in kinds if kind is not ContainerKind.APP]
    begun = [index for index, name in enumerate(init, 1) if _has_started(seen.get(name))]
    doubtful = set(init[: begun[-1] if begun else 1])
    if _was_initialized(init, kinds, seen):
        doubtful |= {name for name, kind in kinds if kind is ContainerKind.APP}
    ends = {
        name: replace(
            seen.get(name) or ContainerStatus(name=name, kind=kind), state=UNKNOWN, ready=False, started=False
        )
        for name, kind in kinds
        if name in doubtful and (name not in seen or seen[name].state.phase is not ContainerPhase.TERMINATED)
    }
    named = {**seen, **ends}
    return replace(instance, containers=tuple(named[name] for name, _ in kinds if name in named))


def _has_started(status: ContainerStatus | None) -> bool:
    return status is not None and (status.state.phase is not ContainerPhase.WAITING or status.last is not None)


def _was_initialized(
    init: list[str], kinds: list[tuple[str, ContainerKind]], seen: Mapping[str, ContainerStatus]
) -> bool:
    if not init or any(_has_started(seen.get(name)) for name, kind in kinds if kind is ContainerKind.APP):
        return True
    last = seen.get(init[-1])
    if last is None:
        return False
    if last.kind is ContainerKind.SIDECAR:
        return last.state.phase is ContainerPhase.RUNNING and last.started
    ends = [one for one in (last.state, last.last) if one is not None and one.phase is ContainerPhase.TERMINATED]
    return any(one.exit_code == 0 for one in ends)


# --------------------------------------------------------------------------- containers


def _container_statuses(pod: Pod, instance: Instance, *, ended: bool) -> Json:
    seen = {one.name: one for one in instance.containers}
    usual = _waiting_reason(pod)
    why = "" if ended else ": ".join(part for part in (instance.reason, instance.message) if part)
    init = pod.spec.init_containers or []
    limit = MESSAGE_BYTES // (len(init) + len(pod.spec.containers))
    shown = {
        one.name: _entry(one, _explained(seen.get(one.name), one.name, usual, why), limit)
        for one in (*init, *pod.spec.containers)
    }
    statuses: Json = {"containerStatuses": [shown[name] for name in sorted(one.name for one in pod.spec.containers)]}
    if init:
        statuses["initContainerStatuses"] = [shown[one.name] for one in init]
    return statuses


def _explained(status: ContainerStatus | None, name: str, usual: str, why: str) -> ContainerStatus:
    """Return the status with the usual reason where it has none, and with what the whole instance waits for."""
    status = status or ContainerStatus(name=name)
    state = status.state
    if state.phase is not ContainerPhase.WAITING:
        return status
    reason = state.reason or usual
    message = why if reason == usual and not state.message else state.message
    return replace(status, state=replace(state, reason=reason, message=message))


def _entry(container: Container, status: ContainerStatus, limit: int) -> Json:
    entry: Json = {
        "name": container.name,
        "state": _state(status.state, limit),
        "lastState": {} if status.last is None else _state(status.last, limit),
        "ready": status.ready,
        "started": status.started,
        "restartCount": status.restarts,
        "image": status.image or container.image,
        "imageID": status.image_id,
    }
    container_id = status.state.container_id or ("" if status.last is None else status.last.container_id)
    if container_id:
        entry["containerID"] = container_id
        entry["resources"] = {} if container.resources is None else to_builtins(container.resources)
        if container.resources is not None and container.resources.requests:
            entry["allocatedResources"] = dict(container.resources.requests)
    if container.volume_mounts:
        entry["volumeMounts"] = [
            {"name": one.name, "mountPath": one.mount_path}
            | ({"readOnly": True, "recursiveReadOnly": "Disabled"} if one.read_only else {})
            for one in container.volume_mounts
        ]
    return entry


def _state(state: ContainerState, limit: int) -> Json:
    if state.phase is ContainerPhase.WAITING:
        return {"waiting": _texts(state.reason, state.message)}
    if state.phase is ContainerPhase.RUNNING:
        return {"running": {} if state.started_at is None else {"startedAt": rfc3339(state.started_at)}}
    ended: Json = {"exitCode": state.exit_code, **_texts(state.reason, _cut(state.message, limit))}
    if state.signal:
        ended["signal"] = state.signal
    if state.container_id:
        ended["containerID"] = state.container_id
    if state.started_at is not None:
        ended["startedAt"] = rfc3339(state.started_at)
    elif state.finished_at is not None:
        ended["startedAt"] = EPOCH  # what the stock node shows for a container that never started
    if state.finished_at is not None:
        ended["finishedAt"] = rfc3339(state.finished_at)
    return {"terminated": ended}


def _texts(reason: str, message: str) -> Json:
    return {key: text for key, text in (("reason", reason), ("message", message)) if text}


def _cut(text: str, limit: int) -> str:
    raw = text.encode()
    return text if len(raw) <= limit else raw[:limit].decode(errors="ignore")


def _status_of(entry: ContainerStatusEntry, kind: ContainerKind) -> ContainerStatus:
    last = _state_of(entry.last_state, entry.container_id)
    return ContainerStatus(
        name=entry.name,
        kind=kind,
        state=_state_of(entry.state, entry.container_id),
        last=last if last.phase is ContainerPhase.TERMINATED else None,
        restarts=entry.restart_count,
        ready=entry.ready,
        started=bool(entry.started),
        image=entry.image,
        image_id=entry.image_id,
    )


def _state_of(entry: StateEntry, container_id: str) -> ContainerState:
    if (ended := entry.terminated) is not None:
        return ContainerState(
            phase=ContainerPhase.TERMINATED,
            reason=ended.reason,
            message=ended.message,
            started_at=None if ended.started_at is None else seconds_of(ended.started_at),
            finished_at=None if ended.finished_at is None else seconds_of(ended.finished_at),
            exit_code=ended.exit_code,
            signal=ended.signal,
            container_id=ended.container_id,
        )
    if (running := entry.running) is not None:
        begun = None if running.started_at is None else seconds_of(running.started_at)
        return ContainerState(phase=ContainerPhase.RUNNING, started_at=begun, container_id=container_id)
    waiting = entry.waiting
    return ContainerState(
        reason="" if waiting is None else waiting.reason, message="" if waiting is None else waiting.message
    )
