from __future__ import annotations

from typing import Any

import pytest

from provider.pods.status_patch import ready, status_patch


def condition(kind: str, status: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "status": status, **more}


BASE: dict[str, Any] = {
    "phase": "Running",
    "conditions": [condition("Ready", "True", lastProbeTime=None, lastTransitionTime="T1")],
    "podIP": "10.0.0.4",
    "podIPs": [{"ip": "10.0.0.4"}],
    "containerStatuses": [{"name": "a", "lastState": {}, "state": {"terminated": {"exitCode": 0, "startedAt": None}}}],
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, None),
        ({"phase": "Failed"}, {"phase": "Failed"}),
        ({"message": "m"}, {"message": "m"}),
        ({"podIP": None}, {"podIP": None}),
        ({"podIPs": [{"ip": "10.0.0.5"}]}, {"podIPs": [{"$patch": "replace"}, {"ip": "10.0.0.5"}]}),
        ({"hostIPs": [{"ip": "192.0.2.1"}]}, {"hostIPs": [{"ip": "192.0.2.1"}]}),
        ({"containerStatuses": []}, {"containerStatuses": []}),
        # nulls of the API server say nothing
        ({"containerStatuses": [{"name": "a", "lastState": {}, "state": {"terminated": {"exitCode": 0}}}]}, None),
        ({"conditions": [condition("Ready", "True", lastTransitionTime="T1")]}, None),
        (
            {"conditions": [condition("Ready", "False", lastTransitionTime="T2", reason="r")]},
            {"conditions": [condition("Ready", "False", lastTransitionTime="T2", reason="r")]},
        ),
        # somebody else's key is not ours to compare
        ({"resize": "Proposed"}, None),
    ],
)
def test_what_differs_is_patched(change: dict[str, Any], expected: dict[str, Any] | None) -> None:
    assert status_patch(BASE, {**BASE, **change}) == expected


def test_other_controllers_conditions_are_left_alone() -> None:
    held = {"conditions": [condition("example.com/gate", "True"), condition("Ready", "False")]}
    assert status_patch(held, {"conditions": [condition("Ready", "False")]}) is None


def test_what_a_condition_no_longer_says_is_cleared() -> None:
    held = {"conditions": [condition("Ready", "False", reason="ContainersNotReady", message="m")]}
    assert status_patch(held, {"conditions": [condition("Ready", "True")]}) == {
        "conditions": [{"reason": None, "message": None, "type": "Ready", "status": "True"}]
    }


def test_what_is_no_longer_said_is_removed() -> None:
    assert status_patch({"phase": "Pending", "reason": "r"}, {"phase": "Pending"}) == {"reason": None}


def test_ready() -> None:
    assert ready(BASE)
    assert not ready({})
    assert not ready({"conditions": [condition("Ready", "False")]})
