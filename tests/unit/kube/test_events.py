"""The recorder and its correlator, by the rules of client-go's."""

from __future__ import annotations

import asyncio
from random import Random  # noqa: TID251 (seeded)
from typing import TYPE_CHECKING, Any

import pytest

from provider.clock import LoopClock
from provider.kube.client import KubeError
from provider.kube.event_correlator import BURST, COMBINED, Correlator, Event, Outcome
from provider.kube.events import QUEUED_EVENTS, EventRecorder, reference
from tests.support.kube_fake import FakeKubeApi

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

POD = {"metadata": {"name": "p", "namespace": "n", "uid": "u", "resourceVersion": "7"}}
INVOLVED = reference(POD, "spec.containers{main}")


def event(message: str = "m", *, at: float = 0, reason: str = "Pulled", involved: dict[str, Any] = INVOLVED) -> Event:
    return Event(involved=involved, kind="Normal", reason=reason, message=message, at=at)


def sent(correlator: Correlator, one: Event) -> Outcome | None:
    """Correlate, and pretend that the API server has taken it."""
    outcome = correlator.correlate(one)
    if outcome is not None:
        correlator.sent(outcome, outcome.name or f"event-{one.message}")
    return outcome


def test_the_reference_names_the_container() -> None:
    assert INVOLVED == {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": "p",
        "namespace": "n",
        "uid": "u",
        "resourceVersion": "7",
        "fieldPath": "spec.containers{main}",
    }


def test_the_same_event_is_counted_on() -> None:
    correlator = Correlator()
    first, second = sent(correlator, event(at=1)), sent(correlator, event(at=5))
    assert first is not None
    assert second is not None
    assert (first.count, first.name) == (1, "")
    assert (second.count, second.name, second.first_at) == (2, "event-m", 1)


def test_another_container_is_another_event() -> None:
    correlator = Correlator()
    sent(correlator, event())
    other = sent(correlator, event(involved=reference(POD, "spec.containers{wait}")))
    assert other is not None
    assert other.count == 1


def test_ten_similar_messages_become_one_event() -> None:
    correlator = Correlator()
    outcomes = [sent(correlator, event(f"m{index}", at=index)) for index in range(12)]
    messages = [one.event.message for one in outcomes if one is not None]
    assert messages == [*(f"m{index}" for index in range(9)), *(f"{COMBINED}m{index}" for index in (9, 10, 11))]
    assert [one.count for one in outcomes if one is not None] == [1] * 10 + [2, 3]
    # ten minutes of silence make them new again
    fresh = sent(correlator, event("m99", at=700))
    assert fresh is not None
    assert fresh.event.message == "m99"


def test_a_noisy_object_is_silenced_and_heard_again() -> None:
    correlator = Correlator()
    heard = [sent(correlator, event(at=1)) for _ in range(BURST + 5)]
    assert [one is not None for one in heard] == [True] * BURST + [False] * 5
    assert sent(correlator, event(at=290)) is None
    again = sent(correlator, event(at=302))
    assert again is not None
    assert again.count == BURST + 7  # those not sent are counted all the same
    # another object has a budget of its own
    assert sent(correlator, event(involved={**INVOLVED, "uid": "v"}, at=1)) is not None


@pytest.fixture
def api() -> FakeKubeApi:
    return FakeKubeApi(LoopClock())


@pytest.fixture
async def recorder(api: FakeKubeApi) -> AsyncIterator[EventRecorder]:
    one = EventRecorder(api, "node-a", clock=LoopClock(), random=Random(1))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(one.run())
        yield one
        task.cancel()


async def until(condition: Any) -> None:
    async with asyncio.timeout(200):
        while not condition():
            await LoopClock().sleep(0.01)


@pytest.mark.looptime
async def test_an_event_as_the_kubelet_writes_it(api: FakeKubeApi, recorder: EventRecorder) -> None:
    recorder.record(INVOLVED, "Started", "Started container main", at=1_700_000_000.5)
    await until(api.events)
    (written,) = api.events()
    meta = written.pop("metadata")
    assert meta["name"] == f"p.{1_700_000_000_500_000_000:x}"
    assert written == {
        "apiVersion": "v1",
        "kind": "Event",
        "involvedObject": INVOLVED,
        "reason": "Started",
        "message": "Started container main",
        "type": "Normal",
        "count": 1,
        "firstTimestamp": "2023-11-14T22:13:20Z",
        "lastTimestamp": "2023-11-14T22:13:20Z",
        "source": {"component": "kubelet", "host": "node-a"},
        "reportingComponent": "kubelet",
        "reportingInstance": "node-a",
    }


@pytest.mark.looptime
async def test_a_repeated_event_is_patched_and_made_anew_when_it_is_forgotten(
    api: FakeKubeApi, recorder: EventRecorder
) -> None:
    for _ in range(2):
        recorder.record(INVOLVED, "BackOff", "m", warning=True)
    await until(lambda: len(api.calls) == 2)
    assert [(one["count"], one["type"]) for one in api.events()] == [(2, "Warning")]
    (name,) = [one["metadata"]["name"] for one in api.events()]
    api.vanish(f"/api/v1/namespaces/n/events/{name}")
    recorder.record(INVOLVED, "BackOff", "m", warning=True)
    await until(lambda: len(api.calls) == 4)
    assert [one.verb for one in api.calls] == ["create", "patch", "patch", "create"]
    assert [one["count"] for one in api.events()] == [3]


@pytest.mark.looptime
async def test_events_of_one_moment_have_names_of_their_own(api: FakeKubeApi, recorder: EventRecorder) -> None:
    for reason in ("Pulling", "Pulled", "Created"):
        recorder.record(INVOLVED, reason, reason, at=5)
    await until(lambda: len(api.events()) == 3)


@pytest.mark.looptime
async def test_a_server_that_is_away_is_asked_again(api: FakeKubeApi, recorder: EventRecorder) -> None:
    api.fail("create", "/events", KubeError(0, "TimeoutError", ""), times=3)
    recorder.record(INVOLVED, "Pulled", "m")
    await until(api.events)
    assert len(api.calls) == 4


@pytest.mark.looptime
async def test_a_refused_event_does_not_hold_up_the_next(api: FakeKubeApi, recorder: EventRecorder) -> None:
    api.fail("create", "/events", KubeError(403, "Forbidden", "namespace is being terminated"))
    recorder.record(INVOLVED, "Pulled", "m")
    recorder.record(INVOLVED, "Started", "m")
    await until(api.events)
    assert [one["reason"] for one in api.events()] == ["Started"]


async def test_a_full_queue_drops_instead_of_waiting(api: FakeKubeApi) -> None:
    recorder = EventRecorder(api, "node-a", clock=LoopClock(), random=Random(1))
    for index in range(QUEUED_EVENTS + 1):
        recorder.record(INVOLVED, "Pulled", str(index))
    assert api.calls == []
