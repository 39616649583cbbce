"""What kube-scheduler counts, case by case (component-helpers/resource, PodRequests)."""

from __future__ import annotations

from typing import Any

import pytest

from provider.model.stock import Amounts
from provider.translate.scheduler_count import counted

Json = dict[str, Any]


def one(name: str = "c", cpu: str = "", **more: Any) -> Json:
    return {"name": name, **({"resources": {"requests": {"cpu": cpu}}} if cpu else {}), **more}


@pytest.mark.parametrize(
    ("spec", "cpu"),
    [
        ({"containers": [one()]}, 0),
        ({"containers": [one("a", "1"), one("b", "500m")]}, 1_500),
        ({"containers": [one("a", "1")], "initContainers": [one("i", "3")]}, 3_000),
        ({"containers": [one("a", "2")], "initContainers": [one("s", "1", restartPolicy="Always")]}, 3_000),
        (
            {"containers": [one("a", "1")], "initContainers": [one("s", "1", restartPolicy="Always"), one("i", "4")]},
            5_000,
        ),
        (
            {"containers": [one("a", "1")], "initContainers": [one("i", "4"), one("s", "1", restartPolicy="Always")]},
            4_000,
        ),
        ({"containers": [one("a", "1")], "overhead": {"cpu": "250m"}}, 1_250),
        ({"containers": [one("a", "1")], "resources": {"requests": {"cpu": "3"}}, "overhead": {"cpu": "1"}}, 4_000),
        ({"containers": [one("a", "many"), one("b", "1")]}, 1_000),
    ],
)
def test_cpu_of_a_spec(spec: Json, cpu: int) -> None:
    assert counted({"spec": spec}) == Amounts(cpu, 0, 0, 1)


def test_all_three_resources_and_no_other() -> None:
    asked = {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "2Gi", "example.com/gpu": "1"}
    spec = {"containers": [{"name": "c", "resources": {"requests": asked}}]}
    assert counted({"spec": spec}) == Amounts(1_000, 1 << 30, 2 << 30, 1)


@pytest.mark.parametrize(
    ("phase", "counts"), [("Pending", 1), ("Running", 1), ("", 1), ("Succeeded", 0), ("Failed", 0)]
)
def test_a_pod_counts_until_it_has_ended(phase: str, counts: int) -> None:
    assert counted({"spec": {"containers": [one()]}, "status": {"phase": phase}}).instances == counts


@pytest.mark.parametrize(("infeasible", "cpu"), [(False, 2_000), (True, 1_000)])
def test_a_resize_counts_the_larger_unless_it_is_infeasible(infeasible: bool, cpu: int) -> None:
    status = {
        "containerStatuses": [{"name": "c", "allocatedResources": {"cpu": "1"}}],
        "conditions": [{"type": "PodResizePending", "reason": "Infeasible" if infeasible else "Deferred"}],
    }
    assert counted({"spec": {"containers": [one(cpu="2")]}, "status": status}).cpu == cpu
