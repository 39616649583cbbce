from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from provider.clock import LoopClock
from provider.kube.client import KubeError
from provider.pods.status_writer import StatusWriter, Write
from tests.support.kube_fake import FakeKubeApi

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Writes:
    """Pods by UID, which the writer keeps up to date, and what it answered."""

    def __init__(self) -> None:
        self.clock = LoopClock()
        self.api = FakeKubeApi(self.clock)
        self.held: dict[str, dict[str, Any]] = {}
        self.done: list[tuple[str, Any]] = []
        self.writer = StatusWriter(self.api, self.held.get, self.take, clock=self.clock, in_flight=2, settle=0.5)

    def take(self, write: Write, answer: dict[str, Any] | KubeError) -> None:
        self.done.append((write.uid, answer if isinstance(answer, KubeError) else answer["status"]["phase"]))
        if not isinstance(answer, KubeError):
            self.held[write.uid] = answer

    async def add(self, name: str) -> None:
        pod: dict[str, Any] = {"metadata": {"name": name, "uid": f"uid-{name}"}, "spec": {"nodeName": "node-a"}}
        pod["status"] = {"phase": "Pending"}
        self.held[f"uid-{name}"] = await self.api.create("/api/v1/namespaces/n/pods", pod)
        self.api.calls.clear()

    def submit(self, name: str, phase: str, *, urgent: bool = False) -> None:
        self.writer.submit(Write(f"uid-{name}", "n", name, {"phase": phase}, urgent))

    def sent(self) -> list[tuple[str, str]]:
        return [
            (one.path.split("/")[-2], one.body["status"]["phase"])
            for one in self.api.calls
            if one.verb == "patch" and one.body is not None
        ]


@pytest.fixture
async def writes() -> AsyncIterator[Writes]:
    one = Writes()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(one.writer.run())
        yield one
        task.cancel()


@pytest.mark.looptime
async def test_what_comes_soon_after_replaces_what_was_not_sent(writes: Writes) -> None:
    await writes.add("a")
    writes.submit("a", "Pending2")
    await writes.clock.sleep(0.3)
    writes.submit("a", "Running")
    await writes.clock.sleep(0.3)
    assert writes.sent() == [("a", "Running")]
    assert writes.done == [("uid-a", "Running")]
    (call,) = [one for one in writes.api.calls if one.verb == "patch"]
    assert call.path == "/api/v1/namespaces/n/pods/a/status"
    assert call.body == {"metadata": {"uid": "uid-a"}, "status": {"phase": "Running"}}


@pytest.mark.looptime
async def test_urgent_ones_do_not_wait_and_go_first(writes: Writes) -> None:
    for name in "abcdef":
        await writes.add(name)
    for name in "abcde":
        writes.submit(name, "Running")
    await writes.clock.sleep(0.4)
    assert writes.sent() == []
    writes.submit("e", "Succeeded", urgent=True)
    await writes.clock.sleep(0.01)
    assert writes.sent() == [("e", "Succeeded")]
    await writes.clock.sleep(1)
    assert writes.sent()[1:] == [(name, "Running") for name in "abcd"]


@pytest.mark.looptime
async def test_one_patch_of_a_pod_at_a_time_and_the_newest_next(writes: Writes) -> None:
    await writes.add("a")
    open_patches: list[int] = [0, 0]
    real = writes.api.patch

    async def slow(*arguments: Any) -> Any:
        open_patches[0] += 1
        open_patches[1] = max(open_patches)
        await writes.clock.sleep(1)
        open_patches[0] -= 1
        return await real(*arguments)

    writes.api.patch = slow
    for phase in ("A", "B", "C"):
        writes.submit("a", phase, urgent=True)
        await writes.clock.sleep(0.2)
    await writes.clock.sleep(5)
    assert writes.sent() == [("a", "A"), ("a", "C")]
    assert open_patches[1] == 1


@pytest.mark.looptime
async def test_failures_are_handed_back_and_pods_that_are_gone_are_left_alone(writes: Writes) -> None:
    await writes.add("a")
    writes.api.fail("patch", "/pods/a", KubeError(500, "InternalError", ""))
    writes.submit("a", "Running", urgent=True)
    await writes.clock.sleep(1)
    ((uid, error),) = writes.done
    assert (uid, error.code) == ("uid-a", 500)
    writes.submit("a", "Running")
    writes.writer.drop("uid-a")
    await writes.clock.sleep(1)
    writes.submit("b", "Running")
    await writes.clock.sleep(1)
    assert len(writes.sent()) == 1


@pytest.mark.looptime
async def test_what_the_pod_says_already_is_not_sent(writes: Writes) -> None:
    await writes.add("a")
    writes.submit("a", "Pending", urgent=True)
    await writes.clock.sleep(1)
    assert writes.sent() == []
    assert writes.done == [("uid-a", "Pending")]
