"""The Node object of a zone."""

from __future__ import annotations

import msgspec
import pytest

from provider.config.schema import NodeConfig, ProviderConfig, ZoneConfig
from provider.model.capacity import BackendHealth, EngineInfo, VSwitchStatus, Zone, ZoneStatus
from provider.model.ids import VSwitchId, ZoneId
from provider.node import shape


def facts(*, healthy: bool = True, node: NodeConfig | None = None, instances: int | None = None) -> shape.NodeFacts:
    zone = Zone(id=ZoneId("zone-a"), cpu=200_000, memory=1 << 30, ephemeral_storage=1 << 40, instances=instances)
    vswitch = VSwitchStatus(VSwitchId("vsw"), "10.0.0.0/24", 252, 0)
    return shape.NodeFacts(
        config=ProviderConfig(node=node or NodeConfig()),
        zone_config=ZoneConfig(name="zone-a", labels={"team": "x", "kubernetes.io/hostname": "lie"}),
        status=ZoneStatus(zone=zone, vswitches=(vswitch,), node_address="172.20.0.5"),
        engine=EngineInfo(runtime="docker://20.10.24"),
        health=BackendHealth(healthy=healthy, reason="" if healthy else "EngineDown"),
        version="v1.37.2",
    )


def test_parts_divide_the_labels_by_node_restriction() -> None:
    own = shape.node_part(facts(), 0)["metadata"]["labels"]
    privileged = shape.privileged_part(facts())["metadata"]["labels"]
    assert privileged == {"kubernetes.io/role": "agent"}
    assert own | privileged == shape.node_labels(facts())
    assert own["kubernetes.io/hostname"] == "virtual-kubelet-zone-a"
    assert own["team"] == "x"


@pytest.mark.parametrize(
    ("label", "allowed"),
    [
        ("type", True),
        ("example.com/x", True),
        ("kubernetes.io/role", False),
        ("node-role.kubernetes.io/agent", False),
        ("a.node-restriction.kubernetes.io/x", False),
        ("node.kubernetes.io/exclude-from-external-load-balancers", True),
        ("mykubernetes.io/x", True),
    ],
)
def test_node_restriction(label: str, allowed: bool) -> None:
    assert shape.node_allows_label(label) is allowed


def test_taint_only_where_configured() -> None:
    taint = {"key": "virtual-kubelet.io/provider", "value": "zonelet", "effect": "NoSchedule"}
    assert shape.privileged_part(facts())["spec"]["taints"] == [taint]
    assert shape.privileged_part(facts(node=NodeConfig(taint="none")))["spec"]["taints"] == []


def test_transition_time_moves_with_the_status_only() -> None:
    first = shape.node_status(facts(), 100)["conditions"]
    second = shape.node_status(facts(), 200, first)["conditions"]
    third = {c["type"]: c for c in shape.node_status(facts(healthy=False), 300, second)["conditions"]}
    assert [c["lastTransitionTime"] for c in second] == [shape.rfc3339(100)] * 5
    assert [c["lastHeartbeatTime"] for c in second] == [shape.rfc3339(200)] * 5
    assert (third["Ready"]["status"], third["Ready"]["reason"]) == ("False", "EngineDown")
    assert third["Ready"]["lastTransitionTime"] == shape.rfc3339(300)
    assert third["DiskPressure"]["lastTransitionTime"] == shape.rfc3339(100)


def test_resources_addresses_and_port() -> None:
    status = shape.node_status(facts(), 0)
    assert status["allocatable"] == status["capacity"]
    assert status["capacity"] == {
        "cpu": "200",
        "memory": "1048576Ki",
        "ephemeral-storage": "1073741824Ki",
        "pods": "252",
    }
    assert shape.node_status(facts(instances=7), 0)["capacity"]["pods"] == "7"
    assert status["addresses"][0] == {"type": "InternalIP", "address": "172.20.0.5"}
    assert status["daemonEndpoints"] == {"kubeletEndpoint": {"Port": 10250}}
    assert status["declaredFeatures"] == ["ExtendWebSocketsToKubelet"]
    assert msgspec.json.decode(msgspec.json.encode(status)) == status
