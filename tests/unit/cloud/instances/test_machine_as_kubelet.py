"""What the instance machine shows and tells, compared with the kubelet of Kubernetes v1.37 (sources in wording.py)."""

from __future__ import annotations

import msgspec
import pytest

from provider.cloud.instances.events import (
    Abandoned,
    DeleteRequested,
    Faulted,
    ImageReady,
    Observed,
    Outcome,
    Placed,
    Probed,
    ProbeKind,
    SandboxLost,
    SandboxReady,
    Stage,
    Tick,
)
from provider.cloud.instances.instructions import (
    CreateSandbox,
    Place,
    ReleaseSandbox,
    StopContainer,
)
from provider.cloud.instances.machine import InstanceMachine
from provider.model.attempt import SeenContainer
from provider.model.ids import InstanceId, PodUid, VSwitchId, ZoneId
from provider.model.instance import InstancePhase
from provider.model.probe import Probe, TcpAction
from provider.model.request import InstanceRequest, RestartPolicy
from tests.unit.cloud.instances.drive import Drive, app, init, sidecar

PROBE = Probe(TcpAction(80), failure_threshold=1)


# ---------------------------------------------------------------- waiting texts and events


def test_a_crash_loop_reads_as_the_kubelets() -> None:
    drive = Drive(app(), policy=RestartPolicy.ALWAYS)
    drive.end("a", 1)
    for _ in range(4):
        drive.end("a", 1)
        drive.wake()
    drive.end("a", 1)
    state = drive.status("a").state
    assert (state.reason, state.message) == (
        "CrashLoopBackOff",
        "back-off 2m40s restarting failed container=a pod=pod_ns(u)",
    )
    assert drive.told()[-1] == ("BackOff", "Back-off restarting failed container a in pod pod_ns(u)")


def test_a_pull_that_fails_keeps_its_error_while_it_backs_off() -> None:
    drive = Drive(app(), policy=RestartPolicy.NEVER, begin=False)
    drive.image_fault = "ErrImagePull"
    drive.send(Tick())
    assert (drive.status("a").state.reason, drive.status("a").state.message) == ("ErrImagePull", "no such image")
    assert drive.told() == [("Failed", "Error: ErrImagePull")]
    drive.wake()
    state = drive.status("a").state
    assert state.reason == "ImagePullBackOff"
    assert state.message == 'Back-off pulling image "i": ErrImagePull: no such image'
    assert drive.told()[1:] == [("BackOff", 'Back-off pulling image "i"'), ("Failed", "Error: ImagePullBackOff")]


@pytest.mark.parametrize("reason", ["CreateContainerConfigError", "CreateContainerError"])
def test_other_faults_are_tried_again_every_ten_seconds(reason: str) -> None:
    drive = Drive(app(), policy=RestartPolicy.NEVER, begin=False)
    drive.start_fault = Faulted(Stage.START, reason, "because", "a")
    drive.send(Tick())
    assert (drive.status("a").state.reason, drive.status("a").state.message) == (reason, "because")
    assert [drive.wake() for _ in range(3)] == [10, 10, 10]
    assert drive.told() == [("Failed", "Error: because")] * 4
    drive.start_fault = None
    drive.wake()
    assert drive.machine.phase() is InstancePhase.RUNNING


def test_an_image_that_must_not_run_as_root_is_told_with_the_reason() -> None:
    drive = Drive(app(), policy=RestartPolicy.NEVER, begin=False)
    drive.image_fault = "CreateContainerConfigError"
    drive.send(Tick())
    assert drive.told() == [("Failed", "Error: no such image")]


def test_a_start_tells_created_and_started_once() -> None:
    drive = Drive(app(), policy=RestartPolicy.NEVER)
    drive.send(drive.attempt("a", 0))
    assert drive.told() == [("Created", "Container created"), ("Started", "Container started")]


def test_a_program_that_cannot_start_was_created_and_exits_128() -> None:
    seen = SeenContainer(name="a", attempt=0, container_id="c", exited=True, exit_code=128, error="no such file")
    machine = InstanceMachine(Drive(app(), policy=RestartPolicy.NEVER, begin=False).machine.request, InstanceId("i"), 0)
    for event in (Tick(), Placed(VSwitchId("v"), "10.0.0.1"), SandboxReady(), ImageReady("a", "i", "d")):
        machine.handle(event, 0)
    told = [i for i in machine.handle(Observed((seen,), complete=False), 1) if hasattr(i, "reason")]
    assert [(i.reason, i.message) for i in told] == [
        ("Created", "Container created"),
        ("Failed", "Error: no such file"),
    ]
    (status,) = machine.instance().containers
    assert (status.state.reason, status.state.exit_code, status.state.message) == ("StartError", 128, "no such file")
    assert status.state.container_id == "c"
    assert status.state.started_at is None


def test_a_lost_container_is_unknown_and_counts_as_killed() -> None:
    drive = Drive(app(), policy=RestartPolicy.NEVER)
    drive.send(Observed(()))
    state = drive.status("a").state
    assert (state.reason, state.exit_code) == ("ContainerStatusUnknown", 137)
    assert state.message == "The container could not be located when the pod was terminated"
    assert drive.machine.phase() is InstancePhase.FAILED


def test_an_old_answer_does_not_bring_an_ended_attempt_back() -> None:
    drive = Drive(sidecar("s"), app(), policy=RestartPolicy.NEVER)
    drive.end("a", 3)
    drive.send(drive.attempt("a", 0))
    assert drive.status("a").state.exit_code == 3


def test_an_attempt_that_only_was_missing_and_turns_up_runs_on() -> None:
    drive = Drive(sidecar("s"), app(), policy=RestartPolicy.NEVER)
    drive.send(Observed((SeenContainer(name="s", attempt=0, container_id="c", running=True),)))
    assert drive.status("a").state.reason == "ContainerStatusUnknown"
    drive.send(drive.attempt("a", 0))
    assert drive.machine.is_running("a", 0)
    drive.send(DeleteRequested(5))
    assert drive.stops()[-1] == StopContainer("a", 0, 5)


def test_nothing_changes_what_was_released() -> None:
    drive = Drive(app(), policy=RestartPolicy.NEVER)
    drive.end("a", 0)
    before = drive.machine.instance()
    for event in (drive.attempt("a", 0), SandboxLost(), DeleteRequested(1), Tick()):
        drive.send(event)
    assert drive.machine.instance() == before


def test_stopping_is_told_once_and_deadline_too() -> None:
    drive = Drive(app(), policy=RestartPolicy.NEVER, deadline=5)
    drive.wake()
    drive.send(DeleteRequested(1))
    assert drive.told()[2:] == [
        ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline"),
        ("Killing", "Stopping container a"),
    ]


@pytest.mark.parametrize(
    ("policy", "kind", "text"),
    [
        (RestartPolicy.ALWAYS, ProbeKind.LIVENESS, "Container a failed liveness probe, will be restarted"),
        (RestartPolicy.NEVER, ProbeKind.LIVENESS, "Container a failed liveness probe"),
        (RestartPolicy.ALWAYS, ProbeKind.STARTUP, "Container a failed startup probe, will be restarted"),
    ],
)
def test_a_probe_that_kills_says_whether_it_restarts(policy: RestartPolicy, kind: ProbeKind, text: str) -> None:
    probes = {"startup" if kind is ProbeKind.STARTUP else "liveness": PROBE}
    drive = Drive(app(**probes), policy=policy)
    drive.send(Probed("a", 0, kind, Outcome.FAILURE, "connection refused"))
    assert drive.told()[2:] == [("Unhealthy", f"{kind} probe failed: connection refused"), ("Killing", text)]
    assert drive.stops() == [StopContainer("a", 0, 30)]
    drive.now = 9
    drive.end("a", 137)
    phase = InstancePhase.RUNNING if policy is RestartPolicy.ALWAYS else InstancePhase.FAILED
    assert drive.machine.phase() is phase


def test_a_sidecar_that_fails_its_probe_is_an_init_container() -> None:
    drive = Drive(msgspec.structs.replace(sidecar("s"), liveness=PROBE), app(), policy=RestartPolicy.NEVER)
    drive.send(Probed("s", 0, ProbeKind.LIVENESS, Outcome.FAILURE))
    assert ("Killing", "Init container s failed liveness probe") in drive.told()


def test_a_probe_that_could_not_run_counts_for_nothing() -> None:
    drive = Drive(app(liveness=PROBE), policy=RestartPolicy.ALWAYS)
    drive.send(
        Probed("a", 0, ProbeKind.LIVENESS, Outcome.ERRORED, "probe errored and resulted in unknown state: engine away")
    )
    assert drive.stops() == []
    assert drive.told()[-1] == ("Unhealthy", "Liveness probe errored and resulted in unknown state: engine away")
    assert drive.machine.wake_at() == 10


def test_no_probe_runs_between_a_liveness_failure_and_the_next_attempt() -> None:
    drive = Drive(app(liveness=PROBE), policy=RestartPolicy.ALWAYS)
    drive.send(Probed("a", 0, ProbeKind.LIVENESS, Outcome.FAILURE))
    assert drive.machine.wake_at() is None


# ---------------------------------------------------------------- the end of a pod


@pytest.mark.parametrize("grace", [0, 1])
def test_every_container_gets_two_seconds_at_least(grace: int) -> None:
    drive = Drive(app(), policy=RestartPolicy.ALWAYS)
    drive.send(DeleteRequested(grace))
    assert drive.stops() == [StopContainer("a", 0, 2)]


def test_a_pod_deleted_while_it_waits_for_stock_is_released_at_once() -> None:
    request = InstanceRequest(uid=PodUid("u"), zone=ZoneId("z"), name="p", namespace="n", containers=(app(),))
    machine = InstanceMachine(request, InstanceId("eci-1"), 0)
    assert machine.handle(Tick(), 0) == [Place()]
    machine.handle(Faulted(Stage.PLACE, "OperationDenied.NoStock", "none", retry_after=float("inf")), 0)
    assert machine.wake_at() is None
    assert machine.handle(DeleteRequested(30), 1) == [ReleaseSandbox()]


def test_what_never_came_is_shown_as_failed_at_the_end() -> None:
    drive = Drive(app("a"), app("b"), policy=RestartPolicy.ALWAYS, begin=False)
    drive.image_fault = "ErrImagePull"
    drive.send(Tick())
    drive.send(DeleteRequested(30))
    instance = drive.machine.instance()
    assert (instance.phase, instance.released) == (InstancePhase.FAILED, True)
    assert [(c.state.reason, c.state.exit_code) for c in instance.containers] == [("ContainerStatusUnknown", 137)] * 2


def test_a_pod_that_fails_in_init_leaves_its_apps_waiting() -> None:
    drive = Drive(init("i"), app(), policy=RestartPolicy.NEVER)
    drive.end("i", 1)
    assert drive.machine.instance().released
    assert drive.status("a").state.reason == "PodInitializing"


def test_a_pod_deleted_during_a_pull_does_not_start_what_arrives() -> None:
    drive = Drive(app(), policy=RestartPolicy.NEVER, begin=False)
    machine = drive.machine
    for event in (Tick(), Placed(VSwitchId("v"), "10.0.0.1"), SandboxReady()):
        machine.handle(event, 0)
    assert machine.handle(DeleteRequested(30), 1) == [ReleaseSandbox()]
    assert machine.handle(ImageReady("a", "i", "d"), 2) == []


def test_a_start_that_had_not_begun_is_abandoned() -> None:
    machine = InstanceMachine(Drive(app(), policy=RestartPolicy.NEVER, begin=False).machine.request, InstanceId("i"), 0)
    for event in (Tick(), Placed(VSwitchId("v"), "10.0.0.1"), SandboxReady(), ImageReady("a", "i", "d")):
        machine.handle(event, 0)
    assert machine.handle(DeleteRequested(30), 1) == []
    assert machine.handle(Abandoned("a"), 1) == [ReleaseSandbox()]


def test_a_sandbox_that_was_not_begun_is_abandoned() -> None:
    machine = InstanceMachine(Drive(app(), policy=RestartPolicy.NEVER, begin=False).machine.request, InstanceId("i"), 0)
    machine.handle(Tick(), 0)
    assert machine.handle(Placed(VSwitchId("v"), "10.0.0.1"), 0) == [CreateSandbox()]
    assert machine.handle(DeleteRequested(30), 1) == []
    assert machine.handle(Abandoned(), 1) == [ReleaseSandbox()]
