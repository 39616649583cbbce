from __future__ import annotations

from msgspec.structs import replace

from provider.model.ids import InstanceId, PodUid, ZoneId
from provider.model.instance import ContainerPhase, ContainerState, ContainerStatus, Instance, InstancePhase
from provider.model.pod import Container, Metadata, Pod, PodSpec, ReadinessGate
from provider.model.pod_status import Condition, PodStatus
from provider.model.request import ContainerKind
from provider.pods.conditions import conditions

POD = Pod(metadata=Metadata(name="p", generation=3), spec=PodSpec(containers=[Container(name="c")]))
WITH_INIT = replace(POD, spec=PodSpec(containers=[Container(name="c")], init_containers=[Container(name="i")]))
RUNS = ContainerState(phase=ContainerPhase.RUNNING, started_at=2)
RUNNING = Instance(
    uid=PodUid("u"),
    id=InstanceId("eci-1"),
    zone=ZoneId("z"),
    name="p",
    namespace="n",
    phase=InstancePhase.RUNNING,
    sandbox_ready_at=1,
    initialized_at=2,
    containers=(ContainerStatus(name="c", state=RUNS, ready=True, started=True),),
)


def by_type(
    pod: Pod, instance: Instance, phase: str = "Running", before: PodStatus | None = None
) -> dict[str, Condition]:
    return {one.type: one for one in conditions(pod, instance, phase, before or PodStatus(), "T2")}


def test_a_running_ready_pod() -> None:
    found = by_type(POD, RUNNING)
    assert {one.status for one in found.values()} == {"True"}
    assert {one.observed_generation for one in found.values()} == {3}
    assert list(found) == ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]


def test_an_unready_container_makes_the_pod_unready() -> None:
    found = by_type(POD, replace(RUNNING, containers=(ContainerStatus(name="c"),)))
    assert (found["Ready"].status, found["Ready"].reason) == ("False", "ContainersNotReady")
    assert found["ContainersReady"].message == "containers with unready status: [c]"


def test_the_sandbox_is_told_of_before_during_and_after() -> None:
    def told(instance: Instance) -> tuple[str, str, str]:
        one = by_type(POD, instance)["PodReadyToStartContainers"]
        return one.status, one.reason, one.message

    assert told(replace(RUNNING, sandbox_ready_at=None)) == ("False", "PodSandboxNotReady", "no pod sandbox exists")
    assert told(RUNNING) == ("True", "", "")
    over = ("False", "PodSandboxNotReady", "pod sandbox is not ready")
    assert told(replace(RUNNING, phase=InstancePhase.SUCCEEDED)) == over
    assert told(replace(RUNNING, phase=InstancePhase.SUCCEEDED, released=True)) == over


def test_a_pod_that_has_ended() -> None:
    over = replace(RUNNING, phase=InstancePhase.SUCCEEDED, released=True)
    found = by_type(POD, over, "Succeeded")
    assert {found[name].reason for name in ("Ready", "ContainersReady", "Initialized")} == {"PodCompleted"}
    assert found["Initialized"].status == "True"
    found = by_type(POD, replace(over, phase=InstancePhase.FAILED), "Failed")
    assert (found["Ready"].reason, found["ContainersReady"].reason) == ("PodFailed", "PodFailed")


def test_a_readiness_gate_holds_ready_back() -> None:
    gated = PodSpec(containers=[Container(name="c")], readiness_gates=[ReadinessGate(condition_type="g")])
    found = by_type(replace(POD, spec=gated), RUNNING)
    assert (found["Ready"].reason, found["ContainersReady"].status) == ("ReadinessGatesNotReady", "True")
    assert found["Ready"].message == 'corresponding condition of pod readiness gate "g" does not exist.'
    closed = PodStatus(conditions=[Condition(type="g", status="False")])
    found = by_type(replace(POD, spec=gated, status=closed), RUNNING)
    assert found["Ready"].message == 'the status of pod readiness gate "g" is not "True", but False'
    opened = PodStatus(conditions=[Condition(type="g", status="True")])
    assert by_type(replace(POD, spec=gated, status=opened), RUNNING)["Ready"].status == "True"


def test_transition_time_changes_with_the_status_only() -> None:
    old = [
        Condition(type="Ready", status="True", last_transition_time="T1"),
        Condition(type="ContainersReady", status="False", last_transition_time="T1"),
    ]
    found = by_type(POD, RUNNING, before=PodStatus(conditions=old))
    assert (found["Ready"].last_transition_time, found["ContainersReady"].last_transition_time) == ("T1", "T2")


def test_a_container_that_the_cloud_does_not_know_yet_is_not_ready() -> None:
    found = by_type(WITH_INIT, replace(RUNNING, phase=InstancePhase.SCHEDULING, containers=()), "Pending")
    assert (found["Ready"].status, found["ContainersReady"].status) == ("False", "False")
    assert (found["Initialized"].status, found["Initialized"].reason) == ("False", "ContainersNotInitialized")
    assert found["Initialized"].message == "containers with incomplete status: [i]"


def test_what_was_initialized_stays_initialized() -> None:
    waiting = replace(RUNNING, containers=(ContainerStatus(name="i", kind=ContainerKind.INIT),))
    before = PodStatus(conditions=[Condition(type="Initialized", status="True", last_transition_time="T1")])
    assert by_type(WITH_INIT, waiting, before=before)["Initialized"].status == "True"
    begun = replace(RUNNING, containers=(ContainerStatus(name="i"), ContainerStatus(name="c", state=RUNS)))
    assert by_type(WITH_INIT, begun)["Initialized"].status == "True"


WAITS = replace(
    RUNNING,
    phase=InstancePhase.SCHEDULING,
    sandbox_ready_at=None,
    containers=(),
    reason="OperationDenied.NoStock",
    message="zone z has not enough cpu",
)


def test_who_waits_for_stock_says_so_by_the_published_reason_and_later_that_it_is_over() -> None:
    told = by_type(POD, WAITS, "Pending")["ContainerInstanceCreated"]
    assert (told.status, told.reason, told.message) == (
        "False",
        "ContainerGroup.NoStock",
        "zone z has not enough cpu",
    )
    waited = PodStatus(conditions=[told])
    over = by_type(POD, replace(RUNNING, placed_at=1), before=waited)["ContainerInstanceCreated"]
    assert (over.status, over.reason, over.message) == ("True", "", "")
    kept = by_type(POD, replace(WAITS, reason="", message=""), "Pending", waited)["ContainerInstanceCreated"]
    assert (kept.reason, kept.message) == (told.reason, told.message)


def test_the_engines_own_wait_has_its_own_reason() -> None:
    told = by_type(POD, replace(WAITS, reason="EngineWait"), "Pending")["ContainerInstanceCreated"]
    assert told.reason == "EngineWait"
