"""A DaemonSet's pods on a virtual node: those that want a host stay Pending, with one event and two writes at most."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.pod_world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.looptime

DAEMON = {
    "ownerReferences": [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "cni", "uid": "d", "controller": True}]
}
WANTS_HOST: dict[str, Any] = {"hostNetwork": True, "initContainers": [{"name": "i", "image": "i"}]}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    one = World()
    await one.start()
    yield one
    await one.kill()


def waits(status: dict[str, Any]) -> set[str]:
    entries = [*status["containerStatuses"], *(status.get("initContainerStatuses") or ())]
    return {one["state"]["waiting"]["reason"] for one in entries}


async def test_it_stays_pending_for_an_hour_at_the_cost_of_one_event_and_one_write(world: World) -> None:
    await world.pod(metadata=DAEMON, spec=WANTS_HOST)
    await world.settle()
    status = await world.status()
    assert (status["phase"], waits(status)) == ("Pending", {"DaemonSetNotStarted"})
    assert "spec.hostNetwork" in status["containerStatuses"][0]["state"]["waiting"]["message"]
    written = len(world.api.writes())
    await world.settle(3600)
    assert len(world.api.writes()) == written
    assert world.reasons() == ["DaemonSetNotStarted"]
    assert len([one for one in world.changes() if one.startswith("patch")]) == 1
    assert world.cloud.held() == {}


async def test_a_deleted_one_leaves(world: World) -> None:
    await world.pod(metadata=DAEMON, spec=WANTS_HOST)
    await world.settle()
    await world.delete()
    await world.settle()
    assert not world.exists()
    assert world.controller.pods() == []


async def test_a_new_provider_leaves_it_as_it_is(world: World) -> None:
    await world.pod(metadata=DAEMON, spec=WANTS_HOST)
    await world.settle()
    before = await world.status()
    await world.kill()
    await world.start()
    await world.settle()
    assert await world.status() == before
    assert world.cloud.held() == {}


async def test_one_that_asks_nothing_of_the_host_runs(world: World) -> None:
    uid = await world.pod(metadata=DAEMON)
    await world.settle()
    assert set(world.cloud.held()) == {uid}


async def test_one_that_is_refused_for_another_field_stays_pending_too(world: World) -> None:
    await world.pod(metadata=DAEMON, spec={"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]})
    await world.settle(120)
    status = await world.status()
    assert (status["phase"], waits(status)) == ("Pending", {"UnsupportedPodSpec"})
    assert world.reasons() == ["UnsupportedPodSpec"]


async def test_with_daemonsets_all_it_is_judged_as_any_pod_and_still_never_failed(world: World) -> None:
    await world.kill()
    world.host_daemons = True
    await world.start()
    privileged = {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 1, "hostPort": 0}], "securityContext": {"privileged": True}}]}  # fmt: skip
    await world.pod("network", metadata=DAEMON, spec=WANTS_HOST)
    await world.pod("privileged", metadata=DAEMON, spec=privileged)
    await world.settle()
    for name in ("network", "privileged"):
        status = await world.status(name)
        assert status["phase"] == "Pending"
        assert "DaemonSetNotStarted" not in waits(status)


async def test_a_pod_of_somebody_elses_with_the_same_wish_is_failed(world: World) -> None:
    await world.pod(spec=WANTS_HOST)
    await world.settle()
    assert (await world.status())["phase"] == "Failed"
