from __future__ import annotations

from typing import Any

import pytest

from provider.pods.node_affinity import selects

LABELS = {"zone": "a", "disk": "ssd", "generation": "7"}


def pod(selector: dict[str, str] | None = None, *terms: dict[str, Any], required: bool = True) -> dict[str, Any]:
    spec: dict[str, Any] = {"nodeSelector": selector or {}}
    if terms or not required:
        kind = "requiredDuringSchedulingIgnoredDuringExecution"
        spec["affinity"] = {"nodeAffinity": {kind: {"nodeSelectorTerms": list(terms)}} if required else {}}
    return {"spec": spec}


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [({}, True), ({"zone": "a"}, True), ({"zone": "b"}, False), ({"zone": "a", "x": ""}, False)],
)
def test_the_node_selector(selector: dict[str, str], expected: bool) -> None:
    assert selects(pod(selector), "node", LABELS) is expected


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        (expression("zone", "In", "a", "b"), True),
        (expression("zone", "In", "b"), False),
        (expression("none", "In", "a"), False),
        (expression("zone", "NotIn", "a"), False),
        (expression("none", "NotIn", "a"), True),
        (expression("zone", "Exists"), True),
        (expression("none", "Exists"), False),
        (expression("none", "DoesNotExist"), True),
        (expression("zone", "DoesNotExist"), False),
        (expression("generation", "Gt", "6"), True),
        (expression("generation", "Gt", "7"), False),
        (expression("generation", "Lt", "8"), True),
        (expression("zone", "Lt", "8"), False),
        (expression("none", "Gt", "1"), False),
    ],
)
def test_expressions(requirement: dict[str, Any], expected: bool) -> None:
    assert selects(pod(None, {"matchExpressions": [requirement]}), "node", LABELS) is expected


def test_one_term_must_hold_as_a_whole() -> None:
    holds, fails = expression("zone", "In", "a"), expression("disk", "In", "hdd")
    assert not selects(pod(None, {"matchExpressions": [holds, fails]}), "node", LABELS)
    assert selects(pod(None, {"matchExpressions": [fails]}, {"matchExpressions": [holds]}), "node", LABELS)
    assert not selects(pod(None, {}), "node", LABELS)


def test_a_daemon_sets_pod_names_its_node() -> None:
    term = {"matchFields": [expression("metadata.name", "In", "node")]}
    assert selects(pod(None, term), "node", LABELS)
    assert not selects(pod(None, term), "other", LABELS)


def test_selector_and_affinity_both_count_and_preferences_do_not() -> None:
    term = {"matchExpressions": [expression("zone", "In", "a")]}
    assert not selects(pod({"disk": "hdd"}, term), "node", LABELS)
    assert selects(pod(None, required=False), "node", LABELS)
