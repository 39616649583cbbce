"""Attempts that are there although the row knows of no sandbox: they are gone on with, not begun again."""

from __future__ import annotations

import pytest

from provider.cloud.instances.events import (
    DeleteRequested,
    Event,
    Faulted,
    Observed,
    SandboxLost,
    SandboxReady,
    Stage,
    Tick,
)
from provider.cloud.instances.instructions import CreateSandbox, Instruction, ReleaseSandbox
from provider.model.attempt import SeenContainer
from provider.model.instance import ContainerPhase, InstancePhase
from provider.model.request import RestartPolicy
from tests.unit.cloud.instances.drive import Drive, app, init, sidecar


def running(name: str, attempt: int = 0) -> SeenContainer:
    return SeenContainer(name=name, attempt=attempt, container_id=f"c-{name}", running=True, started_at=1.0)


def ended(name: str, code: int = 0, attempt: int = 0) -> SeenContainer:
    return SeenContainer(
        name=name,
        attempt=attempt,
        container_id=f"c-{name}",
        exited=True,
        started_at=1.0,
        finished_at=2.0,
        exit_code=code,
    )


def begun(drive: Drive, *found: SeenContainer, complete: bool = True) -> Drive:
    drive.now = 10.0
    drive.send(Observed(found, complete))
    return drive


def drive(*containers: object, policy: RestartPolicy = RestartPolicy.NEVER) -> Drive:
    return Drive(*containers, policy=policy, begin=False)  # type: ignore[arg-type]


@pytest.mark.parametrize("complete", [False, True])
def test_what_runs_is_taken_over(complete: bool) -> None:
    one = begun(drive(init("i"), sidecar("s"), app()), ended("i"), running("s"), running("a"), complete=complete)
    assert one.starts() == []
    instance = one.machine.instance()
    assert (instance.phase, instance.initialized_at) == (InstancePhase.RUNNING, 10.0)
    assert [each.state.phase for each in instance.containers] == [
        ContainerPhase.TERMINATED,
        ContainerPhase.RUNNING,
        ContainerPhase.RUNNING,
    ]
    assert one.status("a").state.started_at == 1.0


def test_an_init_container_that_runs_is_waited_for() -> None:
    one = begun(drive(init("i1"), init("i2"), app()), ended("i1"), running("i2"))
    assert (one.starts(), one.machine.instance().initialized_at) == ([], None)
    one.send(Observed((ended("i2"),), complete=False))
    assert one.starts() == ["a"]


def test_what_has_ended_does_not_run_again() -> None:
    one = begun(drive(app(), app("b")), ended("a"), ended("b", 3))
    instance = one.machine.instance()
    assert (one.starts(), instance.phase, instance.released) == ([], InstancePhase.FAILED, True)
    assert [each.state.exit_code for each in instance.containers] == [0, 3]


def test_a_later_attempt_is_the_one_that_counts() -> None:
    one = begun(drive(app(), policy=RestartPolicy.ALWAYS), ended("a", 1, attempt=2), running("a", attempt=3))
    assert (one.starts(), one.status("a").restarts) == ([], 3)


def test_what_was_only_created_is_started() -> None:
    one = begun(drive(app()), SeenContainer(name="a", attempt=0, container_id="c"))
    assert one.starts() == ["a"]
    assert one.machine.phase() is InstancePhase.RUNNING


class SlowSandbox(Drive):
    def answer(self, instruction: Instruction) -> list[Event]:
        return [] if isinstance(instruction, CreateSandbox) else super().answer(instruction)


def test_an_end_before_the_sandbox_is_known_stops_what_runs_first() -> None:
    one = SlowSandbox(app(), policy=RestartPolicy.ALWAYS, begin=False)
    begun(one, running("a"))
    one.send(DeleteRequested(2.0))
    assert [(stop.container, stop.attempt) for stop in one.stops()] == [("a", 0)]
    assert one.count(ReleaseSandbox) == 0
    one.send(SandboxReady())
    one.send(Observed((ended("a", 143),), complete=False))
    assert (one.machine.instance().released, one.status("a").state.exit_code) == (True, 143)


def test_what_ended_with_a_sandbox_that_died_is_not_found_but_runs_anew() -> None:
    one = drive(init("i"), app(), policy=RestartPolicy.ALWAYS)
    one.send(Tick())
    one.end("i")
    assert one.starts() == ["i", "a"]
    one.sandbox_fault = Faulted(Stage.SANDBOX, "Unavailable", "away", retry_after=60)
    one.send(SandboxLost())
    one.send(Observed((ended("i"), ended("a", 137)), complete=True))
    one.send(Observed((ended("i"), ended("a", 137)), complete=True))
    one.sandbox_fault = None
    one.now = 100.0
    one.send(Tick())
    assert one.starts() == ["i", "a", "i"]
    assert one.machine.instance().initialized_at is None
