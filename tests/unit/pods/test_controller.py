"""A node's pods from creation to removal, with the failures that virtual-node providers are known for."""

from __future__ import annotations

from typing import Any

import pytest

from provider.kube.client import KubeError
from tests.support.pod_world import NODE, PODS, World

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


def waiting(status: dict[str, Any]) -> dict[str, Any]:
    return dict(status["containerStatuses"][0]["state"]["waiting"])


# ------------------------------------------------------------------ a pod's life


async def test_a_pods_life_costs_few_writes(world: World) -> None:
    uid = await world.pod()
    await world.settle()
    status = await world.status()
    assert (status["phase"], waiting(status)) == ("Pending", {"reason": "ContainerCreating"})
    world.cloud.run(uid)
    await world.settle()
    status = await world.status()
    assert (status["phase"], status["podIP"], status["hostIP"]) == ("Running", "10.0.0.4", "192.0.2.1")
    world.cloud.end(uid)
    await world.settle()
    status = await world.status()
    assert (status["phase"], status["containerStatuses"][0]["state"]["terminated"]["exitCode"]) == ("Succeeded", 0)
    assert world.phases[uid] == ["Running", "Succeeded"]
    assert world.changes() == ["patch", "patch Running", "patch Succeeded"]
    assert world.cloud.held()[uid].released  # its logs stay
    await world.delete()
    await world.settle()
    assert (world.cloud.forgotten, world.exists()) == ([uid], False)
    assert world.changes() == ["patch", "patch Running", "patch Succeeded"]
    assert world.controller.pods() == []


async def test_a_pod_that_starts_soon_costs_one_write_to_running(world: World) -> None:
    uid = await world.pod()
    await world.settle(0.1)
    world.cloud.run(uid)
    await world.settle()
    assert world.changes() == ["patch Running"]


async def test_nothing_runs_while_nothing_happens(world: World) -> None:
    for index in range(8):
        world.cloud.run(await world.created(f"p{index}"))
    await world.settle()
    calls = len(world.api.calls)
    assert len(world.controller._workers) == 0
    await world.settle(600)
    new = [one for one in world.api.calls[calls:] if one.verb not in ("watch", "list")]
    assert new == []


async def test_the_newest_status_is_seen_before_it_is_written(world: World) -> None:
    world.api.fail("patch", "/status", KubeError(0, "TimeoutError", ""), times=100)
    uid = await world.created("p")
    world.cloud.run(uid)
    await world.settle(0.1)
    (pod,) = world.controller.pods()
    assert pod["status"]["phase"] == "Running"
    assert (await world.status())["phase"] == "Pending"


# ------------------------------------------------------------------ deletion


async def test_a_terminating_pod_leaves_as_soon_as_its_containers_have(world: World) -> None:
    uid = await world.created("p")
    world.cloud.run(uid)
    await world.settle()
    world.cloud.ends_at_once = False
    await world.delete()
    await world.settle(3)
    assert world.cloud.deletions == [(uid, 30)]
    assert world.exists()
    world.cloud.end(uid, 143)
    await world.settle(0.5)
    assert not world.exists()
    # the terminal status is told before the pod goes
    assert world.changes()[-2:] == ["patch Failed", "delete 0"]
    await world.settle(1)
    assert world.cloud.forgotten == [uid]


async def test_grace_only_shrinks(world: World) -> None:
    uid = await world.created("p")
    world.cloud.run(uid)
    await world.settle()
    world.cloud.ends_at_once = False
    for grace in (20, 25, 5):
        await world.delete(grace=grace)
        await world.settle()
    assert world.cloud.deletions == [(uid, 20), (uid, 5)]


async def test_a_pod_deleted_before_it_has_an_instance_goes_at_once(world: World) -> None:
    world.services = None  # creation waits
    uid = await world.created("p")
    await world.delete()
    await world.settle(0.5)
    assert not world.exists()
    assert world.cloud.requests == []
    assert world.phases[uid] == ["Failed"]


async def test_a_forced_deletion_ends_the_instance(world: World) -> None:
    uid = await world.created("p")
    world.cloud.run(uid)
    await world.settle()
    await world.delete(grace=0)
    await world.settle()
    assert (world.cloud.deletions, world.cloud.forgotten) == ([(uid, 1)], [uid])


async def test_finalizers_hold_a_pod_without_more_writes(world: World) -> None:
    uid = await world.created("p", metadata={"finalizers": ["batch.kubernetes.io/job-tracking"]})
    world.cloud.run(uid)
    await world.settle()
    await world.delete()
    await world.settle()
    assert (await world.status())["phase"] == "Failed"
    writes = world.changes()
    assert writes.count("delete 0") == 1
    await world.settle(60)
    assert world.changes() == writes
    assert world.exists()


async def test_a_pod_made_again_under_its_name_is_another(world: World) -> None:
    first = await world.created("p")
    world.cloud.run(first)
    await world.settle()
    await world.delete(grace=0)
    second = await world.created("p")
    assert second != first
    world.cloud.run(second, "10.0.0.5")
    await world.settle()
    assert [one.uid for one in world.cloud.requests] == [first, second]
    assert (await world.status())["podIP"] == "10.0.0.5"
    assert world.cloud.forgotten == [first]


async def test_a_status_that_comes_late_does_not_hit_the_next_pod_of_that_name(world: World) -> None:
    first = await world.created("p")
    world.cloud.run(first)
    await world.settle()
    # the pod is replaced, and the provider does not know it yet when the old instance ends
    held = await world.get()
    world.api.vanish(f"{PODS}/p")
    second = await world.api.create(PODS, {"metadata": {"name": "p"}, "spec": {**held["spec"], "nodeName": "other"}})
    world.cloud.end(first)
    await world.settle(5)
    assert (await world.status())["phase"] == "Pending"
    assert (await world.get())["metadata"]["uid"] == second["metadata"]["uid"]


async def test_a_deletion_in_a_watch_gap_is_found_by_the_next_list(world: World) -> None:
    uid = await world.created("p")
    world.cloud.run(uid)
    await world.settle()
    world.api.vanish(f"{PODS}/p")
    await world.settle(10)
    assert world.cloud.held()
    world.api.drop_history()
    await world.settle(10)
    assert (world.cloud.deletions, world.cloud.forgotten) == ([(uid, 30)], [uid])


# ------------------------------------------------------------------ the rest


async def test_notices_become_events_of_the_pod(world: World) -> None:
    spec = {"initContainers": [{"name": "i", "image": "i"}]}
    uid = await world.created("p", spec=spec)
    world.cloud.notice(uid, "Pulled", "m1", "i")
    world.cloud.notice(uid, "Started", "m2", "c")
    world.cloud.notice(uid, "Scheduled", "m3")
    await world.settle()
    paths = {one["reason"]: one["involvedObject"].get("fieldPath") for one in world.api.events()}
    assert paths == {"Pulled": "spec.initContainers{i}", "Started": "spec.containers{c}", "Scheduled": None}


async def test_a_change_that_is_not_followed_is_told(world: World) -> None:
    await world.created("p")
    pod = await world.get()
    pod["metadata"]["generation"] = 2
    pod["spec"]["containers"][0]["image"] = "other"
    world.api._store("MODIFIED", ("api/v1", "pods", "n", "p"), pod)
    await world.settle()
    (event,) = world.api.events()
    assert event["reason"] == "UnsupportedPodUpdate"
    assert event["message"].startswith("spec.containers was changed")


async def test_status_writes_survive_an_api_server_that_is_away(world: World) -> None:
    uid = await world.created("p")
    world.api.fail("patch", "/status", KubeError(0, "ClientConnectorError", ""), times=4)
    world.cloud.run(uid)
    await world.settle(60)
    assert (await world.status())["phase"] == "Running"


async def test_a_bug_with_one_pod_leaves_the_others_alone(world: World) -> None:
    create = world.cloud.create_instance

    async def broken(request: Any) -> Any:
        if request.name == "bad":
            raise ZeroDivisionError
        return await create(request)

    world.cloud.create_instance = broken
    await world.pod("bad")
    await world.pod("good")
    await world.settle(3)
    assert [one.name for one in world.cloud.requests] == ["good"]
    world.cloud.create_instance = create
    await world.settle(60)
    assert [one.name for one in world.cloud.requests] == ["good", "bad"]


async def test_tokens_are_replaced_before_they_expire(world: World) -> None:
    await world.api.create("/api/v1/namespaces/n/serviceaccounts", {"metadata": {"name": "default"}})
    await world.api.create(
        "/api/v1/namespaces/n/configmaps", {"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": "x"}}
    )
    uid = await world.created("p", spec={"volumes": [TOKEN_VOLUME]})
    world.cloud.run(uid)
    await world.settle(3607 * 0.8 - 30)
    assert world.cloud.files == []
    world.api.fail("create", "/token", KubeError(500, "InternalError", ""))
    await world.settle(40)
    assert world.cloud.files == []
    await world.settle(60)
    ((pod, volume, files),) = world.cloud.files
    assert (pod, volume) == (uid, "kube-api-access")
    assert {one.path: one.content for one in files} == {"token": b"token-2", "ca.crt": b"x"}
    # a restart takes the rotation over
    await world.kill()
    await world.start()
    await world.settle(3607)
    assert len(world.cloud.files) >= 2
    # and it ends with the pod
    world.cloud.end(uid)
    await world.settle()
    count = len(world.cloud.files)
    await world.settle(8000)
    assert len(world.cloud.files) == count


async def test_a_pod_that_does_not_select_its_node_is_rejected_as_by_a_kubelet(world: World) -> None:
    world.labels = {"disk": "hdd"}
    await world.api.create("/api/v1/nodes", {"metadata": {"name": NODE, "labels": {"disk": "hdd"}}, "spec": {}})
    await world.start()
    await world.pod(spec={"nodeSelector": {"disk": "ssd"}})
    await world.settle()
    status = await world.status()
    assert (status["phase"], status["reason"]) == ("Failed", "NodeAffinity")
    assert status["message"] == (
        "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
    )


async def test_a_label_that_the_scheduler_saw_first_counts(world: World) -> None:
    world.labels = {}
    await world.api.create("/api/v1/nodes", {"metadata": {"name": NODE, "labels": {"disk": "ssd"}}, "spec": {}})
    await world.start()
    await world.pod(spec={"nodeSelector": {"disk": "ssd"}})
    await world.settle()
    assert (await world.status())["phase"] != "Failed"


async def test_a_pod_for_apparmor_is_rejected_where_there_is_none(world: World) -> None:
    profile = {"securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}}
    await world.created("there", spec=profile)
    world.apparmor = False
    await world.created("not-there", spec=profile)
    await world.settle()
    assert [one.name for one in world.cloud.requests] == ["there"]
    status = await world.status("not-there")
    assert (status["phase"], status["reason"]) == ("Failed", "AppArmor")
    assert status["message"] == "Pod was rejected: Cannot enforce AppArmor: AppArmor is not enabled on the host"


async def test_a_pod_that_wants_the_clusters_dns_is_told_that_there_is_none(world: World) -> None:
    world.cluster_dns = ()
    await world.kill()
    await world.start()
    await world.created("p")
    await world.created("q", spec={"dnsPolicy": "Default"})
    await world.settle()
    told = [(one["involvedObject"]["name"], one["reason"]) for one in world.api.events()]
    assert told == [("p", "MissingClusterDNS")]
    assert [one.dns.from_host for one in world.cloud.requests] == [True, True]


async def test_a_deadline_that_is_set_later_reaches_the_cloud_once(world: World) -> None:
    uid = await world.pod()
    await world.settle()
    world.cloud.run(uid)
    await world.settle()
    await world.api.patch(f"{PODS}/p", {"spec": {"activeDeadlineSeconds": 60}, "metadata": {"generation": 2}}, "merge")
    await world.settle()
    assert world.cloud.held()[uid].active_deadline == 60
    assert "UnsupportedPodUpdate" not in world.reasons()
