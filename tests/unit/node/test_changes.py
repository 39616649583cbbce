"""What must be patched, and what must not."""

from __future__ import annotations

from typing import Any

import pytest

from provider.config.schema import NodeConfig, ProviderConfig, ZoneConfig
from provider.model.capacity import BackendHealth, EngineInfo, VSwitchStatus, Zone, ZoneStatus
from provider.model.ids import VSwitchId, ZoneId
from provider.node.changes import own_patch, privileged_patch, status_patch, whose
from provider.node.shape import NodeFacts, node_part, node_status, provider_id

Json = dict[str, Any]
OURS = {"key": "virtual-kubelet.io/provider", "value": "zonelet", "effect": "NoSchedule"}
ZONE = ZoneConfig(name="zone-a", labels={"team": "x"})


def facts(taint: str = "NoSchedule") -> NodeFacts:
    zone = Zone(id=ZoneId("zone-a"), cpu=4_000, memory=1 << 30, ephemeral_storage=1 << 40)
    vswitch = VSwitchStatus(VSwitchId("vsw"), "10.0.0.0/24", 249, 0)
    return NodeFacts(
        config=ProviderConfig(node=NodeConfig(taint=taint)),  # type: ignore[arg-type]
        zone_config=ZONE,
        status=ZoneStatus(zone=zone, vswitches=(vswitch,), node_address="172.20.0.5"),
        engine=EngineInfo(runtime="docker://20.10.24"),
        health=BackendHealth(healthy=True),
        version="v1.37.2-zonelet-0.1.0",
    )


def node(**spec: Any) -> Json:
    made = node_part(facts(), 100)
    made["metadata"]["resourceVersion"] = "7"
    made["metadata"]["labels"]["kubernetes.io/role"] = "agent"
    made["spec"] |= {"taints": [OURS], **spec}
    return made


@pytest.mark.parametrize("heartbeat", [False, True])
def test_a_status_that_says_it_all_needs_its_heartbeat_only(heartbeat: bool) -> None:
    patch = status_patch(node_status(facts(), 100), node_status(facts(), 200), heartbeat=heartbeat)
    assert (patch is None) is not heartbeat
    assert patch is None or set(patch["status"]) == {"conditions"}


def test_declared_features_that_a_server_drops_are_sent_with_heartbeats_only() -> None:
    """kube-apiserver before 1.36 has no such field."""
    wanted = node_status(facts(), 100)
    dropped = {key: value for key, value in wanted.items() if key != "declaredFeatures"}
    assert status_patch(dropped, wanted, heartbeat=False) is None
    patch = status_patch(dropped, wanted, heartbeat=True)
    assert patch is not None
    assert patch["status"]["declaredFeatures"] == ["ExtendWebSocketsToKubelet"]
    before = {**dropped, "nodeInfo": {**wanted["nodeInfo"], "kubeletVersion": "v1.37.2-zonelet-0.0.9"}}
    patch = status_patch(before, wanted, heartbeat=False)
    assert patch is not None
    assert patch["status"].keys() >= {"nodeInfo", "declaredFeatures"}
    other = {**wanted, "declaredFeatures": ["Other"]}
    patch = status_patch(other, wanted, heartbeat=False)
    assert patch is not None
    assert patch["status"]["declaredFeatures"] == ["ExtendWebSocketsToKubelet"]


@pytest.mark.parametrize(
    ("present", "wanted", "same"),
    [
        ({"memory": "1Gi"}, {"memory": "1048576Ki"}, True),
        ({"cpu": "4000m"}, {"cpu": "4"}, True),
        ({"cpu": "4"}, {"cpu": "4001m"}, False),
        ({}, {"cpu": "4"}, False),
        ({"cpu": "4", "example.com/gpu": "1"}, {"cpu": "4"}, True),
    ],
)
def test_quantities_compare_by_their_value(present: Json, wanted: Json, same: bool) -> None:
    status = node_status(facts(), 100)
    current = {**status, "capacity": present}
    patch = status_patch(current, {**status, "capacity": wanted}, heartbeat=False)
    assert (patch is None) is same
    if patch is not None:
        assert patch["status"]["capacity"] == wanted
        assert "allocatable" not in patch["status"]


def test_addresses_are_replaced_as_a_whole() -> None:
    current = node_status(facts(), 100)
    current["addresses"] = [{"type": "InternalIP", "address": "10.9.9.9"}, {"type": "ExternalIP", "address": "1.2.3.4"}]
    patch = status_patch(current, node_status(facts(), 100), heartbeat=False)
    assert patch is not None
    assert patch["status"]["addresses"] == [
        {"type": "InternalIP", "address": "172.20.0.5"},
        {"type": "Hostname", "address": "virtual-kubelet-zone-a"},
        {"$patch": "replace"},
    ]


def test_what_is_unknown_stays() -> None:
    current = node_status(facts(), 100)
    wanted = {"conditions": current["conditions"]}
    assert status_patch(current, wanted, heartbeat=False) is None


@pytest.mark.parametrize("field", ["status", "reason", "message"])
def test_a_condition_that_says_something_else_is_sent(field: str) -> None:
    current = node_status(facts(), 100)
    current["conditions"][-1] |= {field: "other"}
    patch = status_patch(current, node_status(facts(), 100), heartbeat=False)
    assert patch is not None
    assert [each["type"] for each in patch["status"]["conditions"]][-1] == "Ready"


def test_another_engine_is_told() -> None:
    current = node_status(facts(), 100)
    current["nodeInfo"] |= {"containerRuntimeVersion": "docker://19.3"}
    patch = status_patch(current, node_status(facts(), 100), heartbeat=False)
    assert patch is not None
    assert patch["status"]["nodeInfo"]["containerRuntimeVersion"] == "docker://20.10.24"


def test_empty_parts_that_the_server_leaves_out_are_no_change() -> None:
    current = node_status(facts(), 100)
    current["nodeInfo"] = {key: value for key, value in current["nodeInfo"].items() if value} | {"swap": {}}
    assert status_patch(current, node_status(facts(), 100), heartbeat=False) is None


def test_a_node_that_is_right_needs_no_patch() -> None:
    assert own_patch(node(), facts()) is None
    assert privileged_patch(node(), facts()) is None


def test_the_node_sends_its_own_labels_and_a_missing_provider_id() -> None:
    bare = {"metadata": {"resourceVersion": "7"}}
    patch = own_patch(bare, facts())
    assert patch is not None
    assert patch["spec"] == {"providerID": "zonelet://local/zonelet/zone-a"}
    assert patch["metadata"]["labels"]["team"] == "x"
    assert "kubernetes.io/role" not in patch["metadata"]["labels"]
    assert privileged_patch(bare, facts()) == {
        "metadata": {"labels": {"kubernetes.io/role": "agent"}, "resourceVersion": "7"},
        "spec": {"taints": [OURS]},
    }


def test_taints_of_others_keep_their_place_and_their_fields() -> None:
    theirs = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"}
    old = {**OURS, "value": "old"}
    patch = privileged_patch(node(taints=[old, theirs]), facts())
    assert patch == {"spec": {"taints": [theirs, OURS]}, "metadata": {"resourceVersion": "7"}}
    patch = privileged_patch(node(taints=[OURS, theirs]), facts("none"))
    assert patch == {"spec": {"taints": [theirs]}, "metadata": {"resourceVersion": "7"}}
    assert privileged_patch(node(taints=[theirs]), facts("none")) is None
    assert privileged_patch(node(taints=None), facts("none")) is None


@pytest.mark.parametrize(
    ("spec", "version", "ours"),
    [
        ({"providerID": "zonelet://local/zonelet/zone-a"}, "", True),
        ({"providerID": "zonelet://local/zonelet/zone-a"}, "v1.36.0-zonelet-0.0.9", True),
        ({"providerID": "zonelet://local/zonelet/zone-b"}, "v1.37.2-zonelet-0.1.0", False),
        ({"providerID": "kind://docker/kind/worker"}, "v1.37.2", False),
        ({}, "v1.37.2", False),
        ({}, "v1.37.2-zonelet-0.1.0", True),
        (None, "", True),
    ],
)
def test_whose_a_node_is(spec: Json | None, version: str, ours: bool) -> None:
    status = {"nodeInfo": {"kubeletVersion": version}} if version else None
    theirs = whose({"metadata": {}, "spec": spec, "status": status}, provider_id(ProviderConfig(), ZONE))
    assert (theirs == "") is ours
    if spec and not ours:
        assert spec["providerID"] in theirs
