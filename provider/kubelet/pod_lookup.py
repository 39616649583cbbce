"""What the kubelet port needs to know of the node's pods: which one is meant, and whether a container has logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from provider.kube.client import Json
    from provider.model.instance import Instance

_LISTS: Final = ("containers", "initContainers", "ephemeralContainers")
_STATUS_LISTS: Final = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
_PULL_TEXTS: Final = {
    "ErrImagePull": "image can't be pulled",
    "ImagePullBackOff": "trying and failing to pull image",
}


class NoLogsError(Exception):
    """A container whose output cannot be shown now; the text is the kubelet's."""


def find_pod(pods: Iterable[Json], namespace: str, name: str) -> Json | None:
    """Return the pod of that name; of an old one that is going and a new one, the new one."""
    found = [pod for pod in pods if pod["metadata"]["name"] == name and pod["metadata"]["namespace"] == namespace]
    return min(found, key=lambda pod: "deletionTimestamp" in pod["metadata"], default=None)


def has_container(pod: Json, container: str) -> bool:
    """Whether the pod's spec has a container of that name, of any kind."""
    return any(each["name"] == container for kind in _LISTS for each in pod["spec"].get(kind) or ())


def check_logs(pod: Json, container: str, *, previous: bool) -> None:
    """Raise NoLogsError when the container has no output to show.

    Rules and texts: Kubernetes 1.37 pkg/kubelet/kubelet_pods.go validateContainerLogStatus.
    """
    name, status = pod["metadata"]["name"], _container_status(pod, container)
    what = f'container "{container}" in pod "{name}"'
    if status is None:
        raise NoLogsError(f"{what} is not available")
    last = _terminated(status.get("lastState"))
    state = status.get("state") or {}
    if previous:
        if not _id(last):
            raise NoLogsError(f"previous terminated {what} not found")
    elif state.get("running") is not None:
        return
    elif state.get("terminated") is not None:
        if not _id(state["terminated"]) and not _id(last):
            raise NoLogsError(f"{what} is terminated")
    elif last is not None:
        if not _id(last):
            raise NoLogsError(f"{what} is terminated")
    elif (waiting := state.get("waiting")) is not None:
        reason = waiting.get("reason", "")
        raise NoLogsError(f"{what} is waiting to start: {_PULL_TEXTS.get(reason, reason)}")
    else:
        raise NoLogsError(f"{what} is waiting to start - no logs yet")


def pod_list(pods: Iterable[Json]) -> Json:
    """Return /pods: a v1 PodList, whose items say neither kind nor apiVersion."""
    items = [{key: value for key, value in pod.items() if key not in ("kind", "apiVersion")} for pod in pods]
    return {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}


def running_pods(instances: Sequence[Instance]) -> Json:
    """Return /runningpods: the pods with a running container, and only those containers (kubecontainer ToAPIPod)."""
    items: list[Json] = []
    for instance in instances:
        containers = [
            {"name": each.name, "image": each.image, "resources": {}}
            for each in instance.containers
            if each.state.phase == "Running"
        ]
        if containers:
            metadata = {"name": instance.name, "namespace": instance.namespace, "uid": instance.uid}
            items.append({"metadata": metadata, "spec": {"containers": containers}, "status": {}})
    return {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}


def _container_status(pod: Json, container: str) -> Json | None:
    status = pod.get("status") or {}
    every = (each for kind in _STATUS_LISTS for each in status.get(kind) or ())
    return next((each for each in every if each["name"] == container), None)


def _terminated(state: Json | None) -> Json | None:
    ended: Json | None = (state or {}).get("terminated")
    return ended


def _id(terminated: Json | None) -> str:
    return str((terminated or {}).get("containerID") or "")
