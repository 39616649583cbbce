from __future__ import annotations

from msgspec.structs import replace

from provider.model.ids import InstanceId, PodUid, ZoneId
from provider.model.instance import ContainerStatus, Instance, InstancePhase
from provider.model.pod import Condition, Container, Metadata, Pod, PodSpec, PodStatus, ReadinessGate
from provider.pods.conditions import conditions

POD = Pod(metadata=Metadata(name="p", generation=3), spec=PodSpec(containers=[Container(name="c")]))
RUNNING = Instance(
    uid=PodUid("u"),
    id=InstanceId("eci-1"),
    zone=ZoneId("z"),
    name="p",
    namespace="n",
    phase=InstancePhase.RUNNING,
    sandbox_ready_at=1,
    initialized_at=2,
    containers=(ContainerStatus(name="c", ready=True, started=True),),
)


def by_type(pod: Pod, instance: Instance) -> dict[str, Condition]:
    return {one.type: one for one in conditions(pod, instance, "T2")}


def test_a_running_ready_pod() -> None:
    found = by_type(POD, RUNNING)
    assert {one.status for one in found.values()} == {"True"}
    assert {one.observed_generation for one in found.values()} == {3}
    assert len(found) == 5


def test_an_unready_container_makes_the_pod_unready() -> None:
    found = by_type(POD, replace(RUNNING, containers=(ContainerStatus(name="c"),)))
    assert (found["Ready"].status, found["Ready"].reason) == ("False", "ContainersNotReady")
    assert found["ContainersReady"].message == "containers with unready status: [c]"


def test_an_ended_pod() -> None:
    found = by_type(POD, replace(RUNNING, phase=InstancePhase.SUCCEEDED, released=True))
    assert (found["Ready"].reason, found["PodReadyToStartContainers"].status) == ("PodCompleted", "False")


def test_a_readiness_gate_holds_ready_back() -> None:
    found = by_type(
        replace(
            POD, spec=PodSpec(containers=[Container(name="c")], readiness_gates=[ReadinessGate(condition_type="g")])
        ),
        RUNNING,
    )
    assert (found["Ready"].reason, found["ContainersReady"].status) == ("ReadinessGatesNotReady", "True")


def test_transition_time_changes_with_the_status_only() -> None:
    old = [
        Condition(type="Ready", status="True", last_transition_time="T1"),
        Condition(type="Initialized", status="False", last_transition_time="T1"),
    ]
    found = by_type(replace(POD, status=PodStatus(conditions=old)), RUNNING)
    assert (found["Ready"].last_transition_time, found["Initialized"].last_transition_time) == ("T1", "T2")


def test_a_container_that_the_cloud_does_not_know_yet_is_not_ready() -> None:
    pod = replace(POD, spec=PodSpec(containers=[Container(name="c")], init_containers=[Container(name="i")]))
    found = by_type(pod, replace(RUNNING, phase=InstancePhase.SCHEDULING, initialized_at=None, containers=()))
    assert (found["Ready"].status, found["ContainersReady"].status) == ("False", "False")
    assert (found["Initialized"].status, found["Initialized"].reason) == ("False", "ContainersNotInitialized")
    assert found["Initialized"].message == "containers with incomplete status: [i]"
