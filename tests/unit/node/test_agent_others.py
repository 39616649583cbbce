"""A Node that is another's, and what others write on ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import structlog
from msgspec.structs import replace

from provider.config.schema import NodeConfig
from provider.kube.client import KubeError
from tests.support.node_world import LEASE, PATH, PROVIDER_ID, NodeWorld

if TYPE_CHECKING:
    from tests.support.kube_fake import Call


pytestmark = pytest.mark.looptime


Json = dict[str, Any]


OURS = {"key": "virtual-kubelet.io/provider", "value": "zonelet", "effect": "NoSchedule"}


NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule", "timeAdded": "2026-01-01T00:00:00Z"}


def stranger(provider_id: str = "aws:///eu-west-1a/i-0abc", **status: Any) -> Json:
    spec = {"providerID": provider_id} if provider_id else {}
    return {"metadata": {"labels": {"owner": "them"}}, "spec": spec, "status": status}


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
