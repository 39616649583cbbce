from __future__ import annotations

import asyncio
from random import Random  # noqa: TID251 (seeded)
from typing import TYPE_CHECKING, Any

import pytest

from provider.clock import LoopClock
from provider.model.instance import Change, InstanceChanged, InstanceGone, Notice, Synced
from provider.pods.feed import InstanceFeed
from tests.support.cloud_fake import FakeCloud

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Node:
    """Takes what a PodController is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def instance_changed(self, change: Change) -> None:
        match change:
            case InstanceChanged(instance):
                self.told.append(f"changed {instance.uid}")
            case InstanceGone(uid):
                self.told.append(f"gone {uid}")
            case Notice():
                self.told.append(f"notice {change.uid}")
            case Synced():
                self.told.append("synced")


@pytest.fixture
def nodes() -> dict[Any, Any]:
    return {"zone-a": Node(), "zone-b": Node()}


@pytest.fixture
async def cloud(nodes: dict[Any, Any]) -> AsyncIterator[FakeCloud]:
    clock = LoopClock()
    one: Any = FakeCloud(clock)
    one.add("u", "zone-a")
    one.add("v", "zone-b")
    feed = InstanceFeed(one, nodes, clock=clock, random=Random(1))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(feed.run())
        await clock.sleep(0.1)
        yield one
        task.cancel()


@pytest.mark.looptime
async def test_changes_go_to_their_zone(cloud: FakeCloud, nodes: dict[str, Node]) -> None:
    cloud.notice("v", "Pulled", "m")
    cloud.notice("unknown", "Pulled", "m")
    cloud.lose("u")
    await LoopClock().sleep(0.1)
    assert nodes["zone-a"].told == ["changed u", "synced", "gone u"]
    assert nodes["zone-b"].told == ["changed v", "synced", "notice v"]


@pytest.mark.looptime
async def test_what_went_while_the_connection_was_away_is_told(cloud: FakeCloud, nodes: dict[str, Node]) -> None:
    cloud.cut()
    await LoopClock().sleep(0.1)
    cloud.lose("u", silently=True)
    cloud.add("w", "zone-a")
    await LoopClock().sleep(10)
    assert nodes["zone-a"].told == ["changed u", "synced", "changed w", "gone u", "synced"]
    assert nodes["zone-b"].told == ["changed v", "synced", "changed v", "synced"]
