"""What to say when something that should run does not: its pods, what they wait for, and the newest events."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provider.kube.client import Json, KubeApi

__all__ = ["events_of", "pod_line", "pods_of"]

_EVENTS = 12


async def pods_of(api: KubeApi, namespace: str, selector: str = "") -> str:
    """Return one line for each pod and the namespace's newest events, or that there are none."""
    query = {"labelSelector": selector} if selector else {}
    pods = await api.list(f"/api/v1/namespaces/{namespace}/pods", query)
    lines = [pod_line(each) for each in pods["items"]] or [f"no pod was made in {namespace} ({selector or 'any'})"]
    return "\n".join([*lines, *await events_of(api, namespace)])


async def events_of(api: KubeApi, namespace: str, about: str = "") -> list[str]:
    """Return the newest events of a namespace, oldest first, one line each; `about` is part of the object's name."""
    listed = await api.list(f"/api/v1/namespaces/{namespace}/events")
    chosen = [each for each in listed["items"] if about in each["involvedObject"].get("name", "")]
    chosen.sort(key=_when)
    return [
        f"event {_when(each)} {each.get('type')} {each.get('reason')} {each['involvedObject'].get('name')}: "
        f"{' '.join(str(each.get('message', '')).split())}"
        for each in chosen[-_EVENTS:]
    ]


def pod_line(pod: Json) -> str:
    """Return name, node, phase and what a pod or its containers wait for or ended with."""
    status = pod.get("status", {})
    reasons = [f"{status.get('reason', '')} {status.get('message', '')}".strip()]
    for each in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
        for state in ("waiting", "terminated"):
            detail = each.get("state", {}).get(state)
            if detail:
                code = f" exit code {detail['exitCode']}" if "exitCode" in detail else ""
                reasons.append(
                    f"{each['name']}: {detail.get('reason', state)}{code} {detail.get('message', '')}".strip()
                )
    reasons += [
        f"{each['type']}: {each.get('reason', '')} {each.get('message', '')}".strip()
        for each in status.get("conditions") or ()
        if each["type"] == "PodScheduled" and each["status"] != "True"
    ]
    where = pod.get("spec", {}).get("nodeName") or "no node"
    told = "; ".join(each for each in reasons if each)
    return f"pod {pod['metadata']['name']} on {where}: {status.get('phase', 'Unknown')}{' ' if told else ''}{told}"


def _when(event: Json) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or "")
