"""Whether a pod may be on a node: nodeSelector and the required node affinity. Pure.

The scheduler has looked at both; a pod that names its node itself comes past it, and the kubelet looks once more.
Upstream: pkg/kubelet/lifecycle/predicate.go, k8s.io/component-helpers/scheduling/corev1/nodeaffinity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MISMATCH", "selects"]

Json = dict[str, Any]

MISMATCH = ("NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector")
"""Reason and message of the kubelet's rejection."""


def selects(pod: Json, name: str, labels: Mapping[str, str]) -> bool:
    """Say whether the pod (as the API server has it) may be on the node `name` with these labels."""
    spec = pod["spec"]
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    return any(_matches(term, name, labels) for term in required.get("nodeSelectorTerms") or ())


def _matches(term: Json, name: str, labels: Mapping[str, str]) -> bool:
    """Say whether all of a term holds; an empty one never does."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    return all(_holds(each, labels) for each in expressions) and all(
        _holds(each, {"metadata.name": name}) for each in fields
    )


def _holds(requirement: Json, values: Mapping[str, str]) -> bool:
    """Say whether a NodeSelectorRequirement holds; NotIn does where there is no value, Gt and Lt do not."""
    value, wanted = values.get(requirement["key"]), requirement.get("values") or ()
    match requirement["operator"]:
        case "In":
            return value in wanted
        case "NotIn":
            return value not in wanted
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt" as operator:
            own, bound = _integer(value), _integer(wanted[0] if wanted else None)
            if own is None or bound is None:
                return False
            return own > bound if operator == "Gt" else own < bound
        case _:
            return False


def _integer(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        return None
