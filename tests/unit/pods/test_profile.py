"""Pods on a node whose cloud sells fixed sizes: what is asked of the cloud, what the user is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from provider.config.profiles import load_profile
from provider.model.request import Market
from provider.model.size import GIB, InstanceSize
from tests.support.pod_world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.looptime

ECI = "k8s.aliyun.com/eci-"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    one = World()
    one.profile = load_profile("eci")
    await one.start()
    yield one
    await one.kill()


def boxes(cpu: str, memory: str) -> dict[str, Any]:
    resources = {"requests": {"cpu": cpu, "memory": memory}}
    return {"containers": [{"name": "c", "image": "i", "resources": resources}]}


async def test_the_request_has_the_rounded_size_and_the_candidates_in_order(world: World) -> None:
    await world.pod("rounded", spec=boxes("3", "6Gi"))
    await world.pod("listed", metadata={"annotations": {f"{ECI}use-specs": "2-4Gi,ecs.c6.xlarge"}})
    await world.settle()
    rounded, listed = world.cloud.requests
    assert (rounded.cpu, rounded.memory, rounded.market) == (4000, 6 * GIB, Market.PAY_AS_YOU_GO)
    assert rounded.sizes == (InstanceSize(4000, 6 * GIB),)
    assert listed.sizes == (InstanceSize(2000, 4 * GIB), InstanceSize(4000, 8 * GIB, "ecs.c6", "ecs.c6.xlarge"))
    assert (listed.cpu, listed.memory) == (2000, 4 * GIB)
    assert world.reasons() == []


async def test_a_mistake_in_an_annotation_is_an_event_and_the_pod_runs(world: World) -> None:
    await world.pod(metadata={"annotations": {f"{ECI}spot-strategy": "Cheap"}})
    await world.settle()
    assert [one.market for one in world.cloud.requests] == [Market.PAY_AS_YOU_GO]
    (event,) = world.api.events()
    assert (event["type"], event["reason"]) == ("Warning", "InvalidAnnotation")
    assert event["message"] == (
        f"{ECI}spot-strategy: 'Cheap' is not allowed; allowed: NoSpot, SpotAsPriceGo, SpotWithPriceLimit"
    )


async def test_a_pod_without_a_size_fails_with_the_published_code(world: World) -> None:
    await world.pod(spec=boxes("65", "1Gi"))
    await world.settle()
    status = await world.status()
    assert (status["phase"], status["reason"]) == ("Failed", "ProviderFailed")
    assert status["message"].startswith("Pod was rejected: InvalidParameter: no size of profile eci has 65 vCPU")
    assert world.cloud.requests == []


async def test_what_the_cloud_has_not_is_refused_before_anything_else(world: World) -> None:
    await world.pod(spec={"hostNetwork": True})
    await world.settle()
    status = await world.status()
    text = "FeatureBasedConstraintConflict: spec.hostNetwork: hostNetwork is not supported by profile eci"
    assert (status["reason"], status["message"]) == ("ProviderFailed", f"Pod was rejected: {text}")


async def test_a_daemon_sets_pod_stays_pending(world: World) -> None:
    owner = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "logs", "uid": "d", "controller": True}
    await world.pod(metadata={"ownerReferences": [owner]})
    await world.settle(60)
    status = await world.status()
    assert (status["phase"], world.reasons(), world.cloud.requests) == ("Pending", ["ProviderFailed"], [])


async def test_the_cloud_alone_knows_what_fits(world: World) -> None:
    """Profile plain would refuse the second as OutOfcpu (test_controller.py); here it waits in the cloud's queue."""
    for name in ("first", "second"):
        await world.pod(name, spec=boxes("3", "6Gi"))
    await world.settle()
    assert [one.cpu for one in world.cloud.requests] == [4000, 4000]


async def test_the_surplus_of_acs_goes_to_the_first_container(world: World) -> None:
    world.profile = load_profile("acs")
    await world.kill()
    await world.start()
    spec = {
        "initContainers": [{"name": "i", "image": "i"}],
        "containers": [
            {"name": "a", "image": "i", "resources": {"limits": {"cpu": "600m", "memory": "1Gi"}}},
            {"name": "b", "image": "i", "resources": {"requests": {"cpu": "600m"}}},
        ],
    }
    await world.pod(spec=spec)
    await world.settle()
    (request,) = world.cloud.requests
    init, first, second = request.containers
    assert (request.cpu, request.memory) == (1500, 2 * GIB)
    assert (first.cpu_request, first.cpu_limit) == (900, 900)
    assert (first.memory_request, first.memory_limit) == (2 * GIB, 2 * GIB)
    assert (init.cpu_request, second.cpu_request, second.cpu_limit) == (0, 600, None)


async def test_what_was_made_of_the_pod_is_written_to_it_along_with_its_status(world: World) -> None:
    uid = await world.pod(metadata={"annotations": {f"{ECI}vswitch": "mine"}}, spec=boxes("3", "6Gi"))
    await world.settle()
    world.cloud.run(uid)
    await world.settle()
    annotations = (await world.get())["metadata"]["annotations"]
    assert annotations[f"{ECI}instance-spec"] == "4.0-6.0Gi"
    assert annotations[f"{ECI}instance-zone"] == "zone-a"
    assert annotations[f"{ECI}vswitch"] == "mine"
    assert all(change.startswith("patch") for change in world.changes())
    told = [one for one in world.api.writes() if "annotations" in ((one.body or {}).get("metadata") or {})]
    assert [one.path.rpartition("/")[2] for one in told if one.verb == "patch"] == ["status"]


async def test_plain_writes_no_annotations(world: World) -> None:
    world.profile = load_profile("plain")
    await world.kill()
    await world.start()
    uid = await world.pod()
    await world.settle()
    world.cloud.run(uid)
    await world.settle()
    assert (await world.status())["phase"] == "Running"
    assert not (await world.get())["metadata"].get("annotations")
