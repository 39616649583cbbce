from __future__ import annotations

import json
from typing import Any

import pytest

from tests.compatibility.compare import ABSENT, Difference
from tests.compatibility.mutation import DROP, Mutation, changed, told, valid
from tests.compatibility.mutation_reasons import KNOWN_OF_MUTATIONS
from tests.compatibility.mutation_report import HEADING, joined, mutation_part, section, unexplained
from tests.compatibility.mutations import MUTATIONS
from tests.compatibility.verdicts import LATE, differing, refused_at, verdict

REFUSED = {"phase": "Failed", "message": "Pod was rejected: spec.hostPID: hostPID is not supported by this node"}


def test_mutations_have_names_of_their_own_and_change_the_pod() -> None:
    assert len({each.name for each in MUTATIONS}) == len(MUTATIONS) >= 200
    same = [each.name for each in MUTATIONS if changed(each) == valid()]
    assert same == ["as-it-is"]
    assert [each for each in KNOWN_OF_MUTATIONS if not each.reason] == []


def test_a_change_reaches_into_lists_and_takes_away() -> None:
    changes = {"main/env/+": {"name": "X"}, "main/resources/limits/a~1b": "1", "spec/hostname": DROP}
    spec = changed(Mutation("x", changes))["spec"]
    main = spec["containers"][0]
    assert (main["env"][-1], main["resources"]["limits"]["a/b"], "hostname" in spec) == ({"name": "X"}, "1", False)


@pytest.mark.parametrize(
    ("state", "warned", "expected"),
    [
        ({"waiting": {"reason": "ContainerCreating"}}, False, False),
        ({"waiting": {"reason": "ContainerCreating"}}, True, True),
        ({"waiting": {"reason": "ErrImagePull"}}, False, False),
        ({"waiting": {"reason": "ImagePullBackOff"}}, False, True),
        ({"running": {}}, False, False),
    ],
)
def test_when_a_node_has_said_what_becomes_of_a_pod(state: dict[str, Any], warned: bool, expected: bool) -> None:
    assert told({"status": {"containerStatuses": [{"state": state}]}}, warned) is expected


def event(reason: str, message: str, kind: str = "Warning", component: str = "kubelet") -> dict[str, Any]:
    return {"type": kind, "reason": reason, "message": message, "source": {"component": component}}


def test_a_verdict_has_what_the_status_and_the_nodes_events_say() -> None:
    pod = {
        "metadata": {"namespace": "on-stock"},
        "spec": {"nodeName": "stock"},
        "status": {"phase": "Pending", "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "False"}]},
    }
    events = [
        event("Failed", "Error: b in on-stock"),
        event("Failed", "Error: a at 10.0.0.1"),
        event("Scheduled", "yes", "Normal", "default-scheduler"),
        event("Pulled", "yes", "Normal"),
    ]
    assert verdict(pod, events) == {
        "phase": "Pending",
        "conditions[Ready].status": "False",
        "events": "Pulled",
        "events[Failed]": "Error: a at <address> | Error: b in <namespace>",
    }


def test_a_refusal_by_name_is_no_difference_and_another_refusal_is() -> None:
    mutation = Mutation("host", {}, refused="spec.hostPID")
    assert refused_at(REFUSED, "spec.hostPID")
    assert unexplained(mutation, {"phase": "Running"}, REFUSED) == []
    other = Mutation("host", {}, refused="spec.hostIPC")
    assert Difference("phase", "Running", "Failed") in unexplained(other, {"phase": "Running"}, REFUSED)
    assert differing({"phase": "Running"}, {"phase": "Running"}) == []


def test_only_a_virtual_node_that_is_late_counts() -> None:
    assert differing({LATE: "true"}, {}) == []
    assert differing({LATE: "true"}, {LATE: "true"}) == []
    assert differing({}, {LATE: "true"}) == [Difference(LATE, ABSENT, "true")]


def test_each_part_of_the_document_is_replaced_by_itself() -> None:
    mutations = [Mutation("a", {"spec/hostPID": True}, refused="spec.hostPID"), Mutation("b", {})]
    stock = {"a": {"phase": "Running"}, "b": {"phase": "Running"}}
    part = section(mutations, stock, {"a": REFUSED, "b": {"phase": "Failed"}}, "2026-11-24, commit abc")
    assert "0 are the same, 1 are refused here by name, 1 differ" in part
    assert "not explained: a defect" in part
    whole = joined("# First\n\nold\n", part)
    assert joined(whole, part) == whole
    assert mutation_part(whole).startswith(HEADING)
    assert json.dumps(True) in part
