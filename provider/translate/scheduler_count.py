"""What kube-scheduler counts for a bound pod. Pure.

Upstream: component-helpers/resource PodRequests as the scheduler calls it (pkg/scheduler/framework/types.go,
calculatePodResourceRequest): init containers and sidecars (KEP-753), overhead, resources of the pod as a whole, and for
a resize the larger of what the spec says and what the status still says. A pod is counted until its phase is Succeeded
or Failed, whatever else is wrong with it: so this reads the raw pod, and takes what it cannot read for nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provider.model.quantity import QuantityError, milli, whole
from provider.model.stock import Amounts

if TYPE_CHECKING:
    from collections.abc import Mapping

Json = dict[str, Any]
Sizes = dict[str, int]

RESOURCES = ("cpu", "memory", "ephemeral-storage")
POD_LEVEL = ("cpu", "memory")
"""Resources that a pod as a whole may ask for (besides huge pages, which are not sold here)."""
_ENDED = ("Succeeded", "Failed")


def counts(raw: Mapping[str, Any]) -> bool:
    """Tell whether the scheduler takes the pod off its node's allocatable."""
    return (raw.get("status") or {}).get("phase") not in _ENDED


def counted(raw: Mapping[str, Any]) -> Amounts:
    """Return a pod's requests, as one pod; nothing for one that has ended."""
    if not counts(raw):
        return Amounts()
    spec, status = raw.get("spec") or {}, raw.get("status") or {}
    infeasible = any(
        each.get("type") == "PodResizePending" and each.get("reason") == "Infeasible"
        for each in status.get("conditions") or ()
    )
    seen = {
        each.get("name"): each
        for each in (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ()))
    }
    total: Sizes = {}
    for one in spec.get("containers") or ():
        total = _sum(total, _container(one, seen.get(one.get("name")), infeasible=infeasible))
    sidecars: Sizes = {}
    peak: Sizes = {}
    for one in spec.get("initContainers") or ():
        asked = _container(one, seen.get(one.get("name")), infeasible=infeasible)
        if one.get("restartPolicy") == "Always":
            sidecars = _sum(sidecars, asked)
            peak = _max(peak, sidecars)
        else:
            peak = _max(peak, _sum(sidecars, asked))
    asked = _max(_sum(total, sidecars), peak)
    as_a_whole = _sizes((spec.get("resources") or {}).get("requests"))
    asked |= {name: as_a_whole[name] for name in POD_LEVEL if name in as_a_whole}
    asked = _sum(asked, _sizes(spec.get("overhead")))
    return Amounts(asked.get("cpu", 0), asked.get("memory", 0), asked.get("ephemeral-storage", 0), 1)


def _container(one: Mapping[str, Any], status: Mapping[str, Any] | None, *, infeasible: bool) -> Sizes:
    wanted = _sizes((one.get("resources") or {}).get("requests"))
    if status is None:
        return wanted
    actual = _sizes((status.get("resources") or {}).get("requests"))
    allocated = _sizes(status.get("allocatedResources"))
    if not actual and not allocated:
        return wanted
    held = _max(actual, allocated)
    return held if infeasible else _max(wanted, held)


def _sizes(quantities: Mapping[str, Any] | None) -> Sizes:
    found: Sizes = {}
    for name in RESOURCES:
        try:
            quantity = (quantities or {}).get(name)
            if quantity is not None:
                found[name] = milli(quantity) if name == "cpu" else whole(quantity)
        except QuantityError:
            continue
    return found


def _sum(one: Sizes, other: Sizes) -> Sizes:
    return {name: one.get(name, 0) + other.get(name, 0) for name in one.keys() | other.keys()}


def _max(one: Sizes, other: Sizes) -> Sizes:
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in one.keys() | other.keys()}
