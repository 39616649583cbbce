"""Rows: an instance as the cloud tells of it -> the status that a stock kubelet would write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from provider.model.ids import InstanceId, PodUid, ZoneId
from provider.model.instance import ContainerPhase, ContainerState, ContainerStatus, Instance, InstancePhase
from provider.model.pod import Pod, pod_from_json
from provider.model.request import ContainerKind
from provider.pods.status import has_begun, not_begun, pod_status, refused, remembered

if TYPE_CHECKING:
    from provider.model.pod_status import PodStatus

ZONE = ZoneId("z")
RUNS = ContainerState(phase=ContainerPhase.RUNNING, started_at=20, container_id="docker://c")
DONE = ContainerState(
    phase=ContainerPhase.TERMINATED,
    reason="Completed",
    started_at=20,
    finished_at=30,
    container_id="docker://c",
)
FAILED = replace(DONE, reason="Error", exit_code=3, message="boom")


def pod(*, init: tuple[str, ...] = (), status: dict[str, Any] | None = None, **spec: Any) -> Pod:
    containers = [{"name": "b", "image": "ib"}, {"name": "a", "image": "ia"}]
    raw: dict[str, Any] = {
        "metadata": {"name": "p", "namespace": "n", "uid": "u", "generation": 2},
        "spec": {"containers": containers, **spec},
        "status": status or {},
    }
    if init:
        raw["spec"]["initContainers"] = [{"name": name, "image": "i"} for name in init]
    return pod_from_json(raw)


def instance(*containers: ContainerStatus, phase: InstancePhase = InstancePhase.RUNNING, **more: Any) -> Instance:
    base = Instance(
        uid=PodUid("u"),
        id=InstanceId("eci-1"),
        zone=ZONE,
        name="p",
        namespace="n",
        phase=phase,
        address="10.0.0.4",
        placed_at=10,
        sandbox_ready_at=11,
        containers=containers,
    )
    return replace(base, **more)


def both(state: ContainerState, **more: Any) -> tuple[ContainerStatus, ...]:
    return tuple(ContainerStatus(name=name, state=state, image_id="sha256:1", **more) for name in ("b", "a"))


def write(one: Pod, state: Instance, before: PodStatus | None = None) -> dict[str, Any]:
    return pod_status(one, state, before=before or one.status, host_ips=("192.0.2.1",), now=100)


def states(status: dict[str, Any]) -> dict[str, str]:
    entries = [*status.get("initContainerStatuses", ()), *status["containerStatuses"]]
    return {
        one["name"]: f"{kind} {value.get('reason', '')} {value.get('exitCode', '')}".strip()
        for one in entries
        for kind, value in one["state"].items()
    }


def test_a_running_pod_in_full() -> None:
    one = pod()
    status = write(one, instance(*both(RUNS, ready=True, started=True)))
    assert {key: status[key] for key in status if key not in ("conditions", "containerStatuses")} == {
        "observedGeneration": 2,
        "phase": "Running",
        "qosClass": "BestEffort",
        "resources": {},
        "startTime": "1970-01-01T00:00:10Z",
        "hostIP": "192.0.2.1",
        "hostIPs": [{"ip": "192.0.2.1"}],
        "podIP": "10.0.0.4",
        "podIPs": [{"ip": "10.0.0.4"}],
    }
    assert status["containerStatuses"][0] == {
        "name": "a",
        "state": {"running": {"startedAt": "1970-01-01T00:00:20Z"}},
        "lastState": {},
        "ready": True,
        "started": True,
        "restartCount": 0,
        "image": "ia",
        "imageID": "sha256:1",
        "containerID": "docker://c",
        "resources": {},
    }
    assert [one["name"] for one in status["containerStatuses"]] == ["a", "b"]  # sorted, as the kubelet writes them
    ready = next(one for one in status["conditions"] if one["type"] == "Ready")
    assert ready == {
        "type": "Ready",
        "status": "True",
        "lastTransitionTime": "1970-01-01T00:01:40Z",
        "observedGeneration": 2,
    }


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        (InstancePhase.SCHEDULING, "Pending"),
        (InstancePhase.PENDING, "Pending"),
        (InstancePhase.RUNNING, "Running"),
        (InstancePhase.SUCCEEDED, "Succeeded"),
        (InstancePhase.FAILED, "Failed"),
        (InstancePhase.EXPIRED, "Failed"),
    ],
)
def test_the_phase(phase: InstancePhase, expected: str) -> None:
    assert write(pod(), instance(*both(RUNS), phase=phase))["phase"] == expected


@pytest.mark.parametrize("before", [{"phase": "Failed", "reason": "Evicted", "message": "m"}])
def test_no_pod_leaves_a_terminal_phase(before: dict[str, Any]) -> None:
    status = write(pod(status=before), instance(*both(RUNS)))
    assert (status["phase"], status["reason"], status["message"]) == ("Failed", "Evicted", "m")
    assert states(status) == {"a": "running", "b": "running"}


def test_before_the_cloud_has_it() -> None:
    status = write(pod(), not_begun(pod(), ZONE))
    assert status["phase"] == "Pending"
    assert states(status) == {"a": "waiting ContainerCreating", "b": "waiting ContainerCreating"}
    assert not {"startTime", "podIP", "reason"} & status.keys()
    assert "containerID" not in status["containerStatuses"][0]
    assert states(write(pod(init=("i",)), not_begun(pod(init=("i",)), ZONE))) == {
        "i": "waiting PodInitializing",
        "a": "waiting PodInitializing",
        "b": "waiting PodInitializing",
    }


def test_what_a_creation_waits_for_stands_in_the_waiting_state() -> None:
    why = {"a": ("CreateContainerConfigError", 'configmap "x" not found')}
    status = write(pod(), not_begun(pod(), ZONE, waiting=why, message="later"))
    waiting = [one["state"]["waiting"] for one in status["containerStatuses"]]
    assert waiting == [
        {"reason": "CreateContainerConfigError", "message": 'configmap "x" not found'},
        {"reason": "ContainerCreating", "message": "later"},
    ]


def test_an_instance_that_waits_for_stock_says_so() -> None:
    waiting = instance(
        *both(ContainerState(reason="ContainerCreating")),
        phase=InstancePhase.SCHEDULING,
        reason="OperationDenied.NoStock",
        message="sold out",
        placed_at=None,
        sandbox_ready_at=None,
        address=None,
    )
    status = write(pod(), waiting)
    assert status["containerStatuses"][0]["state"]["waiting"] == {
        "reason": "ContainerCreating",
        "message": "OperationDenied.NoStock: sold out",
    }
    assert not {"reason", "startTime", "podIP"} & status.keys()


def test_the_address_shows_once_the_sandbox_has_it() -> None:
    placed = instance(*both(ContainerState()), phase=InstancePhase.PENDING, sandbox_ready_at=None)
    assert "podIP" not in write(pod(), placed)
    assert write(pod(), replace(placed, sandbox_ready_at=12))["podIP"] == "10.0.0.4"


def test_an_ended_container_in_full() -> None:
    over = instance(
        *both(FAILED, restarts=2, last=replace(FAILED, exit_code=137, reason="OOMKilled", message="")),
        phase=InstancePhase.FAILED,
        released=True,
        finished_at=31,
    )
    entry = write(pod(), over)["containerStatuses"][0]
    assert entry["state"] == {
        "terminated": {
            "exitCode": 3,
            "reason": "Error",
            "message": "boom",
            "startedAt": "1970-01-01T00:00:20Z",
            "finishedAt": "1970-01-01T00:00:30Z",
            "containerID": "docker://c",
        }
    }
    assert entry["lastState"]["terminated"]["reason"] == "OOMKilled"
    assert (entry["restartCount"], entry["ready"], entry["started"]) == (2, False, False)


def test_a_container_that_could_not_start_shows_the_epoch() -> None:
    broken = replace(FAILED, reason="StartError", exit_code=128, started_at=None)
    status = write(pod(), instance(*both(broken), phase=InstancePhase.FAILED, released=True))
    assert status["containerStatuses"][0]["state"]["terminated"]["startedAt"] == "1970-01-01T00:00:00Z"


def test_the_reason_of_the_end_is_the_instances() -> None:
    late = instance(
        *both(replace(FAILED, exit_code=137)),
        phase=InstancePhase.FAILED,
        reason="DeadlineExceeded",
        message="Pod was active on the node longer than the specified deadline",
        released=True,
    )
    status = write(pod(), late)
    assert (status["reason"], status["message"]) == (
        "DeadlineExceeded",
        "Pod was active on the node longer than the specified deadline",
    )


def test_termination_messages_share_one_limit() -> None:
    long = replace(FAILED, message="ü" * 8000)
    status = write(pod(), instance(*both(long), phase=InstancePhase.FAILED, released=True))
    message = status["containerStatuses"][0]["state"]["terminated"]["message"]
    assert len(message.encode()) == 12 * 1024 // 2


def test_start_and_transition_times_are_kept() -> None:
    first = write(pod(), instance(*both(RUNS, ready=True, started=True)))
    one = pod(status={**first, "startTime": "1970-01-01T00:00:05Z"})
    again = pod_status(one, instance(*both(RUNS)), before=one.status, host_ips=(), now=500)
    assert again["startTime"] == "1970-01-01T00:00:05Z"
    times = {one["type"]: one["lastTransitionTime"] for one in again["conditions"]}
    assert times["Ready"] == "1970-01-01T00:08:20Z"
    assert times["PodScheduled"] == "1970-01-01T00:01:40Z"


def test_resources_and_mounts_of_a_container() -> None:
    container = {
        "name": "a",
        "image": "i",
        "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}},
        "volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "w", "mountPath": "/w", "readOnly": True}],
    }
    one = pod(containers=[container])
    entry = write(one, instance(ContainerStatus(name="a", state=RUNS)))["containerStatuses"][0]
    assert entry["resources"] == {"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}}
    assert entry["allocatedResources"] == {"cpu": "100m"}
    mounts = [
        {"name": "v", "mountPath": "/v"},
        {"name": "w", "mountPath": "/w", "readOnly": True, "recursiveReadOnly": "Disabled"},
    ]
    assert entry["volumeMounts"] == mounts
    entry = write(one, not_begun(one, ZONE))["containerStatuses"][0]
    assert (entry["volumeMounts"], "resources" in entry) == (mounts, False)


# ------------------------------------------------------------------ the end: TerminatePod's rules


def test_a_pod_deleted_before_it_began() -> None:
    over = instance(phase=InstancePhase.FAILED, released=True, sandbox_ready_at=None, placed_at=None)
    assert states(write(pod(), over)) == {
        "a": "terminated ContainerStatusUnknown 137",
        "b": "terminated ContainerStatusUnknown 137",
    }
    # with init containers only the first is in doubt; the app containers never were to start
    assert states(write(pod(init=("i", "j")), over)) == {
        "i": "terminated ContainerStatusUnknown 137",
        "j": "waiting PodInitializing",
        "a": "waiting PodInitializing",
        "b": "waiting PodInitializing",
    }


def test_a_failed_init_container_leaves_the_others_waiting() -> None:
    over = instance(
        ContainerStatus(name="i", kind=ContainerKind.INIT, state=FAILED),
        *both(ContainerState(reason="PodInitializing")),
        phase=InstancePhase.FAILED,
        released=True,
    )
    assert states(write(pod(init=("i",)), over)) == {
        "i": "terminated Error 3",
        "a": "waiting PodInitializing",
        "b": "waiting PodInitializing",
    }


def test_after_init_a_container_without_an_end_counts_as_failed() -> None:
    over = instance(
        ContainerStatus(name="i", kind=ContainerKind.INIT, state=DONE, ready=True),
        ContainerStatus(name="b", state=DONE),
        ContainerStatus(name="a", state=ContainerState(reason="CrashLoopBackOff"), last=FAILED, restarts=1),
        phase=InstancePhase.FAILED,
        released=True,
    )
    status = write(pod(init=("i",)), over)
    assert states(status) == {
        "i": "terminated Completed 0",
        "a": "terminated ContainerStatusUnknown 137",
        "b": "terminated Completed 0",
    }
    assert status["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 3


def test_a_refused_pod_has_container_statuses() -> None:
    status = write(pod(init=("i",)), refused(pod(init=("i",)), ZONE, "OutOfcpu", "Pod was rejected: no", 100))
    assert (status["phase"], status["reason"], status["message"]) == ("Failed", "OutOfcpu", "Pod was rejected: no")
    assert set(states(status).values()) == {"terminated OutOfcpu 128"}
    ended = status["containerStatuses"][0]["state"]["terminated"]
    # a duration of nothing, not of the time since 1970
    assert ended["startedAt"] == ended["finishedAt"] == status["startTime"] == "1970-01-01T00:01:40Z"


def test_a_pod_whose_instance_is_gone_is_told_from_its_own_status() -> None:
    begun = write(pod(), instance(ContainerStatus(name="b", state=DONE), ContainerStatus(name="a", state=RUNS)))
    one = pod(status=begun)
    status = write(one, remembered(one, ZONE, reason="InstanceLost", message="gone"))
    assert (status["phase"], status["reason"]) == ("Failed", "InstanceLost")
    assert states(status) == {"a": "terminated ContainerStatusUnknown 137", "b": "terminated Completed 0"}
    assert status["startTime"] == begun["startTime"]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({}, False),
        ({"waiting": {"reason": "ContainerCreating"}}, False),
        ({"running": {"startedAt": "1970-01-01T00:00:20Z"}}, True),
        ({"terminated": {"exitCode": 0}}, True),
    ],
)
def test_whether_a_pod_has_begun(state: dict[str, Any], expected: bool) -> None:
    for key in ("state", "lastState"):
        for group in ("containerStatuses", "initContainerStatuses"):
            assert has_begun(pod(status={group: [{"name": "a", key: state}]}).status) is expected
    assert has_begun(pod(status={"phase": "Running"}).status)


def test_the_whole_pods_resources_are_told() -> None:
    one = pod(
        containers=[
            {"name": "b", "image": "ib", "resources": {"limits": {"cpu": "100m", "memory": "32Mi"}}},
            {"name": "a", "image": "ia", "resources": {"requests": {"cpu": "1900m"}}},
        ]
    )
    status = write(one, instance(*both(RUNS)))
    assert status["allocatedResources"] == {"cpu": "2", "memory": "32Mi"}
    assert status["resources"] == {
        "requests": {"cpu": "2", "memory": "32Mi"},
        "limits": {"cpu": "100m", "memory": "32Mi"},
    }


def test_a_pod_that_is_refused_for_its_resources_is_told_of_without_them() -> None:
    one = pod(
        containers=[{"name": "b", "image": "ib", "resources": {"limits": {"nvidia.com/gpu": "1"}}}],
        status={"qosClass": "BestEffort"},
    )  # the API server's word
    status = write(one, refused(one, ZONE, "UnsupportedPodSpec", "no GPU", 1))
    assert (status["phase"], status["reason"]) == ("Failed", "UnsupportedPodSpec")
    assert "resources" not in status
