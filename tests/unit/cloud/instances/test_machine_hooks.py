"""Lifecycle hooks in the machine: postStart before Running, preStop before the signal, within the grace."""

from __future__ import annotations

import msgspec
import pytest

from provider.cloud.instances.events import (
    DeleteRequested,
    HookEnded,
    HookKind,
    Observed,
    Outcome,
    Probed,
    ProbeKind,
    SandboxLost,
)
from provider.cloud.instances.instructions import RunHook, RunProbe, StartContainer, StopContainer
from provider.cloud.instances.machine import InstanceMachine
from provider.cloud.instances.snapshot import MachineSnapshot
from provider.model.instance import ContainerPhase, InstancePhase
from provider.model.probe import ExecAction, Probe, SleepAction, TcpAction
from provider.model.request import RestartPolicy
from tests.unit.cloud.instances.drive import Drive, app, sidecar

HOOK = ExecAction(("true",))
GREETED = HookEnded("a", 0, HookKind.POST_START)
FAILED = HookEnded("a", 0, HookKind.POST_START, "it failed")


def hooks(drive: Drive) -> list[tuple[str, int, HookKind]]:
    return [(i.container, i.attempt, i.kind) for i in drive.seen if isinstance(i, RunHook)]


# ---------------------------------------------------------------- postStart


def test_a_container_is_running_once_its_hook_is_over() -> None:
    drive = Drive(app(post_start=HOOK, readiness=Probe(TcpAction(1))), policy=RestartPolicy.ALWAYS)
    assert hooks(drive) == [("a", 0, HookKind.POST_START)]
    assert drive.told() == [("Created", "Container created"), ("Started", "Container started")]
    status = drive.status("a")
    assert (status.state.phase, status.state.reason) == (ContainerPhase.WAITING, "ContainerCreating")
    assert status.image_id == ""
    assert (drive.machine.phase(), drive.count(RunProbe)) == (InstancePhase.PENDING, 0)
    drive.now = 7
    drive.send(GREETED)
    status = drive.status("a")
    assert (status.state.phase, status.state.started_at) == (ContainerPhase.RUNNING, 0)
    assert (drive.machine.phase(), drive.count(RunProbe)) == (InstancePhase.RUNNING, 1)
    assert hooks(drive) == [("a", 0, HookKind.POST_START)]


def test_the_next_container_starts_after_the_hook() -> None:
    drive = Drive(app(post_start=HOOK), app("b"), policy=RestartPolicy.ALWAYS)
    assert drive.starts() == ["a"]
    drive.send(GREETED)
    assert drive.starts() == ["a", "b"]


def test_a_sidecar_holds_the_next_until_its_hook_is_over() -> None:
    greeter = msgspec.structs.replace(sidecar("s"), post_start=HOOK)
    drive = Drive(greeter, app(), policy=RestartPolicy.NEVER)
    assert drive.starts() == ["s"]
    drive.send(HookEnded("s", 0, HookKind.POST_START))
    assert drive.starts() == ["s", "a"]


def test_a_hook_that_fails_ends_the_container_and_says_why() -> None:
    drive = Drive(app(post_start=HOOK), policy=RestartPolicy.ALWAYS)
    drive.send(FAILED)
    assert drive.told()[2:] == [("FailedPostStartHook", "PostStartHook failed"), ("Killing", "FailedPostStartHook")]
    assert drive.stops() == [StopContainer("a", 0, 30)]
    end_without_restart(drive, 0)
    status = drive.status("a")
    assert (status.state.reason, status.state.message) == ("PostStartHookError", "it failed")
    assert status.last is not None
    assert (status.last.exit_code, status.last.started_at) == (143, 0)


def end_without_restart(drive: Drive, attempt: int) -> None:
    """Let the attempt end and leave what follows undone, to look at what is shown meanwhile."""
    found = drive.attempt("a", attempt).attempts[0]
    ended = msgspec.structs.replace(found, running=False, exited=True, exit_code=143, started_at=None)
    drive.seen.extend(drive.machine.handle(Observed((ended,), complete=False), drive.now))


def test_a_hook_that_fails_again_is_a_crash_loop() -> None:
    drive = Drive(app(post_start=HOOK), policy=RestartPolicy.ALWAYS)
    drive.send(FAILED)
    drive.end("a", 143)
    assert drive.starts() == ["a", "a"]
    drive.send(HookEnded("a", 1, HookKind.POST_START, "again"))
    drive.end("a", 143)
    assert drive.status("a").state.reason == "CrashLoopBackOff"
    assert drive.status("a").restarts == 1


def test_a_hook_that_fails_where_nothing_restarts_leaves_the_end() -> None:
    drive = Drive(app(post_start=HOOK), policy=RestartPolicy.NEVER)
    drive.send(FAILED)
    drive.end("a", 143)
    assert drive.machine.phase() is InstancePhase.FAILED
    assert (drive.status("a").state.reason, drive.status("a").state.exit_code) == ("Error", 143)


def test_a_container_that_ends_under_its_hook_has_ended() -> None:
    drive = Drive(app(post_start=HOOK), policy=RestartPolicy.NEVER)
    drive.end("a", 3)
    drive.send(FAILED)
    assert drive.status("a").state.exit_code == 3
    assert drive.machine.phase() is InstancePhase.FAILED
    assert drive.stops() == []


def test_a_pod_deleted_under_its_hook_is_stopped() -> None:
    drive = Drive(app(post_start=HOOK), policy=RestartPolicy.ALWAYS)
    drive.send(DeleteRequested(5))
    assert drive.stops() == [StopContainer("a", 0, 5)]
    drive.send(FAILED)
    assert ("FailedPostStartHook", "PostStartHook failed") not in drive.told()
    drive.end("a", 143)
    assert drive.machine.released


def test_a_hook_is_not_run_twice_for_an_attempt() -> None:
    drive = Drive(app(post_start=HOOK), policy=RestartPolicy.ALWAYS)
    drive.send(drive.attempt("a", 0))
    saved = msgspec.json.decode(msgspec.json.encode(drive.machine.snapshot()), type=MachineSnapshot)
    again = InstanceMachine.restore(drive.machine.request, saved, 9)
    seen = drive.attempt("a", 0).attempts[0]
    done = again.handle(Observed((seen,), complete=True), 9)
    assert [i for i in done if isinstance(i, (RunHook, StartContainer))] == []
    assert again.phase() is InstancePhase.RUNNING
    assert len(hooks(drive)) == 1


def test_a_sandbox_that_dies_under_a_hook_ends_a_pod_that_runs_once() -> None:
    drive = Drive(app(post_start=HOOK), policy=RestartPolicy.NEVER)
    drive.send(SandboxLost())
    drive.end("a", 137)
    assert drive.machine.phase() is InstancePhase.FAILED
    assert drive.starts() == ["a"]


# ---------------------------------------------------------------- preStop


def test_the_signal_waits_for_the_hook_and_takes_what_is_left() -> None:
    drive = Drive(app(pre_stop=HOOK), policy=RestartPolicy.ALWAYS)
    drive.send(DeleteRequested(30))
    assert hooks(drive) == [("a", 0, HookKind.PRE_STOP)]
    assert (drive.stops(), drive.told()[-1]) == ([], ("Killing", "Stopping container a"))
    drive.now = 12
    drive.send(HookEnded("a", 0, HookKind.PRE_STOP))
    assert drive.stops() == [StopContainer("a", 0, 18)]


def test_a_hook_that_takes_too_long_is_not_waited_for() -> None:
    drive = Drive(app(pre_stop=SleepAction(600)), policy=RestartPolicy.ALWAYS)
    drive.send(DeleteRequested(30))
    assert drive.wake() == 30
    assert drive.stops() == [StopContainer("a", 0, 2)]
    drive.send(HookEnded("a", 0, HookKind.PRE_STOP))
    assert len(drive.stops()) == 1


def test_a_hook_that_fails_is_told_and_the_container_stopped() -> None:
    drive = Drive(app(pre_stop=HOOK), policy=RestartPolicy.ALWAYS)
    drive.send(DeleteRequested(30))
    drive.send(HookEnded("a", 0, HookKind.PRE_STOP, "secret"))
    assert drive.told()[-1] == ("FailedPreStopHook", "PreStopHook failed")
    assert drive.stops() == [StopContainer("a", 0, 30)]


def test_no_grace_no_hook() -> None:
    drive = Drive(app(pre_stop=HOOK), policy=RestartPolicy.ALWAYS)
    drive.send(DeleteRequested(0))
    assert (hooks(drive), drive.stops()) == ([], [StopContainer("a", 0, 2)])


def test_less_grace_hastens_a_hook_too() -> None:
    drive = Drive(app(pre_stop=HOOK), policy=RestartPolicy.ALWAYS)
    drive.send(DeleteRequested(30))
    drive.now = 3
    drive.send(DeleteRequested(1))
    assert drive.wake() == 1
    assert drive.stops() == [StopContainer("a", 0, 2)]


def test_a_probe_that_kills_runs_the_hook_within_its_own_grace() -> None:
    probe = Probe(TcpAction(1), failure_threshold=1, grace=10)
    drive = Drive(app(pre_stop=HOOK, liveness=probe), policy=RestartPolicy.ALWAYS)
    drive.send(Probed("a", 0, ProbeKind.LIVENESS, Outcome.FAILURE))
    assert (hooks(drive), drive.stops()) == ([("a", 0, HookKind.PRE_STOP)], [])
    drive.now = 4
    drive.send(HookEnded("a", 0, HookKind.PRE_STOP))
    assert drive.stops() == [StopContainer("a", 0, 6)]
    drive.end("a", 143)
    assert drive.starts() == ["a", "a"]


def test_hooks_of_all_begin_at_once_and_sidecars_still_end_last() -> None:
    helper = msgspec.structs.replace(sidecar("s"), pre_stop=HOOK)
    drive = Drive(helper, app(pre_stop=HOOK), policy=RestartPolicy.NEVER)
    drive.send(DeleteRequested(30))
    assert {name for name, _, _ in hooks(drive)} == {"s", "a"}
    drive.send(HookEnded("s", 0, HookKind.PRE_STOP))
    assert drive.stops() == []
    drive.send(HookEnded("a", 0, HookKind.PRE_STOP))
    assert drive.stops() == [StopContainer("a", 0, 30)]
    drive.end("a", 0)
    assert drive.stops()[1:] == [StopContainer("s", 0, 30)]


def test_an_ordinary_end_runs_no_hook() -> None:
    drive = Drive(app(pre_stop=HOOK), policy=RestartPolicy.NEVER)
    drive.end("a", 0)
    assert hooks(drive) == []
    assert drive.machine.released


@pytest.mark.parametrize("kind", HookKind)
def test_a_hook_that_fails_after_its_attempt_changes_nothing(kind: HookKind) -> None:
    drive = Drive(app(post_start=HOOK, pre_stop=HOOK), policy=RestartPolicy.ALWAYS)
    drive.send(GREETED)
    drive.end("a", 1)
    before = drive.status("a")
    drive.send(HookEnded("a", 0, kind, "late"))
    assert drive.status("a") == before
    assert drive.stops() == []
