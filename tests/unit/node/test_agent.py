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
    from tests.support.kube_fake import Call


pytestmark = pytest.mark.looptime


Json = dict[str, Any]


DOWN = BackendHealth(healthy=False, reason="EngineDown", message="the engine does not answer: connection refused")


OURS = {"key": "virtual-kubelet.io/provider", "value": "zonelet", "effect": "NoSchedule"}


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
