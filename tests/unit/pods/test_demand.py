"""The demand of a node's pods: counted once each, until they have ended."""

from __future__ import annotations

from typing import Any

import pytest

from provider.config.profiles import load_profile
from provider.model.demand import Demand
from provider.model.stock import Amounts
from provider.pods.demand import DemandBook
from tests.support.pod_world import World

GIB = 1 << 30


def pod(cpu: str = "100m", phase: str = "Pending") -> dict[str, Any]:
    containers = [{"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}]
    meta = {"name": "p", "namespace": "n", "uid": "u"}
    return {"metadata": meta, "spec": {"containers": containers}, "status": {"phase": phase}}


def test_a_pod_counts_as_it_asks_and_comes_as_it_buys() -> None:
    book = DemandBook(load_profile("eci"))
    assert book.changed("a", pod())
    assert not book.changed("a", pod(phase="Running"))
    book.changed("b", pod("3"))
    found = book.demand(["b", "unknown"])
    assert found.counted == Amounts(3_100, 0, 0, 2)
    assert (found.coming.cpu, found.coming.instances) == (4_000, 1)
    assert book.changed("b", pod("3", "Failed"))
    assert not book.changed("b", None)
    assert book.changed("a", None)
    assert book.demand(["a", "b"]) == Demand()


def test_what_is_refused_for_its_size_is_counted_and_buys_nothing() -> None:
    book = DemandBook(load_profile("eci"))
    book.changed("a", pod("900"))
    assert book.demand(["a"]) == Demand(Amounts(900_000, 0, 0, 1))


@pytest.mark.looptime
async def test_a_controller_tells_demand_once_both_sides_are_known() -> None:
    world = World()
    assert world.controller.demand() is None
    await world.start()
    assert world.controller.demand() == Demand()
    uid = await world.pod()
    await world.settle()
    assert world.controller.demand() == Demand(Amounts(instances=1))
    world.cloud.run(uid)
    world.cloud.end(uid)
    await world.settle()
    assert world.controller.demand() == Demand()
    await world.kill()
