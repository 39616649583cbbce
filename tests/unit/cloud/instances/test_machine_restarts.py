"""When the machine starts a container again: policies and rules of its own, and the kubelet's back-off in time."""

from __future__ import annotations

import msgspec
import pytest

from provider.cloud.instances.events import Observed, Outcome, Probed, ProbeKind, SandboxLost
from provider.cloud.instances.machine import InstanceMachine
from provider.cloud.instances.snapshot import MachineSnapshot
from provider.model.instance import ContainerPhase, InstancePhase
from provider.model.probe import Probe, TcpAction
from provider.model.request import RestartPolicy, RestartRule
from tests.unit.cloud.instances.drive import Drive, app, init

ALWAYS, ON_FAILURE, NEVER = RestartPolicy.ALWAYS, RestartPolicy.ON_FAILURE, RestartPolicy.NEVER
IN_42, NOT_IN_42 = RestartRule((42,)), RestartRule((42,), others=True)
PROBE = Probe(TcpAction(80), failure_threshold=1)


@pytest.mark.parametrize(
    ("pod", "own", "rules", "code", "again"),
    [
        (ALWAYS, None, (), 0, True),
        (ON_FAILURE, None, (), 0, False),
        (ON_FAILURE, None, (), 1, True),
        (NEVER, None, (), 1, False),
        (ALWAYS, NEVER, (), 1, False),
        (NEVER, ALWAYS, (), 0, True),
        (NEVER, ON_FAILURE, (), 1, True),
        (NEVER, ON_FAILURE, (), 0, False),
        (NEVER, NEVER, (IN_42,), 42, True),
        (NEVER, NEVER, (IN_42,), 41, False),
        (NEVER, NEVER, (NOT_IN_42,), 41, True),
        (NEVER, NEVER, (NOT_IN_42,), 42, False),
        (NEVER, NEVER, (RestartRule((0,)),), 0, True),
        (NEVER, NEVER, (RestartRule((1,)), IN_42), 42, True),
    ],
)
def test_policies_and_rules(
    pod: RestartPolicy, own: RestartPolicy | None, rules: tuple[RestartRule, ...], code: int, again: bool
) -> None:
    drive = Drive(app(restart_policy=own, restart_rules=rules), policy=pod)
    drive.end("a", code)
    assert drive.starts() == ["a"] * (2 if again else 1)
    ended = InstancePhase.SUCCEEDED if code == 0 else InstancePhase.FAILED
    assert drive.machine.phase() is (InstancePhase.RUNNING if again else ended)


def test_an_init_container_goes_by_its_own_rules_and_is_done_when_it_did_well() -> None:
    own = msgspec.structs.replace(init("i"), restart_policy=NEVER, restart_rules=(RestartRule((0, 42)),))
    drive = Drive(own, app(), policy=ALWAYS)
    drive.end("i", 42)
    assert drive.starts() == ["i", "i"]
    drive.end("i", 0)
    assert drive.starts() == ["i", "i", "a"]
    failing = Drive(own, app(), policy=ALWAYS)
    failing.end("i", 1)
    assert failing.machine.phase() is InstancePhase.FAILED


def test_what_may_not_restart_is_told_so_by_its_probe() -> None:
    drive = Drive(app(restart_policy=NEVER, liveness=PROBE), policy=ALWAYS)
    drive.send(Probed("a", 0, ProbeKind.LIVENESS, Outcome.FAILURE))
    assert drive.told()[-1] == ("Killing", "Container a failed liveness probe")


def test_a_new_sandbox_runs_again_what_its_own_policy_lets() -> None:
    drive = Drive(app("a", restart_policy=ON_FAILURE), app("b", restart_policy=NEVER), app("c"), policy=ALWAYS)
    drive.end("a", 0)
    drive.end("b", 0)
    drive.send(SandboxLost())
    drive.end("c", 137)
    assert drive.starts() == ["a", "b", "c", "b", "c"]


# ---------------------------------------------------------------- back-off


def crash(drive: Drive, code: int = 1) -> float:
    """Let the running attempt end; return how long the next one waits."""
    before = len(drive.starts())
    drive.end("a", code)
    if len(drive.starts()) > before:
        return 0
    return drive.wake()


def test_ten_seconds_doubling_to_five_minutes() -> None:
    drive = Drive(app(), policy=ALWAYS)
    assert [crash(drive) for _ in range(9)] == [0, 10, 20, 40, 80, 160, 300, 300, 300]


def test_ten_minutes_of_running_forget_it() -> None:
    drive = Drive(app(), policy=ALWAYS)
    for _ in range(4):
        crash(drive)
    drive.now += 599
    assert crash(drive) == 80
    drive.now += 601
    assert [crash(drive) for _ in range(3)] == [0, 10, 20]


def test_the_history_outlives_the_process() -> None:
    drive = Drive(app(), policy=ALWAYS)
    for _ in range(3):
        crash(drive)
    saved = msgspec.json.decode(msgspec.json.encode(drive.machine.snapshot()), type=MachineSnapshot)
    drive.machine = InstanceMachine.restore(drive.machine.request, saved, drive.now)
    drive.send(Observed(drive.attempt("a", 3).attempts, complete=True))
    assert crash(drive) == 40


def killed(drive: Drive, attempt: int) -> float:
    drive.send(Probed("a", attempt, ProbeKind.LIVENESS, Outcome.FAILURE))
    return crash(drive, 137)


def test_a_container_that_its_probe_kills_waits_by_the_attempt_before() -> None:
    # doBackOff looks at what had ended when the kill was decided: nothing, then the attempt before, 30 s ago.
    drive = Drive(app(liveness=PROBE), policy=ALWAYS)
    waited = []
    for attempt in range(6):
        drive.now += 30
        waited.append(killed(drive, attempt))
    assert waited == [0, 0, 0, 0, 40, 80]


def test_a_crash_after_a_kill_counts_from_its_own_end() -> None:
    drive = Drive(app(liveness=PROBE), policy=ALWAYS)
    assert killed(drive, 0) == 0
    assert [crash(drive) for _ in range(3)] == [0, 10, 20]


def test_a_state_is_shown_while_it_waits() -> None:
    drive = Drive(app(), policy=ALWAYS)
    drive.end("a", 1)
    drive.end("a", 2)
    status = drive.status("a")
    assert (status.state.phase, status.state.reason) == (ContainerPhase.WAITING, "CrashLoopBackOff")
    assert status.last is not None
    assert (status.last.exit_code, status.restarts) == (2, 1)
