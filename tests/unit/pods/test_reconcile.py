"""Table: a base and one mutation -> the actions; and every plan, carried out, leaves nothing to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from provider.model.ids import InstanceId, PodUid, ZoneId
from provider.model.instance import ContainerPhase, ContainerState, ContainerStatus, Instance, InstancePhase
from provider.model.pod import pod_from_json
from provider.pods.actions import (
    ConfirmAbsent,
    CreateInstance,
    DeleteInstance,
    ForgetInstance,
    PodAction,
    RemovePod,
    TryAgain,
    WriteStatus,
)
from provider.pods.reconcile import Desired, Observed, Refusal, Waiting, grace_of, plan

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = 100.0
ZONE = ZoneId("z")
RUNS = ContainerState(phase=ContainerPhase.RUNNING, started_at=20, container_id="docker://c")
DONE = replace(RUNS, phase=ContainerPhase.TERMINATED, reason="Completed", finished_at=30)
RUNNING = Instance(
    uid=PodUid("u"),
    id=InstanceId("eci-1"),
    zone=ZONE,
    name="p",
    namespace="n",
    phase=InstancePhase.RUNNING,
    address="10.0.0.4",
    placed_at=10,
    sandbox_ready_at=11,
    initialized_at=12,
    containers=(ContainerStatus(name="c", state=RUNS, ready=True, started=True),),
)
ENDED = replace(RUNNING, phase=InstancePhase.SUCCEEDED, containers=(ContainerStatus(name="c", state=DONE),))
RELEASED = replace(ENDED, released=True, finished_at=31)


def desired(status: dict[str, Any] | None = None, **meta: Any) -> Desired:
    raw = {
        "metadata": {"name": "p", "namespace": "n", "uid": "u", "generation": 1, **meta},
        "spec": {"containers": [{"name": "c", "image": "i"}], "terminationGracePeriodSeconds": 20},
        "status": status or {"phase": "Pending"},
    }
    return Desired(pod=pod_from_json(raw), status=raw["status"], listed=True)


def deleting(status: dict[str, Any] | None = None, grace: int = 20) -> Desired:
    return desired(status, deletionTimestamp="2026-01-01T00:00:20Z", deletionGracePeriodSeconds=grace)


def observed(instance: Instance | None = None, **more: Any) -> Observed:
    return Observed(zone=ZONE, known=True, instance=instance, host_ips=("192.0.2.1",), **more)


def status_of(instance: Instance) -> dict[str, Any]:
    """Return the status that the instance's first look writes."""
    (write,) = plan(desired(), observed(instance), NOW)
    assert isinstance(write, WriteStatus)
    return write.status


SUCCEEDED = {"phase": "Succeeded"}
BEGUN = {"phase": "Running", "containerStatuses": [{"name": "c", "state": {"running": {"startedAt": None}}}]}
GONE = Desired(listed=True, absent=True, grace=7)


def short(actions: list[PodAction]) -> list[str]:
    """Return the actions in one word each, with what matters of their values."""
    words: dict[type, Callable[[Any], str]] = {
        CreateInstance: lambda _: "create",
        DeleteInstance: lambda one: f"delete {one.grace:g}",
        ForgetInstance: lambda _: "forget",
        WriteStatus: lambda one: (
            f"write {one.status['phase']} {one.status.get('reason', '')}".strip() + ("!" if one.urgent else "")
        ),
        RemovePod: lambda _: "remove",
        ConfirmAbsent: lambda _: "confirm",
        TryAgain: lambda one: f"again {one.at:g}",
    }
    return [words[type(one)](one) for one in actions]


@pytest.mark.parametrize(
    ("name", "pod", "seen", "expected"),
    [
        # ---- a pod that is to run
        ("new", desired(), observed(), ["write Pending", "create"]),
        ("the cloud has not told yet", desired(), Observed(zone=ZONE), []),
        ("waits", desired(), observed(waiting=Waiting(retry_at=130)), ["write Pending", "again 130"]),
        ("waited", desired(), observed(waiting=Waiting(retry_at=NOW)), ["write Pending", "create"]),
        ("runs", desired(), observed(RUNNING), ["write Running!"]),
        ("runs and is told", desired(status_of(RUNNING)), observed(RUNNING), []),
        ("ended", desired(status_of(RUNNING)), observed(ENDED), ["write Succeeded!"]),
        ("refused", desired(), observed(refusal=Refusal("OutOfcpu", "m", NOW)), ["write Failed OutOfcpu!"]),
        ("lost", desired(), observed(lost=True), ["write Failed InstanceLost!"]),
        ("began and is lost", desired(BEGUN), observed(), ["write Failed InstanceLost!"]),
        # ---- terminal
        ("over, keeps its logs", desired(status_of(RELEASED)), observed(RELEASED), []),
        ("over, its instance forgotten", desired(SUCCEEDED), observed(), []),
        ("ended by somebody else", desired({"phase": "Failed"}), observed(RUNNING), ["delete 20", "write Failed"]),
        # ---- terminating
        ("deleted before it began", deleting(), observed(), ["write Failed!"]),
        ("deleted while it waits", deleting(), observed(waiting=Waiting(retry_at=130)), ["write Failed!"]),
        ("deleted and told", deleting({"phase": "Failed"}), observed(), ["remove"]),
        ("deleted, held by finalizers", deleting({"phase": "Failed"}, grace=0), observed(), []),
        ("deleted while it runs", deleting(status_of(RUNNING)), observed(RUNNING), ["delete 20"]),
        (
            "grace shrinks",
            deleting(status_of(RUNNING), grace=5),
            observed(replace(RUNNING, deletion_requested_at=90, grace=20)),
            ["delete 5"],
        ),
        (
            "grace never grows",
            deleting(status_of(RUNNING), grace=25),
            observed(replace(RUNNING, deletion_requested_at=90, grace=20)),
            [],
        ),
        ("its containers ended", deleting(status_of(RUNNING)), observed(ENDED), ["write Succeeded!"]),
        ("its end is told", deleting(status_of(ENDED)), observed(ENDED), ["remove"]),
        ("deleted after its end", deleting(status_of(RELEASED)), observed(RELEASED), ["remove"]),
        ("lost while terminating", deleting(BEGUN), observed(), ["write Failed!"]),
        # ---- without a pod
        ("nothing at all", Desired(listed=True), observed(), []),
        ("orphan before the list", Desired(), observed(RUNNING), []),
        ("orphan before the cloud's list", Desired(listed=True), Observed(zone=ZONE, instance=RUNNING), []),
        ("orphan", Desired(listed=True), observed(RUNNING), ["confirm"]),
        ("released orphan", Desired(listed=True), observed(RELEASED), ["confirm"]),
        ("gone, runs", GONE, observed(RUNNING), ["delete 7"]),
        ("gone, is ending", GONE, observed(replace(RUNNING, deletion_requested_at=90, grace=7)), []),
        ("gone, ended", GONE, observed(ENDED), []),
        ("gone, released", GONE, observed(RELEASED), ["forget"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_plan(name: str, pod: Desired, seen: Observed, expected: list[str]) -> None:
    actions = plan(pod, seen, NOW)
    assert short(actions) == expected
    # idempotent: a status on its way is not written again, even later
    for action in actions:
        if isinstance(action, WriteStatus):
            later = plan(pod, replace(seen, draft=action.status, sent=True), NOW + 30)
            assert not any(isinstance(one, WriteStatus) for one in later)
            told = {**pod.status, **action.status}
            assert pod.pod is not None
            held = replace(pod, status=told, pod=replace(pod.pod, status=plan_status(told)))
            again = plan(held, seen, NOW + 30)
            assert not any(isinstance(one, WriteStatus) for one in again)


def plan_status(status: dict[str, Any]) -> Any:
    return pod_from_json({"metadata": {"name": "p"}, "spec": {"containers": []}, "status": status}).status


def test_a_new_status_replaces_one_that_is_on_its_way() -> None:
    draft = status_of(RUNNING)
    (write,) = plan(desired(), observed(ENDED, draft=draft, sent=True), NOW)
    assert isinstance(write, WriteStatus)
    assert (write.status["phase"], write.urgent) == ("Succeeded", True)
    assert write.status["startTime"] == draft["startTime"]


def test_a_status_that_was_not_taken_is_sent_again_with_its_times() -> None:
    draft = status_of(RUNNING)
    (write,) = plan(desired(), observed(RUNNING, draft=draft), NOW + 50)
    assert isinstance(write, WriteStatus)
    assert write.status == draft


def test_a_status_that_the_api_server_holds_in_another_form_is_not_written_for_ever() -> None:
    written = status_of(RUNNING)
    kept = {**written, "containerStatuses": [{**written["containerStatuses"][0], "image": "docker.io/library/i"}]}
    assert short(plan(desired(kept), observed(RUNNING), NOW)) == ["write Running"]
    assert plan(desired(kept), observed(RUNNING, settled=(written, kept)), NOW) == []


def test_what_is_urgent() -> None:
    waiting = replace(RUNNING, phase=InstancePhase.PENDING, containers=())
    assert short(plan(desired(), observed(waiting), NOW)) == ["write Pending"]
    unready = replace(RUNNING, containers=(ContainerStatus(name="c", state=RUNS, started=True),))
    assert short(plan(desired(status_of(RUNNING)), observed(unready), NOW)) == ["write Running!"]


@pytest.mark.parametrize(
    ("meta", "spec", "expected"),
    [
        ({}, {}, 30),
        ({}, {"terminationGracePeriodSeconds": 5}, 5),
        ({"deletionGracePeriodSeconds": 3}, {"terminationGracePeriodSeconds": 5}, 3),
        ({"deletionGracePeriodSeconds": 0}, {}, 1),
        ({}, {"terminationGracePeriodSeconds": 0}, 1),
    ],
)
def test_grace(meta: dict[str, Any], spec: dict[str, Any], expected: float) -> None:
    raw = {"metadata": {"name": "p", **meta}, "spec": {"containers": [], **spec}}
    assert grace_of(pod_from_json(raw)) == expected
