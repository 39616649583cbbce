"""Which pods are daemons of a host: by their controller and by what they ask for, nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from provider.translate.host_daemons import daemon_set_of, host_wishes, not_started

OWNER = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "kube-proxy", "uid": "u", "controller": True}


def pod(spec: dict[str, Any], **owner: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p", "ownerReferences": [{**OWNER, **owner}]}, "spec": spec}


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"hostNetwork": True}, "spec.hostNetwork"),
        ({"hostPID": True}, "spec.hostPID"),
        ({"hostIPC": True}, "spec.hostIPC"),
        ({"volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "hostPath": {"path": "/lib/modules"}}]}, "spec.volumes[1].hostPath /lib/modules"),
        ({"containers": [{"name": "c", "securityContext": {"privileged": True}}]}, "spec.containers[0].securityContext.privileged"),
        ({"initContainers": [{"name": "i", "securityContext": {"privileged": True}}]}, "spec.initContainers[0].securityContext.privileged"),
        ({"containers": [{"name": "c", "ports": [{"containerPort": 1}, {"containerPort": 2, "hostPort": 2}]}]}, "spec.containers[0].ports[1].hostPort"),
    ],
)  # fmt: skip
def test_each_way_to_ask_for_the_host_counts_and_is_named(spec: dict[str, Any], path: str) -> None:
    assert host_wishes(spec) == [path]
    said = not_started(pod(spec))
    assert path in said
    assert "kube-proxy" in said
    assert "node.daemonSets: all" in said


@pytest.mark.parametrize(
    "spec",
    [
        {"containers": [{"name": "c", "ports": [{"containerPort": 80}], "securityContext": {"privileged": False}}]},
        {"hostNetwork": False, "volumes": None, "containers": [{"name": "c", "ports": None, "securityContext": None}]},
        {},
    ],
)
def test_a_daemon_that_asks_nothing_of_the_host_is_an_ordinary_pod(spec: dict[str, Any]) -> None:
    assert not_started(pod(spec)) == ""


@pytest.mark.parametrize(
    "owner",
    [
        {"kind": "ReplicaSet"},
        {"controller": False},
        {"apiVersion": "example.com/v1"},  # somebody's own kind of that name
    ],
)
def test_only_a_daemonset_that_controls_the_pod_counts(owner: dict[str, Any]) -> None:
    asked = pod({"hostNetwork": True}, **owner)
    assert daemon_set_of(asked) == ""
    assert not_started(asked) == ""


def test_a_pod_without_owners_is_none() -> None:
    assert daemon_set_of({"metadata": {"name": "p"}}) == ""
    assert daemon_set_of({"metadata": {"name": "p", "ownerReferences": None}}) == ""
