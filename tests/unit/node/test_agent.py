"""A zone's Node over the fake API server: whose credential writes what, and what happens when others write too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import structlog
from msgspec.structs import replace

from provider.config.schema import NodeConfig
from provider.kube.client import KubeError
from provider.model.capacity import BackendHealth
from provider.model.errors import CloudCode, CloudError
from tests.support.node_world import ENGINE, LEASE, NODES, PATH, PROVIDER_ID, NodeWorld

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.kube_fake import Call

pytestmark = pytest.mark.looptime

Json = dict[str, Any]
DOWN = BackendHealth(healthy=False, reason="EngineDown", message="the engine does not answer: connection refused")
OURS = {"key": "virtual-kubelet.io/provider", "value": "zonelet", "effect": "NoSchedule"}
NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule", "timeAdded": "2026-01-01T00:00:00Z"}


@pytest.fixture
async def world() -> AsyncIterator[NodeWorld]:
    one = NodeWorld()
    yield one
    await one.kill()


def stranger(provider_id: str = "aws:///eu-west-1a/i-0abc", **status: Any) -> Json:
    spec = {"providerID": provider_id} if provider_id else {}
    return {"metadata": {"labels": {"owner": "them"}}, "spec": spec, "status": status}


# ------------------------------------------------------------------ registration


async def test_the_node_registers_itself_and_the_provider_adds_what_it_may_not(world: NodeWorld) -> None:
    await world.start()
    node = world.node()
    assert node["spec"]["providerID"] == PROVIDER_ID
    assert node["spec"]["taints"] == [OURS]
    labels = node["metadata"]["labels"]
    assert (labels["kubernetes.io/role"], labels["topology.kubernetes.io/zone"], labels["team"]) == (
        "agent",
        "zone-a",
        "x",
    )
    assert (world.ready()["status"], world.ready()["reason"]) == ("True", "KubeletReady")
    assert {each["type"]: each["address"] for each in node["status"]["addresses"]}["InternalIP"] == "172.20.0.5"
    assert node["status"]["nodeInfo"]["kubeletVersion"] == "v1.37.2-zonelet-0.1.0"
    assert world.agent.registered.is_set()
    assert world.node_api.writes[0] == ("create", NODES)
    assert world.provider_api.writes == [("patch", PATH)]  # the role label, and nothing else
    assert (world.node_api.refused, world.provider_api.refused) == ([], [])
    assert world.seen[-1]["metadata"]["uid"] == node["metadata"]["uid"]


async def test_a_node_without_a_taint_costs_the_provider_the_label_only(world: NodeWorld) -> None:
    world.config = replace(world.config, node=NodeConfig(taint="none"))
    await world.start()
    assert "taints" not in world.node()["spec"]
    assert world.node()["metadata"]["labels"]["kubernetes.io/role"] == "agent"


async def test_a_restart_changes_nothing(world: NodeWorld) -> None:
    await world.start()
    await world.kill()
    before = len(world.provider_api.writes), world.node()["metadata"]["uid"], world.node()["spec"]
    await world.start()
    assert (len(world.provider_api.writes), world.node()["metadata"]["uid"], world.node()["spec"]) == before
    assert world.agent.registered.is_set()


async def test_an_api_server_that_is_away_is_waited_for(world: NodeWorld) -> None:
    world.api.fail("create", NODES, KubeError(0, "ClientConnectorError", "connection refused"), 3)
    await world.start()
    assert not world.agent.registered.is_set()
    await world.settle(10)
    assert world.agent.registered.is_set()


async def test_what_a_busy_api_server_asks_for_is_kept(world: NodeWorld) -> None:
    world.api.fail("create", NODES, KubeError(429, "TooManyRequests", "", retry_after=20))
    await world.start()
    await world.settle(10)
    assert world.api.held(PATH) is None
    await world.settle(10)
    assert world.agent.registered.is_set()


async def test_a_node_that_came_between_the_look_and_the_creation_is_taken(world: NodeWorld) -> None:
    def hook(call: Call) -> None:
        if (call.verb, call.path) == ("create", NODES):
            world.api.hook = lambda _: None
            world.api.put(PATH, {"spec": {"providerID": PROVIDER_ID}})

    world.api.hook = hook
    await world.start()
    assert world.agent.registered.is_set()
    assert world.node()["spec"]["taints"] == [OURS]
    assert world.ready()["status"] == "True"


async def test_a_role_that_is_missing_is_told_with_the_way_out(world: NodeWorld) -> None:
    forbidden = KubeError(403, "Forbidden", 'User "zonelet" cannot patch resource "nodes"')

    async def refuse(*_: Any, **__: Any) -> Json:
        raise forbidden

    granted, world.provider_api.patch = world.provider_api.patch, refuse  # type: ignore[method-assign]
    with structlog.testing.capture_logs() as logs:
        await world.start()
        await world.settle(20)
    told = [each for each in logs if each["event"] == "node.failed" and each["log_level"] == "warning"]
    assert len(told) == 1
    assert 'cannot patch resource "nodes"' in told[0]["error"]
    assert "kubectl apply -k deploy/kustomize/base" in told[0]["error"]
    assert not world.agent.registered.is_set()
    world.provider_api.patch = granted  # type: ignore[method-assign]
    await world.settle()
    assert world.agent.registered.is_set()
    assert world.node()["metadata"]["labels"]["kubernetes.io/role"] == "agent"


# ------------------------------------------------------------------ the Node goes and comes


async def test_a_deleted_node_is_made_again_whole(world: NodeWorld) -> None:
    await world.start()
    first = world.node()["metadata"]["uid"]
    world.api.remove(PATH)
    await world.settle(15)
    node = world.node()
    assert node["metadata"]["uid"] != first
    assert node["spec"]["taints"] == [OURS]
    assert node["metadata"]["labels"]["kubernetes.io/role"] == "agent"
    assert world.ready()["status"] == "True"
    lease = world.api.held(LEASE)
    assert lease is not None
    assert lease["metadata"]["ownerReferences"][0]["uid"] == node["metadata"]["uid"]
    assert world.node_api.refused == []


async def test_a_node_deleted_behind_the_watch_is_made_again_at_the_next_report(world: NodeWorld) -> None:
    await world.start()
    world.api.vanish(PATH)
    world.cloud.cpu = 8_000  # so that there is something to report
    await world.settle(20)
    assert world.node()["status"]["capacity"]["cpu"] == "8"
    assert world.node()["metadata"]["labels"]["kubernetes.io/role"] == "agent"


async def test_a_node_that_another_made_anew_gets_its_labels_and_taint(world: NodeWorld) -> None:
    """The answer to a report of ours tells of the new Node before the watch tells that the old one is gone."""
    await world.start()
    usual = world.node_api.patch

    async def overtaken(path: str, body: Json, kind: Any, query: Any = None) -> Json:
        if path != f"{PATH}/status":
            return dict(await usual(path, body, kind, query))
        world.node_api.patch = usual  # type: ignore[method-assign]
        world.api.remove(PATH)
        world.api.put(PATH, {"spec": {"providerID": PROVIDER_ID}})
        return world.node()

    world.node_api.patch = overtaken  # type: ignore[method-assign]
    world.cloud.cpu = 8_000
    await world.settle(30)
    assert world.node()["metadata"]["labels"]["kubernetes.io/role"] == "agent"
    assert world.node()["spec"]["taints"] == [OURS]
    assert world.node()["status"]["capacity"]["cpu"] == "8"


async def test_a_late_answer_does_not_bring_a_former_node_back(world: NodeWorld) -> None:
    await world.start()
    usual = world.node_api.patch

    async def late(path: str, body: Json, kind: Any, query: Any = None) -> Json:
        answer = dict(await usual(path, body, kind, query))
        if path == f"{PATH}/status":
            world.node_api.patch = usual  # type: ignore[method-assign]
            world.api.remove(PATH)
            world.api.put(PATH, {"spec": {"providerID": PROVIDER_ID}})
            await world.clock.sleep(0.5)  # the watch tells of both meanwhile
        return answer

    world.node_api.patch = late  # type: ignore[method-assign]
    world.cloud.cpu = 8_000
    with structlog.testing.capture_logs() as logs:
        await world.settle(30)
    assert world.node()["metadata"]["labels"]["kubernetes.io/role"] == "agent"
    assert world.node()["status"]["capacity"]["cpu"] == "8"
    assert [each for each in logs if each["event"] == "node.failed"] == []


# ------------------------------------------------------------------ somebody else's Node


@pytest.mark.parametrize(
    "theirs",
    [stranger(), stranger("zonelet://local/other/zone-a"), stranger("", nodeInfo={"kubeletVersion": "v1.37.2"})],
    ids=["cloud", "installation", "kubelet"],
)
async def test_another_ones_node_is_left_alone_until_it_goes(world: NodeWorld, theirs: Json) -> None:
    world.api.put(PATH, theirs)
    before = world.node()
    with structlog.testing.capture_logs() as logs:
        await world.start()
        await world.settle(400)
    assert world.node() == before
    assert (world.node_api.writes, world.provider_api.writes) == ([], [])
    assert world.api.held(LEASE) is None
    assert not world.agent.registered.is_set()
    assert not world.agent.owned.is_set()
    assert world.seen == []  # no serving certificate is asked for its addresses
    told = [each for each in logs if each["event"] == "node.taken"]
    assert len(told) == 1
    assert "kubectl delete node virtual-kubelet-zone-a" in told[0]["why"]
    assert "zones[].nodeName" in told[0]["why"]
    world.api.remove(PATH)
    await world.settle(15)
    assert world.node()["spec"]["providerID"] == PROVIDER_ID
    assert world.agent.registered.is_set()
    assert world.agent.owned.is_set()
    assert not world.agent.taken.is_set()


async def test_a_node_that_becomes_another_ones_is_given_up(world: NodeWorld) -> None:
    await world.start()
    assert world.agent.owned.is_set()
    world.api.remove(PATH)
    world.api.put(PATH, stranger())
    await world.settle()
    assert world.agent.taken.is_set()
    assert not world.agent.owned.is_set()
    node, lease, seen = world.node(), world.api.held(LEASE), len(world.seen)
    world.cloud.cpu = 8_000
    await world.settle(400)
    assert world.node() == node
    assert world.api.held(LEASE) == lease
    assert len(world.seen) == seen


async def test_a_second_stranger_is_told_of_again(world: NodeWorld) -> None:
    with structlog.testing.capture_logs() as logs:
        world.api.put(PATH, stranger())
        await world.start()
        world.api.remove(PATH)
        await world.settle(15)
        world.api.remove(PATH)
        world.api.put(PATH, stranger())
        await world.settle(15)
    assert len([each for each in logs if each["event"] == "node.taken"]) == 2


async def test_a_node_without_any_kubelet_is_taken(world: NodeWorld) -> None:
    world.api.put(PATH, stranger(""))
    await world.start()
    assert world.node()["spec"]["providerID"] == PROVIDER_ID
    assert world.node()["metadata"]["labels"]["owner"] == "them"
    assert world.agent.registered.is_set()


# ------------------------------------------------------------------ what others write


async def test_what_others_wrote_stays(world: NodeWorld) -> None:
    await world.start()
    await world.kill()

    def edit(node: Json) -> None:
        node["metadata"]["labels"] |= {"example.com/pool": "gold", "kubernetes.io/role": "wrong"}
        node["metadata"]["annotations"] = {"example.com/note": "y"}
        node["spec"]["taints"] = [NOT_READY, {"key": "example.com/drain", "effect": "NoExecute"}]
        node["spec"]["unschedulable"] = True
        node["status"]["capacity"]["example.com/gpu"] = "2"
        node["status"]["conditions"].append({"type": "KernelDeadlock", "status": "False"})

    world.edit(edit)
    await world.start()
    node = world.node()
    assert node["metadata"]["labels"]["example.com/pool"] == "gold"
    assert node["metadata"]["labels"]["kubernetes.io/role"] == "agent"
    assert node["metadata"]["annotations"] == {"example.com/note": "y"}
    assert node["spec"]["taints"] == [NOT_READY, {"key": "example.com/drain", "effect": "NoExecute"}, OURS]
    assert node["spec"]["unschedulable"] is True
    assert node["status"]["capacity"]["example.com/gpu"] == "2"
    assert "KernelDeadlock" in {each["type"] for each in node["status"]["conditions"]}


async def test_what_an_administrator_changes_while_we_run_stays(world: NodeWorld) -> None:
    await world.start()

    def edit(node: Json) -> None:
        node["spec"]["taints"] = []
        del node["metadata"]["labels"]["kubernetes.io/role"]

    world.edit(edit)
    await world.settle(700)
    assert world.node()["spec"]["taints"] == []
    assert "kubernetes.io/role" not in world.node()["metadata"]["labels"]


async def test_a_taint_that_another_writes_at_the_same_time_is_kept(world: NodeWorld) -> None:
    def hook(call: Call) -> None:
        if (call.verb, call.path) == ("patch", PATH) and "taints" in (call.body or {}).get("spec", {}):
            world.api.hook = lambda _: None
            world.edit(lambda node: node["spec"].update(taints=[NOT_READY]))

    world.api.put(PATH, {"spec": {"providerID": PROVIDER_ID}})
    world.api.hook = hook
    await world.start()
    assert world.node()["spec"]["taints"] == [NOT_READY, OURS]
    assert world.agent.registered.is_set()


async def test_a_conflict_without_end_is_tried_again_later(world: NodeWorld) -> None:
    world.api.put(PATH, {"spec": {"providerID": PROVIDER_ID}})
    await world.start()
    assert world.agent.registered.is_set()
    await world.kill()
    world.edit(lambda node: node["spec"].update(taints=[]))
    world.api.fail("patch", PATH, KubeError(409, "Conflict", "modified"), 7)
    await world.start()
    await world.settle()
    assert world.node()["spec"]["taints"] == [OURS]
    assert world.agent.registered.is_set()


async def test_another_taint_of_the_configuration_replaces_ours(world: NodeWorld) -> None:
    await world.start()
    await world.kill()
    world.edit(lambda node: node["spec"]["taints"].append(NOT_READY))
    world.config = replace(world.config, node=NodeConfig(taint_value="other"))
    await world.start()
    assert world.node()["spec"]["taints"] == [NOT_READY, {**OURS, "value": "other"}]
    await world.kill()
    world.config = replace(world.config, node=NodeConfig(taint="none"))
    await world.start()
    assert world.node()["spec"]["taints"] == [NOT_READY]


# ------------------------------------------------------------------ health


async def test_an_engine_that_does_not_answer_is_told_and_stops_the_lease(world: NodeWorld) -> None:
    await world.start()
    await world.settle(20)
    renewed = len(world.renewals())
    world.cloud.state = DOWN
    await world.settle(15)
    ready = world.ready()
    assert (ready["status"], ready["reason"], ready["message"]) == ("False", DOWN.reason, DOWN.message)
    await world.settle(25)
    stopped = len(world.renewals())
    assert renewed <= stopped <= renewed + 2
    world.edit(_lease_ran_out)
    await world.settle(60)
    assert world.ready()["status"] == "Unknown"  # the node life-cycle controller's word stands
    assert len(world.renewals()) == stopped
    world.cloud.state = BackendHealth(healthy=True, engine=ENGINE)
    await world.settle(25)
    assert (world.ready()["status"], world.ready()["reason"]) == ("True", "KubeletReady")
    assert len(world.renewals()) > stopped
    assert [each["reason"] for each in world.api.events()] == ["NodeReady", "NodeNotReady", "NodeReady"]


def _lease_ran_out(node: Json) -> None:
    for each in node["status"]["conditions"]:
        each.update(status="Unknown", reason="NodeStatusUnknown", message="Kubelet stopped posting node status.")


async def test_a_cloud_that_is_silent_is_not_healthy(world: NodeWorld) -> None:
    await world.start()
    world.cloud.silent = True
    await world.settle(25)
    assert (world.ready()["status"], world.ready()["reason"]) == ("False", "CloudTimeout")
    assert world.ready()["message"] == "the cloud has not answered in 10 s"
    world.cloud.silent = False
    await world.settle(25)
    assert world.ready()["status"] == "True"


async def test_a_cloud_that_refuses_is_not_healthy(world: NodeWorld) -> None:
    await world.start()
    world.cloud.error = CloudError(CloudCode.UNAVAILABLE, "connection lost", 1)
    await world.settle(15)
    assert (world.ready()["status"], world.ready()["reason"]) == ("False", "CloudUnavailable")
    assert world.ready()["message"] == "connection lost"


async def test_no_node_is_made_of_a_zone_that_is_not_known(world: NodeWorld) -> None:
    world.cloud.error = CloudError(CloudCode.UNAVAILABLE, "connection lost", 1)
    with structlog.testing.capture_logs() as logs:
        await world.start()
        await world.settle(60)
    assert world.api.held(PATH) is None
    assert len([each for each in logs if each["event"] == "node.waits"]) == 1
    world.cloud.error = None
    await world.settle(15)
    assert world.ready()["status"] == "True"


async def test_a_provider_that_starts_without_its_cloud_says_so_on_the_node_that_is_there(world: NodeWorld) -> None:
    await world.start()
    await world.kill()
    renewed = len(world.renewals())
    world.cloud.error = CloudError(CloudCode.UNAVAILABLE, "connection lost", 1)
    await world.start()
    await world.settle(30)
    assert (world.ready()["status"], world.ready()["reason"]) == ("False", "CloudUnavailable")
    assert world.node()["status"]["capacity"]["cpu"] == "4"
    assert world.agent.owned.is_set()  # its pods go on
    assert len(world.renewals()) == renewed


# ------------------------------------------------------------------ what is reported, and how often


async def test_the_lease_is_renewed_every_quarter_and_the_status_seldom(world: NodeWorld) -> None:
    await world.start()
    await world.settle(10)
    leases, reports = len(world.renewals()), _reports(world)
    await world.settle(3_000)
    assert len(world.renewals()) - leases == 300
    assert 9 <= _reports(world) - reports <= 11
    heartbeat = world.ready()["lastHeartbeatTime"]
    assert world.ready()["lastTransitionTime"] < heartbeat


async def test_a_change_of_the_zone_is_reported_at_once(world: NodeWorld) -> None:
    await world.start()
    world.cloud.cpu = 12_000
    world.agent.zone_changed()
    await world.settle(2)
    assert world.node()["status"]["allocatable"]["cpu"] == "12"


async def test_many_changes_of_the_zone_are_looked_at_together(world: NodeWorld) -> None:
    await world.start()
    asked = world.cloud.asked
    for _ in range(50):
        world.agent.zone_changed()
        await world.clock.sleep(0.05)
    assert world.cloud.asked - asked <= 4


async def test_the_hosts_address_stands_where_the_cloud_has_none(world: NodeWorld) -> None:
    world.cloud.address, world.address = None, "192.0.2.7"
    await world.start()
    assert _address(world) == world.agent.address == "192.0.2.7"


async def test_the_clouds_address_comes_before_the_hosts(world: NodeWorld) -> None:
    world.address = "192.0.2.7"
    await world.start()
    assert _address(world) == world.agent.address == "172.20.0.5"


async def test_the_address_stays_while_the_zone_is_made_again(world: NodeWorld) -> None:
    await world.start()
    world.cloud.address = None
    await world.settle(15)
    assert _address(world) == world.agent.address == "172.20.0.5"
    world.cloud.address = "172.20.0.9"
    await world.settle(15)
    assert _address(world) == world.agent.address == "172.20.0.9"


def _address(world: NodeWorld) -> str:
    return next(each["address"] for each in world.node()["status"]["addresses"] if each["type"] == "InternalIP")


def _reports(world: NodeWorld) -> int:
    return world.node_api.writes.count(("patch", f"{PATH}/status"))
