"""The difference of two pod statuses as a strategic merge patch (k8s.io/api/core/v1 PodStatus). Pure.

Patch keys: `conditions` merge by type, `podIPs` and `hostIPs` by ip, `containerStatuses` are replaced as a whole.
Only what a kubelet owns is compared; conditions of others are left alone.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

OWNED = (
    "observedGeneration",
    "phase",
    "reason",
    "message",
    "hostIP",
    "podIP",
    "startTime",
    "qosClass",
    "resources",
    "allocatedResources",
    "containerStatuses",
    "initContainerStatuses",
)
_MERGED_BY_IP = ("podIPs", "hostIPs")


def status_patch(held: Json, wanted: Json) -> Json | None:
    """Return what makes `held` say `wanted`, None when it does already."""
    patch: Json = {}
    for key in OWNED:
        if _plain(held.get(key)) != _plain(wanted.get(key)):
            patch[key] = wanted.get(key)
    for key in _MERGED_BY_IP:
        old, new = held.get(key) or [], wanted.get(key) or []
        if old != new:
            patch[key] = [{"$patch": "replace"}, *new] if old else new
    before = {one["type"]: _plain(one) for one in held.get("conditions") or ()}
    changed = [one for one in wanted.get("conditions") or () if before.get(one["type"]) != _plain(one)]
    if changed:
        patch["conditions"] = [_with_cleared(before.get(one["type"]), one) for one in changed]
    return patch or None


def ready(status: Json) -> bool:
    """Return whether the Ready condition holds."""
    return any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions") or ())


def _with_cleared(old: Json | None, new: Json) -> Json:
    """Return the condition with null for what it no longer says; absent keys would be merged in from the old one."""
    return {**{key: None for key in old or {} if key not in new}, **new}


def _plain(value: Any) -> Any:
    """Return the value without the nulls that the API server writes for unset times."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value
