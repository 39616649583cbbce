"""Pods that cannot run, or not yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from provider.kube.client import KubeError
from provider.model.errors import CloudCode, CloudError
from provider.pods.capacity import Sizes

if TYPE_CHECKING:
    from tests.support.pod_world import World

pytestmark = pytest.mark.looptime


def waiting(status: dict[str, Any]) -> dict[str, Any]:
    return dict(status["containerStatuses"][0]["state"]["waiting"])


async def test_an_unsupported_field_fails_the_pod_with_all_it_needs(world: World) -> None:
    uid = await world.pod(spec={"hostNetwork": True})
    await world.settle()
    status = await world.status()
    message = "spec.hostNetwork: hostNetwork is not supported by this node"
    assert (status["phase"], status["reason"]) == ("Failed", "UnsupportedPodSpec")
    assert status["message"] == f"Pod was rejected: {message}"
    assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 128
    (event,) = world.api.events()
    assert (event["type"], event["reason"], event["message"]) == ("Warning", "UnsupportedPodSpec", message)
    assert event["involvedObject"]["uid"] == uid
    assert world.cloud.requests == []
    assert world.changes() == ["patch Failed"]


async def test_a_pod_beyond_the_node_is_rejected_as_the_kubelet_does(world: World) -> None:
    box = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "3"}}}
    first = await world.created("first", spec={"containers": [box]})
    await world.created("second", spec={"containers": [box]})
    await world.settle()
    status = await world.status("second")
    text = "Node didn't have enough resource: cpu, requested: 3000, used: 3000, capacity: 4000"
    assert (status["phase"], status["reason"]) == ("Failed", "OutOfcpu")
    assert status["message"] == f"Pod was rejected: {text}"
    assert [(one["reason"], one["message"]) for one in world.api.events()] == [("OutOfcpu", text)]
    # what has ended makes room
    world.cloud.run(first)
    world.cloud.end(first)
    await world.settle()
    await world.created("third", spec={"containers": [box]})
    assert len(world.cloud.requests) == 2


async def test_what_ran_before_a_restart_counts(world: World) -> None:
    world.allocatable = Sizes(cpu=1000, memory=2**30, ephemeral_storage=2**30, pods=2)
    for name in ("a", "b"):
        await world.created(name)
    await world.kill()
    await world.start()
    await world.created("c")
    await world.settle()
    assert (await world.status("c"))["reason"] == "OutOfpods"


async def test_a_shortage_of_the_cloud_is_waited_for_and_shown(world: World) -> None:
    world.cloud.refusals = [CloudError(CloudCode.IP_NOT_ENOUGH, "vsw-1 has no address left", 10)] * 2
    uid = await world.pod()
    await world.settle(5)
    status = await world.status()
    assert (status["phase"], waiting(status)) == (
        "Pending",
        {
            "reason": "ContainerCreating",
            "message": "InvalidVSwitchId.IpNotEnough: vsw-1 has no address left",
        },
    )
    assert world.cloud.requests == []
    await world.settle(20)
    assert [one.uid for one in world.cloud.requests] == [uid]
    assert waiting(await world.status()) == {"reason": "ContainerCreating"}
    assert world.reasons() == ["FailedCreatePodSandBox"]
    assert world.api.events()[0]["count"] == 2


async def test_a_refusal_of_the_cloud_for_good_fails_the_pod(world: World) -> None:
    world.cloud.refusals = [CloudError(CloudCode.NO_STOCK, "no machine is that large")]
    await world.pod()
    await world.settle()
    status = await world.status()
    assert (status["phase"], status["reason"]) == ("Failed", "NoStock")
    assert status["message"] == "Pod was rejected: no machine is that large"


async def test_a_missing_config_map_of_a_variable_is_waited_for(world: World) -> None:
    source = {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "later", "key": "k"}}}
    await world.pod(spec={"containers": [{"name": "c", "image": "i", "env": [source]}, {"name": "d", "image": "i"}]})
    await world.settle(3)
    status = await world.status()
    states = {one["name"]: one["state"]["waiting"] for one in status["containerStatuses"]}
    assert states == {
        "c": {"reason": "CreateContainerConfigError", "message": 'configmap "later" not found'},
        "d": {"reason": "ContainerCreating"},
    }
    (event,) = world.api.events()
    assert (event["reason"], event["message"]) == ("Failed", 'Error: configmap "later" not found')
    assert event["involvedObject"]["fieldPath"] == "spec.containers{c}"
    await world.api.create("/api/v1/namespaces/n/configmaps", {"metadata": {"name": "later"}, "data": {"k": "v"}})
    await world.settle(60)
    assert len(world.cloud.requests) == 1


async def test_the_deadline_runs_while_a_pod_waits_for_what_it_refers_to(world: World) -> None:
    source = {"name": "A", "valueFrom": {"secretKeyRef": {"name": "never", "key": "k"}}}
    containers = [{"name": "c", "image": "i", "env": [source]}]
    await world.pod(spec={"containers": containers, "activeDeadlineSeconds": 5})
    await world.settle(3)
    waiting = await world.status()
    assert waiting["phase"] == "Pending"
    assert "startTime" in waiting
    await world.settle(3)
    status = await world.status()
    assert (status["phase"], status["reason"]) == ("Failed", "DeadlineExceeded")
    assert status["message"] == "Pod was active on the node longer than the specified deadline"
    assert status["startTime"] == waiting["startTime"]
    (one,) = status["containerStatuses"]
    assert (one["state"]["terminated"]["reason"], one["state"]["terminated"]["exitCode"]) == (
        "ContainerStatusUnknown",
        137,
    )
    assert world.reasons().count("DeadlineExceeded") == 1
    assert world.cloud.requests == []


async def test_a_missing_volume_source_is_waited_for(world: World) -> None:
    await world.pod(spec={"volumes": [{"name": "v", "secret": {"secretName": "later"}}]})
    await world.settle(3)
    assert waiting(await world.status()) == {"reason": "ContainerCreating"}
    (event,) = world.api.events()
    assert event["reason"] == "FailedMount"
    assert event["message"] == 'MountVolume.SetUp failed for volume "v" : secret "later" not found'
    await world.api.create("/api/v1/namespaces/n/secrets", {"metadata": {"name": "later"}})
    await world.settle(60)
    assert len(world.cloud.requests) == 1


async def test_the_authorizers_lag_is_not_told(world: World) -> None:
    await world.api.create("/api/v1/namespaces/n/secrets", {"metadata": {"name": "s"}})
    world.api.fail("get", "/secrets/s", KubeError(403, "Forbidden", "no relationship found"))
    await world.pod(spec={"volumes": [{"name": "v", "secret": {"secretName": "s"}}]})
    await world.settle()
    assert (len(world.cloud.requests), world.api.events()) == (1, [])


async def test_services_come_first(world: World) -> None:
    world.services = None
    await world.pod()
    await world.settle(5)
    assert world.cloud.requests == []
    world.services = ()
    await world.settle(30)
    assert len(world.cloud.requests) == 1
