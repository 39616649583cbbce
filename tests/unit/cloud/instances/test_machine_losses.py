"""An engine that is away, and a sandbox that dies."""

from __future__ import annotations

import msgspec
import pytest

from provider.cloud.instances.events import (
    DeleteRequested,
    Faulted,
    Observed,
    SandboxLost,
    Stage,
    Tick,
)
from provider.cloud.instances.instructions import (
    CreateSandbox,
    ReleaseSandbox,
    StartContainer,
    StopContainer,
)
from provider.cloud.instances.machine import InstanceMachine
from provider.cloud.instances.snapshot import MachineSnapshot
from provider.model.attempt import SeenContainer
from provider.model.ids import InstanceId
from provider.model.instance import InstancePhase
from provider.model.request import RestartPolicy
from tests.unit.cloud.instances.drive import Drive, app, init, sidecar


def gone(name: str = "a", attempt: int = 0, code: int = 0, **fields: object) -> SeenContainer:
    return SeenContainer(name=name, attempt=attempt, container_id="c", exited=True, exit_code=code, **fields)  # type: ignore[arg-type]


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
