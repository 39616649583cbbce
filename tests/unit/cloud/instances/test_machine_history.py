"""Which attempts are remembered, whose logs are meant, and when probes come."""

from __future__ import annotations

import pytest

from provider.cloud.instances.events import (
    DeleteRequested,
    Observed,
    Outcome,
    Probed,
    ProbeKind,
    SandboxLost,
    Tick,
)
from provider.cloud.instances.instructions import (
    EnsureImage,
    RemoveAttempt,
    RunProbe,
)
from provider.cloud.instances.machine import InstanceMachine
from provider.model.attempt import SeenContainer
from provider.model.errors import CloudCode, CloudError
from provider.model.probe import Probe, TcpAction
from provider.model.request import RestartPolicy
from tests.unit.cloud.instances.drive import Drive, app, init

PROBE = Probe(TcpAction(80), failure_threshold=1)


def gone(name: str = "a", attempt: int = 0, code: int = 0, **fields: object) -> SeenContainer:
    return SeenContainer(name=name, attempt=attempt, container_id="c", exited=True, exit_code=code, **fields)  # type: ignore[arg-type]


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
