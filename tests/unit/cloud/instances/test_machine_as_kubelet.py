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
    EnsureImage,
    Place,
    ReleaseSandbox,
    RemoveAttempt,
    RunProbe,
    StartContainer,
    StopContainer,
)
from provider.cloud.instances.machine import InstanceMachine
from provider.cloud.instances.snapshot import MachineSnapshot
from provider.model.attempt import SeenContainer
from provider.model.errors import CloudCode, CloudError
from provider.model.ids import InstanceId, PodUid, VSwitchId, ZoneId
from provider.model.instance import InstancePhase
from provider.model.probe import Probe, TcpAction
from provider.model.request import InstanceRequest, RestartPolicy
from tests.unit.cloud.instances.drive import Drive, app, init, sidecar

PROBE = Probe(TcpAction(80), failure_threshold=1)


def gone(name: str = "a", attempt: int = 0, code: int = 0, **fields: object) -> SeenContainer:
    return SeenContainer(name=name, attempt=attempt, container_id="c", exited=True, exit_code=code, **fields)  # type: ignore[arg-type]


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


# ---------------------------------------------------------------- an engine that is away


def test_an_engine_that_is_away_fails_nothing_and_says_so() -> None:
    drive = Drive(app(), policy=RestartPolicy.NEVER, begin=False)
    drive.sandbox_fault = Faulted(Stage.SANDBOX, "Unavailable", "no engine at /run/docker.sock", retry_after=5)
    drive.send(Tick())
    for _ in range(3):
        drive.wake()
    instance = drive.machine.instance()
    assert (instance.reason, instance.message) == ("EngineUnavailable", "no engine at /run/docker.sock")
    assert instance.phase is InstancePhase.PENDING
    assert len(drive.told()) == 1
    drive.sandbox_fault = None
    assert drive.wake() == 5
    instance = drive.machine.instance()
    assert (instance.phase, instance.reason, instance.message) == (InstancePhase.RUNNING, "", "")


def test_a_start_of_which_nobody_knows_is_looked_for_before_anything_else() -> None:
    drive = Drive(app(), policy=RestartPolicy.NEVER, begin=False)
    drive.start_fault = Faulted(Stage.START, "Unavailable", "engine away", "a", 5)
    drive.send(Tick())
    assert (drive.status("a").state.reason, drive.status("a").state.message) == ("ContainerCreating", "engine away")
    drive.send(DeleteRequested(30))
    assert drive.count(ReleaseSandbox) == 0, "the attempt may run"
    drive.start_fault = None
    drive.send(drive.attempt("a", 0))
    assert drive.stops() == [StopContainer("a", 0, 30)]


def test_a_start_that_did_not_happen_is_tried_again_with_the_same_number() -> None:
    drive = Drive(app(), policy=RestartPolicy.NEVER, begin=False)
    drive.start_fault = Faulted(Stage.START, "Unavailable", "engine away", "a", 5)
    drive.send(Tick())
    drive.start_fault = None
    drive.send(Observed((), complete=False))
    assert drive.machine.wake_at() is None
    drive.send(Observed(()))
    assert drive.wake() == 5
    assert [i for i in drive.seen if isinstance(i, StartContainer)][-1].attempt == 0
    assert drive.machine.phase() is InstancePhase.RUNNING


def test_a_late_fault_does_not_stop_what_was_seen_running() -> None:
    drive = Drive(app(), policy=RestartPolicy.NEVER)
    drive.send(Faulted(Stage.START, "Unavailable", "engine away", "a", 5))
    drive.send(Faulted(Stage.IMAGE, "ErrImagePull", "engine away", "a", 5))
    assert drive.machine.is_running("a", 0)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (
            ("FailedCreatePodSandBox", "no bridge"),
            ("FailedCreatePodSandBox", "Failed to create pod sandbox: no bridge"),
        ),
        (("FailedMount", "MountVolume.SetUp failed"), ("FailedMount", "MountVolume.SetUp failed")),
    ],
)
def test_a_sandbox_that_cannot_be_made(fault: tuple[str, str], told: tuple[str, str]) -> None:
    drive = Drive(app(), policy=RestartPolicy.NEVER, begin=False)
    drive.sandbox_fault = Faulted(Stage.SANDBOX, *fault)
    drive.send(Tick())
    assert drive.told() == [told]
    assert drive.machine.instance().reason == ""
    assert drive.wake() == 5
    assert drive.told() == [told] * 2


def test_waiting_is_told_once_for_each_reason() -> None:
    machine = InstanceMachine(Drive(app(), policy=RestartPolicy.NEVER, begin=False).machine.request, InstanceId("i"), 0)
    machine.handle(Tick(), 0)
    forever = float("inf")
    told = []
    for reason in ("OperationDenied.NoStock", "OperationDenied.NoStock", "InvalidVSwitchId.IpNotEnough", "EngineWait"):
        for i in machine.handle(Faulted(Stage.PLACE, reason, "text", retry_after=forever), 1):
            told.append(i.reason)  # type: ignore[union-attr]  # noqa: PERF401
    assert told == ["NoStock", "FailedScheduling", "EngineWait"]
    assert machine.instance().reason == "EngineWait"


# ---------------------------------------------------------------- the death of a sandbox


def test_a_dead_sandbox_is_made_anew_and_everything_begins_again() -> None:
    drive = Drive(init("i"), sidecar("s"), app(), policy=RestartPolicy.ALWAYS)
    drive.end("i")
    assert drive.starts() == ["i", "s", "a"]
    drive.send(SandboxLost())
    assert ("SandboxChanged", "Pod sandbox changed, it will be killed and re-created.") in drive.told()
    assert [stop.container for stop in drive.stops()] == ["a"]
    drive.end("a", 137)
    assert [stop.container for stop in drive.stops()] == ["a", "s"]
    drive.end("s", 137)
    assert [i for i in drive.seen if isinstance(i, CreateSandbox)] == [CreateSandbox(), CreateSandbox(renew=True)]
    assert drive.starts() == ["i", "s", "a", "i"]
    instance = drive.machine.instance()
    assert (instance.initialized_at, instance.address) == (None, "10.0.0.1")
    drive.end("i")
    assert drive.starts() == ["i", "s", "a", "i", "s", "a"]
    assert [i.attempt for i in drive.seen if isinstance(i, StartContainer)] == [0, 0, 0, 1, 1, 1]
    assert drive.machine.phase() is InstancePhase.RUNNING


def test_what_had_succeeded_on_failure_is_not_run_again() -> None:
    drive = Drive(app("a"), app("b"), policy=RestartPolicy.ON_FAILURE)
    drive.end("a", 0)
    drive.send(SandboxLost())
    drive.end("b", 137)
    assert drive.starts() == ["a", "b", "b"]
    drive.end("b", 0)
    assert drive.machine.phase() is InstancePhase.SUCCEEDED


def test_a_pod_that_never_restarts_fails_with_its_sandbox() -> None:
    drive = Drive(app(), policy=RestartPolicy.NEVER)
    drive.send(SandboxLost())
    drive.end("a", 137)
    instance = drive.machine.instance()
    assert (instance.phase, instance.released) == (InstancePhase.FAILED, True)
    assert drive.count(CreateSandbox) == 1


def test_a_pod_that_never_restarts_and_had_not_begun_gets_another_sandbox() -> None:
    drive = Drive(app(), policy=RestartPolicy.NEVER, begin=False)
    drive.image_fault = "ErrImagePull"
    drive.send(Tick())
    drive.send(SandboxLost())
    assert drive.count(CreateSandbox) == 2


def test_the_death_of_a_sandbox_is_not_forgotten_by_a_restart() -> None:
    drive = Drive(app(), policy=RestartPolicy.ALWAYS)
    drive.send(SandboxLost())
    saved = msgspec.json.decode(msgspec.json.encode(drive.machine.snapshot()), type=MachineSnapshot)
    drive.machine = InstanceMachine.restore(drive.machine.request, saved, drive.now)
    drive.send(Observed((gone(code=137),)))
    assert [i for i in drive.seen if isinstance(i, CreateSandbox)][-1] == CreateSandbox(renew=True)
    assert drive.machine.phase() is InstancePhase.RUNNING


def test_the_end_of_a_pod_is_no_death_of_its_sandbox() -> None:
    drive = Drive(app(), policy=RestartPolicy.NEVER)
    drive.send(DeleteRequested(30))
    drive.send(SandboxLost())
    drive.end("a", 143)
    assert drive.machine.instance().released
    assert drive.count(CreateSandbox) == 1


# ---------------------------------------------------------------- history


def test_the_attempt_before_the_last_is_removed() -> None:
    drive = Drive(app(), policy=RestartPolicy.ALWAYS)
    drive.end("a", 1)
    drive.end("a", 1)
    drive.wake()
    assert [i for i in drive.seen if isinstance(i, RemoveAttempt)] == [RemoveAttempt("a", 0)]


def test_last_is_the_attempt_before_also_when_the_newest_was_never_seen_running() -> None:
    drive = Drive(app(), policy=RestartPolicy.ON_FAILURE)
    drive.send(Observed((gone(code=1),), complete=False))
    drive.send(Observed((gone(code=0, attempt=1),), complete=False))
    status = drive.status("a")
    assert (status.state.exit_code, status.restarts) == (0, 1)
    assert status.last is not None
    assert status.last.exit_code == 1


@pytest.mark.parametrize(
    ("story", "now", "previous"),
    [
        ("running", 0, 'previous terminated container "a" in pod "pod" not found'),
        ("crashed once", 1, 0),
        ("crash loop", 1, 1),
        ("ended", 0, 'previous terminated container "a" in pod "pod" not found'),
        ("deleted in crash loop", 1, 1),
    ],
)
def test_logs_come_from_the_attempt_that_the_kubelet_means(story: str, now: int | str, previous: int | str) -> None:
    policy = RestartPolicy.NEVER if story == "ended" else RestartPolicy.ALWAYS
    drive = Drive(app(), policy=policy)
    if story != "running":
        drive.end("a", 1)
    if "loop" in story:
        drive.end("a", 1)
    if "deleted" in story:
        drive.send(DeleteRequested(1))
    assert source(drive, previous=False) == now
    assert source(drive, previous=True) == previous


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("", "waiting to start: ContainerCreating"),
        ("ErrImagePull", "waiting to start: image can't be pulled"),
        ("CreateContainerConfigError", "waiting to start: CreateContainerConfigError"),
    ],
)
def test_logs_of_what_has_not_started(fault: str, text: str) -> None:
    drive = Drive(app(), policy=RestartPolicy.ALWAYS, begin=False)
    drive.image_fault = fault
    if fault:
        drive.send(Tick())
    assert source(drive, previous=False) == f'container "a" in pod "pod" is {text}'
    if fault == "ErrImagePull":
        drive.wake()
        assert source(drive, previous=False) == (
            'container "a" in pod "pod" is waiting to start: trying and failing to pull image'
        )


def test_an_unknown_container_has_no_logs() -> None:
    drive = Drive(app(), policy=RestartPolicy.ALWAYS)
    with pytest.raises(CloudError, match='container "b" in pod "pod" is not available') as caught:
        drive.machine.log_attempt("b", previous=False)
    assert caught.value.code is CloudCode.NOT_FOUND
    with pytest.raises(CloudError, match="container not found"):
        drive.machine.running_attempt("b")


def source(drive: Drive, *, previous: bool) -> int | str:
    try:
        return drive.machine.log_attempt("a", previous=previous)
    except CloudError as error:
        return error.message if error.code is CloudCode.INCORRECT_STATUS else error.code


def test_probes_begin_spread_over_their_period_after_a_restart() -> None:
    drive = Drive(app(liveness=PROBE), policy=RestartPolicy.ALWAYS)
    saved = drive.machine.snapshot()
    machine = InstanceMachine.restore(drive.machine.request, saved, 100, spread=0.5)
    machine.handle(drive.attempt("a", 0), 100)
    assert machine.wake_at() == 105


def test_nothing_that_waits_for_others_keeps_waking() -> None:
    drive = Drive(init("i"), app(), policy=RestartPolicy.ALWAYS)
    drive.end("i")
    drive.send(SandboxLost())
    drive.end("a", 1)
    drive.end("i")
    assert drive.machine.wake_at() is None
    assert drive.count(EnsureImage) == 4


def test_it_agrees_with_what_it_knows_and_with_nothing_else() -> None:
    drive = Drive(app(), policy=RestartPolicy.ALWAYS)
    running = SeenContainer(name="a", attempt=0, container_id="c", running=True)
    assert drive.machine.agrees([running])
    assert not drive.machine.agrees([])
    assert not drive.machine.agrees([gone()])
    drive.end("a", 1)
    assert drive.machine.agrees([gone(code=1), SeenContainer(name="a", attempt=1, container_id="d", running=True)])
    drive.end("a", 1)
    assert drive.machine.agrees([gone(code=1), gone(attempt=1, code=1)])
    assert not drive.machine.agrees([SeenContainer(name="a", attempt=2, container_id="d", running=True)])


# ---------------------------------------------------------------- probes in time


def test_a_warning_is_told_and_counts_as_success() -> None:
    drive = Drive(app(readiness=PROBE), policy=RestartPolicy.ALWAYS)
    drive.send(Probed("a", 0, ProbeKind.READINESS, Outcome.WARNING, "Probe terminated redirects"))
    assert drive.status("a").ready
    assert drive.told()[-1] == ("ProbeWarning", "Readiness probe warning: Probe terminated redirects")


def test_probes_keep_their_beat_whatever_they_take() -> None:
    probe = Probe(TcpAction(80), initial_delay=5, period=10)
    drive = Drive(app(liveness=probe), policy=RestartPolicy.ALWAYS)
    assert drive.wake() == 5
    drive.now += 3
    drive.send(Probed("a", 0, ProbeKind.LIVENESS, Outcome.SUCCESS))
    assert drive.wake() == 7
    drive.now += 14
    drive.send(Probed("a", 0, ProbeKind.LIVENESS, Outcome.SUCCESS))
    assert drive.count(RunProbe) == 3


def test_readiness_goes_on_while_the_container_is_stopped() -> None:
    drive = Drive(app(readiness=PROBE, liveness=PROBE), policy=RestartPolicy.ALWAYS)
    for kind in (ProbeKind.READINESS, ProbeKind.LIVENESS):
        drive.send(Probed("a", 0, kind, Outcome.SUCCESS))
    drive.send(DeleteRequested(30))
    drive.seen.clear()
    drive.wake()
    assert [i for i in drive.seen if isinstance(i, RunProbe)] == [RunProbe("a", 0, ProbeKind.READINESS)]
    drive.send(Probed("a", 0, ProbeKind.READINESS, Outcome.FAILURE))
    assert not drive.status("a").ready
