"""What must be patched so that the Node on the API server becomes what it is to be; None where nothing must. No I/O.

Sources: upstream `pkg/kubelet/kubelet_node_status.go` (nodeStatusHasChanged: heartbeat times are no change) and
`component-helpers/node/util/status.go` (addresses are replaced as a whole, conditions merged by type).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provider.model.quantity import milli
from provider.node.shape import VERSION_MARK, NodeFacts, node_part, node_taints, privileged_part

if TYPE_CHECKING:
    from collections.abc import Mapping

Json = dict[str, Any]

PLAIN_FIELDS = ("daemonEndpoints", "nodeInfo", "declaredFeatures")


def whose(node: Mapping[str, Any], provider_id: str) -> str:
    """Return whose Node this is when it is not ours: what shows it, for a person to read; empty when it is ours.

    The providerID names installation and zone, and cannot change once it is set. A Node without one is ours to take
    unless another kubelet reports its status: on a bare machine nothing else tells.
    """
    found = (node.get("spec") or {}).get("providerID", "")
    if found:
        return "" if found == provider_id else f"with the providerID {found}, ours is {provider_id}"
    kubelet = ((node.get("status") or {}).get("nodeInfo") or {}).get("kubeletVersion", "")
    return f"kept by a kubelet {kubelet}, and without a providerID" if kubelet and VERSION_MARK not in kubelet else ""


def status_patch(current: Mapping[str, Any], wanted: Mapping[str, Any], *, heartbeat: bool) -> Json | None:
    """Return the strategic patch that makes `current` (node.status) say what `wanted` says; others' entries stay.

    `wanted` may leave fields out: those are unknown now and stay as they are. With `heartbeat` the conditions are sent
    in any case, for their times.
    """
    changed: Json = {
        field: wanted[field] for field in PLAIN_FIELDS if field in wanted and _lacks(current, wanted, field)
    }
    if "declaredFeatures" not in current and "nodeInfo" not in changed and not heartbeat:
        changed.pop("declaredFeatures", None)  # it was sent with nodeInfo: a server before 1.36 drops it every time
    for field in ("capacity", "allocatable"):
        resources = {
            name: amount
            for name, amount in wanted.get(field, {}).items()
            if not _same_amount((current.get(field) or {}).get(name), amount)
        }
        if resources:
            changed[field] = resources
    if "addresses" in wanted and list(current.get("addresses") or ()) != wanted["addresses"]:
        changed["addresses"] = [*wanted["addresses"], {"$patch": "replace"}]
    if heartbeat or changed or _conditions_differ(current, wanted):
        changed["conditions"] = wanted["conditions"]
        return {"status": changed}
    return None


def own_patch(node: Mapping[str, Any], facts: NodeFacts) -> Json | None:
    """Return the merge patch of labels and providerID that the node itself may send."""
    wanted = node_part(facts, 0.0)
    patch: Json = {}
    if labels := _missing_labels(node, wanted["metadata"]["labels"]):
        patch["metadata"] = {"labels": labels}
    if not (node.get("spec") or {}).get("providerID"):
        patch["spec"] = wanted["spec"]
    return patch or None


def privileged_patch(node: Mapping[str, Any], facts: NodeFacts) -> Json | None:
    """Return the merge patch that only the provider may send: forbidden labels, and our taint beside the others'.

    A taint is ours when it has the configured key. The patch holds the version that it was made from, for a list of
    taints is replaced as a whole: the node life-cycle controller writes it too.
    """
    patch: Json = {}
    metadata: Json = {}
    if labels := _missing_labels(node, privileged_part(facts)["metadata"]["labels"]):
        metadata["labels"] = labels
    present = (node.get("spec") or {}).get("taints") or []
    ours = node_taints(facts)
    if [_taint(each) for each in present if each["key"] == facts.config.node.taint_key] != [
        _taint(each) for each in ours
    ]:
        patch["spec"] = {"taints": [*(each for each in present if each["key"] != facts.config.node.taint_key), *ours]}
    if not patch and not metadata:
        return None
    return {**patch, "metadata": {**metadata, "resourceVersion": node["metadata"]["resourceVersion"]}}


def _missing_labels(node: Mapping[str, Any], wanted: Mapping[str, str]) -> dict[str, str]:
    present = node["metadata"].get("labels") or {}
    return {key: value for key, value in wanted.items() if present.get(key) != value}


def _taint(taint: Mapping[str, Any]) -> tuple[str, str, str]:
    return taint["key"], taint.get("value", ""), taint["effect"]


def _lacks(current: Mapping[str, Any], wanted: Mapping[str, Any], field: str) -> bool:
    present, value = current.get(field), wanted[field]
    if isinstance(value, dict):
        # The server leaves empty strings out, or adds fields of its own.
        return any((present or {}).get(key, "") != part for key, part in value.items())
    return bool(present != value)


def _same_amount(present: str | None, wanted: str) -> bool:
    """Compare quantities by their value: the API server writes 1048576Ki as 1Gi."""
    return present is not None and (present == wanted or milli(present) == milli(wanted))


def _conditions_differ(current: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    present = {each["type"]: each for each in current.get("conditions") or ()}
    return any(
        any(present.get(each["type"], {}).get(key) != each[key] for key in ("status", "reason", "message"))
        for each in wanted["conditions"]
    )
