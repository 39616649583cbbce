"""What a provider that begins again makes of pods and instances that are there."""

from __future__ import annotations

from typing import Any

import pytest

from provider.kube.client import KubeError
from provider.model.errors import CloudCode, CloudError
from tests.support.pod_world import PODS, World

pytestmark = pytest.mark.looptime


TOKEN_VOLUME = {
    "name": "kube-api-access",
    "projected": {
        "defaultMode": 420,
        "sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        ],
    },
}


async def test_a_restart_runs_nothing_again(world: World) -> None:
    running = await world.created("running")
    over = await world.created("over")
    world.cloud.run(running)
    world.cloud.run(over)
    await world.settle()
    await world.kill()
    world.cloud.end(over)
    await world.start()
    await world.settle(5)
    assert len(world.cloud.requests) == 2
    assert (await world.status("running"))["phase"] == "Running"
    assert (await world.status("over"))["phase"] == "Succeeded"
    assert world.cloud.deletions == []


async def test_a_pod_whose_instance_is_gone_fails_with_a_reason(world: World) -> None:
    uid = await world.created("p")
    world.cloud.run(uid)
    await world.settle()
    await world.kill()
    world.cloud.forget_everything()
    await world.start()
    await world.settle(5)
    status = await world.status()
    assert (status["phase"], status["reason"]) == ("Failed", "InstanceLost")
    assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137
    assert len(world.cloud.requests) == 1


async def test_a_used_token_is_not_a_second_run(world: World) -> None:
    """The status never told of a container, but the cloud had accepted the pod and has forgotten it."""
    uid = await world.created("p")
    await world.settle()
    await world.kill()
    world.cloud.lose(uid)
    await world.start()
    await world.settle(5)
    status = await world.status()
    assert (status["phase"], status["reason"]) == ("Failed", "InstanceLost")
    assert len(world.cloud.requests) == 1


async def test_a_lost_answer_to_a_creation_is_made_good(world: World) -> None:
    """TOKEN_CONFLICT with an instance: a second request differs (a fresh token), the instance is ours all the same."""
    await world.api.create("/api/v1/namespaces/n/serviceaccounts", {"metadata": {"name": "default"}})
    await world.api.create(
        "/api/v1/namespaces/n/configmaps", {"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": "x"}}
    )
    create = world.cloud.create_instance

    async def lossy(request: Any) -> Any:
        world.cloud.create_instance = create
        world.cloud._send, send = (lambda _: None), world.cloud._send
        await create(request)
        world.cloud._send = send
        raise CloudError(CloudCode.UNAVAILABLE, "connection lost", 1)

    world.cloud.create_instance = lossy
    uid = await world.pod(spec={"volumes": [TOKEN_VOLUME]})
    await world.settle(3)
    assert len(world.cloud.requests) == 1
    world.cloud.run(uid)
    await world.settle()
    assert (await world.status())["phase"] == "Running"


async def test_terminating_pods_are_finished_after_a_restart(world: World) -> None:
    lost, running = await world.created("lost"), await world.created("running")
    world.cloud.run(lost)
    world.cloud.run(running)
    await world.settle()
    await world.kill()
    world.cloud.lose(lost)
    await world.delete("lost")
    await world.delete("running")
    await world.start()
    await world.settle()
    assert (world.exists("lost"), world.exists("running")) == (False, False)
    assert world.phases[lost][-1] == "Failed"
    assert world.cloud.deletions == [(running, 30)]


async def test_orphans_end_only_after_both_lists_and_a_question(world: World) -> None:
    await world.kill()
    world.cloud.add("orphan", name="gone")
    world.cloud.add("foreign", zone="zone-b", name="other")
    await world.start()
    await world.settle()
    assert world.cloud.deletions == [("orphan", 1)]
    assert list(world.cloud.held()) == ["foreign"]
    lists = [one.path for one in world.api.calls if one.verb == "list"]
    assert PODS in lists


async def test_a_pod_that_the_list_missed_keeps_its_instance(world: World) -> None:
    uid = await world.created("p")
    world.cloud.run(uid)
    await world.settle()
    await world.kill()
    real = world.api.list

    async def stale(path: str, query: Any = None) -> Any:
        listed = await real(path, query)
        return {**listed, "items": []} if path == "/api/v1/pods" else listed

    world.api.list = stale  # type: ignore[method-assign]
    await world.start()
    await world.settle(10)
    assert world.cloud.deletions == []


async def test_an_api_server_that_is_away_keeps_orphans(world: World) -> None:
    await world.kill()
    world.cloud.add("orphan", name="gone")
    world.api.fail("list", PODS, KubeError(0, "ClientConnectorError", "no route"), times=3)
    await world.start()
    assert world.cloud.deletions == []
    await world.settle(30)
    assert world.cloud.deletions == [("orphan", 1)]
