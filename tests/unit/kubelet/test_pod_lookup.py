"""Which pod is meant, and the kubelet's words for a container that has no logs."""

from __future__ import annotations

from typing import Any

import pytest

from provider.kubelet.pod_lookup import NoLogsError, check_logs, find_pod, has_container, pod_list, running_pods
from provider.model.ids import InstanceId, PodUid, ZoneId
from provider.model.instance import ContainerPhase, ContainerState, ContainerStatus, Instance

ENDED = {"terminated": {"exitCode": 1, "containerID": "docker://1"}}
NEVER = {"terminated": {"exitCode": 128, "containerID": ""}}


def pod(name: str = "p", **status: Any) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "ns", "uid": f"uid-{name}"},
        "spec": {"containers": [{"name": "c"}], "initContainers": [{"name": "i"}]},
        "status": {"containerStatuses": [{"name": "c", **status}]} if status else {},
    }


def test_the_new_pod_of_two_with_one_name() -> None:
    old, new = pod(), pod()
    old["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert find_pod([old, new, pod("q")], "ns", "p") is new
    assert find_pod([old], "ns", "p") is old
    assert find_pod([old, new], "other", "p") is None


def test_containers_of_every_kind() -> None:
    assert has_container(pod(), "c")
    assert has_container(pod(), "i")
    assert not has_container(pod(), "x")


@pytest.mark.parametrize(
    ("status", "previous", "text"),
    [
        ({}, False, 'container "c" in pod "p" is not available'),
        ({"state": {"running": {}}}, True, 'previous terminated container "c" in pod "p" not found'),
        (
            {"state": {"running": {}}, "lastState": NEVER},
            True,
            'previous terminated container "c" in pod "p" not found',
        ),
        ({"state": NEVER}, False, 'container "c" in pod "p" is terminated'),
        ({"state": {"waiting": {"reason": "X"}}, "lastState": NEVER}, False, 'container "c" in pod "p" is terminated'),
        (
            {"state": {"waiting": {"reason": "ContainerCreating"}}},
            False,
            'container "c" in pod "p" is waiting to start: ContainerCreating',
        ),
        (
            {"state": {"waiting": {"reason": "ErrImagePull"}}},
            False,
            'container "c" in pod "p" is waiting to start: image can\'t be pulled',
        ),
        (
            {"state": {"waiting": {"reason": "ImagePullBackOff"}}},
            False,
            'container "c" in pod "p" is waiting to start: trying and failing to pull image',
        ),
        ({"state": {}}, False, 'container "c" in pod "p" is waiting to start - no logs yet'),
    ],
)
def test_no_logs(status: dict[str, Any], previous: bool, text: str) -> None:
    with pytest.raises(NoLogsError) as error:
        check_logs(pod(**status), "c", previous=previous)
    assert str(error.value) == text


@pytest.mark.parametrize(
    ("status", "previous"),
    [
        ({"state": {"running": {}}}, False),
        ({"state": {"running": {}}, "lastState": ENDED}, True),
        ({"state": ENDED}, False),
        ({"state": NEVER, "lastState": ENDED}, False),
        ({"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ENDED}, False),
    ],
)
def test_logs(status: dict[str, Any], previous: bool) -> None:
    check_logs(pod(**status), "c", previous=previous)


def test_logs_of_an_init_container() -> None:
    waiting = pod(state={"waiting": {"reason": "PodInitializing"}})
    waiting["status"]["initContainerStatuses"] = [{"name": "i", "state": {"running": {}}}]
    check_logs(waiting, "i", previous=False)


def test_the_list_of_pods() -> None:
    listed = pod_list([pod()])
    assert (listed["kind"], listed["apiVersion"]) == ("PodList", "v1")
    assert listed["items"][0]["spec"] == pod()["spec"]
    assert "kind" not in listed["items"][0]


def test_only_what_runs_is_running() -> None:
    running = ContainerState(ContainerPhase.RUNNING)
    ended = ContainerState(ContainerPhase.TERMINATED)
    zone = ZoneId("z")
    instances = [
        Instance(
            uid=PodUid("u"), id=InstanceId("eci"), zone=zone, name="p", namespace="ns",
            containers=(ContainerStatus(name="a", state=ended), ContainerStatus(name="b", state=running, image="busybox")),
        ),
        Instance(
            uid=PodUid("v"), id=InstanceId("eci"), zone=zone, name="q", namespace="ns",
            containers=(ContainerStatus(name="a", state=ended),),
        ),
    ]  # fmt: skip
    (only,) = running_pods(instances)["items"]
    assert only["metadata"] == {"name": "p", "namespace": "ns", "uid": "u"}
    assert only["spec"]["containers"] == [{"name": "b", "image": "busybox", "resources": {}}]
