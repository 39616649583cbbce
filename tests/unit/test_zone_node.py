"""Pods are looked after only while the Node is ours."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from provider.config.schema import ZoneConfig
from provider.kube.client import KubeError
from provider.supervision import weather_of
from provider.zone_node import ZoneNode


class Agent:
    def __init__(self) -> None:
        self.owned = asyncio.Event()
        self.taken = asyncio.Event()


class Controller:
    """Counts its runs; `ended` how many of them are over."""

    def __init__(self) -> None:
        self.runs = self.ended = 0

    async def run(self) -> None:
        self.runs += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.ended += 1


@pytest.mark.looptime
async def test_pods_wait_for_the_node_and_end_with_it() -> None:
    node = ZoneNode(ZoneConfig(name="zone-a"), shared=None, port=None)  # type: ignore[arg-type]
    agent, controller = Agent(), Controller()
    following: Any = asyncio.get_running_loop().create_task(node._follow_pods(controller, agent))  # type: ignore[arg-type]
    await asyncio.wait({following}, timeout=100)
    assert (controller.runs, following.done()) == (0, False)
    agent.owned.set()
    await asyncio.wait({following}, timeout=100)
    assert (controller.runs, controller.ended) == (1, 0)
    agent.owned.clear()
    agent.taken.set()
    await asyncio.wait({following}, timeout=100)
    assert controller.ended == 1
    error = following.exception()
    assert isinstance(error.exceptions[0], KubeError)
    assert "virtual-kubelet-zone-a is somebody else's" in str(weather_of(error))  # one line in the log, no traceback
