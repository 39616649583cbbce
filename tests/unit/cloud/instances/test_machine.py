"""The instance machine: order, restarts, ends."""

from __future__ import annotations

import msgspec
import pytest

from provider.cloud.instances.events import (
    DeleteRequested,
    Evicted,
    Faulted,
    Observed,
    Outcome,
    Probed,
    ProbeKind,
    Stage,
    Tick,
)
from provider.cloud.instances.instructions import (
    Place,
    RunProbe,
    StopContainer,
)
from provider.cloud.instances.machine import InstanceMachine
from provider.cloud.instances.snapshot import MachineSnapshot
from provider.model.ids import InstanceId, PodUid, ZoneId
from provider.model.instance import InstancePhase
from provider.model.probe import Probe, TcpAction
from provider.model.request import InstanceRequest, RestartPolicy
from tests.unit.cloud.instances.drive import Drive, app, init, sidecar


@pytest.mark.parametrize(("code", "phase"), [(0, InstancePhase.SUCCEEDED), (3, InstancePhase.FAILED)])
def test_a_job_ends_and_is_released(code: int, phase: InstancePhase) -> None:
    drive = Drive(app("a"), app("b"), policy=RestartPolicy.NEVER)
    assert drive.machine.phase() is InstancePhase.RUNNING
    drive.end("a", code)
    assert not drive.machine.instance().released
    drive.end("b")
    instance = drive.machine.instance()
    assert (instance.phase, instance.released) == (phase, True)
    assert drive.status("a").state.reason == ("Completed" if code == 0 else "Error")
    assert drive.machine.wake_at() is None


def test_init_and_sidecar_come_in_order_and_the_sidecar_goes_last() -> None:
    drive = Drive(init("i1"), sidecar("s"), init("i2"), app("a"), app("b"), policy=RestartPolicy.NEVER)
    assert drive.starts() == ["i1"]
    assert drive.status("a").state.reason == "PodInitializing"
    drive.end("i1")
    assert drive.starts() == ["i1", "s", "i2"]
    assert drive.machine.phase() is InstancePhase.PENDING
    drive.end("i2")
    assert drive.starts() == ["i1", "s", "i2", "a", "b"]
    drive.end("a")
    drive.end("b")
    assert [stop.container for stop in drive.stops()] == ["s"]
    assert not drive.machine.instance().released
    drive.end("s", 143)
    assert drive.machine.instance().released
    assert drive.machine.phase() is InstancePhase.SUCCEEDED


def test_a_failed_init_ends_a_pod_that_never_restarts() -> None:
    drive = Drive(init("i"), app(), policy=RestartPolicy.NEVER)
    drive.end("i", 1)
    assert drive.machine.phase() is InstancePhase.FAILED
    assert drive.starts() == ["i"]


def test_crashes_back_off_from_none_to_five_minutes() -> None:
    drive = Drive(app(), policy=RestartPolicy.ALWAYS)
    waits = []
    drive.end("a", 1)
    assert drive.starts() == ["a", "a"]
    for _ in range(7):
        drive.end("a", 1)
        assert drive.status("a").state.reason == "CrashLoopBackOff"
        waits.append(drive.wake())
    assert waits == [10, 20, 40, 80, 160, 300, 300]
    assert drive.status("a").restarts == 8
    drive.now += 601
    drive.end("a", 1)
    assert drive.status("a").restarts == 9


def test_oom_and_on_failure() -> None:
    drive = Drive(app(), policy=RestartPolicy.ON_FAILURE)
    drive.end("a", 137, oom=True)
    last = drive.status("a").last
    assert last is not None
    assert last.reason == "OOMKilled"
    drive.end("a", 0)
    assert drive.machine.phase() is InstancePhase.SUCCEEDED


def test_an_image_that_cannot_be_pulled_backs_off_and_comes() -> None:
    drive = Drive(init("i"), app(), policy=RestartPolicy.NEVER)
    drive.image_fault = "ErrImagePull"
    drive.end("i")
    assert drive.status("a").state.reason == "ErrImagePull"
    assert drive.wake() == 1
    assert drive.status("a").state.reason == "ImagePullBackOff"
    assert drive.wake() == 9
    assert drive.status("a").state.reason == "ErrImagePull"
    drive.image_fault = ""
    drive.wake()
    assert drive.wake() == 19
    assert drive.machine.phase() is InstancePhase.RUNNING


def test_a_container_that_cannot_start_exits_128() -> None:
    drive = Drive(init("i"), app(), policy=RestartPolicy.NEVER, begin=False)
    drive.start_fault = Faulted(Stage.START, "StartError", "no such file", "i")
    drive.send(Tick())
    state = drive.status("i").state
    assert (state.reason, state.exit_code) == ("StartError", 128)
    assert drive.machine.phase() is InstancePhase.FAILED


def test_deletion_only_shrinks() -> None:
    drive = Drive(sidecar("s"), app(), policy=RestartPolicy.ALWAYS)
    for grace in (30, 60, 5):
        drive.send(DeleteRequested(grace))
    assert drive.stops() == [StopContainer("a", 0, 30), StopContainer("a", 0, 5)]
    assert drive.machine.instance().grace == 5
    drive.now = 6
    drive.end("a", 143)
    drive.send(Tick())
    assert drive.stops()[2:] == [StopContainer("s", 0, 2)]
    drive.end("s", 0)
    assert drive.machine.instance().released
    assert drive.starts() == ["s", "a"]


def test_the_deadline_kills() -> None:
    drive = Drive(app(), policy=RestartPolicy.ALWAYS, deadline=60)
    assert drive.wake() == 60
    assert [stop.container for stop in drive.stops()] == ["a"]
    drive.end("a", 0)
    instance = drive.machine.instance()
    assert (instance.phase, instance.reason, instance.released) == (InstancePhase.FAILED, "DeadlineExceeded", True)


def test_an_evicted_instance_ends_within_a_second_and_says_why() -> None:
    drive = Drive(app(), policy=RestartPolicy.ALWAYS)
    drive.now = 5
    drive.send(Evicted("too much"))
    assert drive.stops() == [StopContainer("a", 0, 2)]  # the kubelet's least
    assert ("Evicted", "too much") in drive.told()
    drive.send(Evicted("much more"))  # it ends already
    drive.end("a", 137)
    instance = drive.machine.instance()
    assert (instance.phase, instance.reason, instance.message) == (InstancePhase.FAILED, "Evicted", "too much")
    assert instance.released
    assert len([one for one in drive.told() if one[0] == "Evicted"]) == 1


def test_readiness_follows_startup_and_liveness_kills() -> None:
    probe = Probe(TcpAction(80), failure_threshold=2)
    drive = Drive(app(startup=probe, readiness=probe, liveness=probe), policy=RestartPolicy.ALWAYS)
    drive.send(Tick())
    assert [i for i in drive.seen if isinstance(i, RunProbe)] == [RunProbe("a", 0, ProbeKind.STARTUP)]
    drive.send(Probed("a", 0, ProbeKind.STARTUP, Outcome.SUCCESS))
    assert (drive.status("a").started, drive.status("a").ready) == (True, False)
    drive.send(Probed("a", 0, ProbeKind.READINESS, Outcome.SUCCESS))
    assert drive.status("a").ready
    for _ in range(2):
        drive.send(Probed("a", 0, ProbeKind.LIVENESS, Outcome.FAILURE))
    assert drive.stops() == [StopContainer("a", 0, 30)]
    drive.end("a", 137)
    assert drive.starts() == ["a", "a"]
    assert not drive.status("a").ready


def test_an_attempt_that_vanished_is_restarted() -> None:
    drive = Drive(app(), policy=RestartPolicy.ALWAYS)
    drive.send(Observed(()))
    assert drive.starts() == ["a", "a"]


def test_no_stock_waits_and_asks_again() -> None:
    request = InstanceRequest(uid=PodUid("u"), zone=ZoneId("z"), name="p", namespace="n", containers=(app(),))
    machine = InstanceMachine(request, InstanceId("eci-1"), 0)
    assert machine.handle(Tick(), 0) == [Place()]
    machine.handle(Faulted(Stage.PLACE, "OperationDenied.NoStock", "none"), 0)
    assert machine.instance().reason == "OperationDenied.NoStock"
    assert machine.wake_at() == 5
    assert machine.handle(Tick(), 4) == []
    assert machine.handle(Tick(), 5) == [Place()]


def test_a_restart_of_the_process_keeps_history_and_goes_on() -> None:
    drive = Drive(init("i"), sidecar("s"), app(), policy=RestartPolicy.ALWAYS)
    drive.end("i")
    for _ in range(3):
        drive.end("a", 1)
        if drive.status("a").state.reason == "CrashLoopBackOff":
            drive.wake()
    drive.end("a", 1)
    before = drive.machine.instance()
    row = msgspec.json.encode(drive.machine.snapshot())
    saved = msgspec.json.decode(row, type=MachineSnapshot)
    drive.machine = InstanceMachine.restore(drive.machine.request, saved, drive.now)
    assert drive.machine.instance() == before
    drive.send(drive.attempt("s", 0))
    assert drive.wake() == 40
    assert drive.status("a").restarts == before.containers[2].restarts + 1
