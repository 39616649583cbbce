from __future__ import annotations

import pytest

from provider.pods.capacity import Occupancy, Shortage, Sizes

NODE = Sizes(cpu=2000, memory=1000, ephemeral_storage=500, pods=3)


@pytest.mark.parametrize(
    ("asked", "reason", "message"),
    [
        (Sizes(cpu=4000), "OutOfcpu", "cpu, requested: 4000, used: 500, capacity: 2000"),
        (Sizes(memory=901), "OutOfmemory", "memory, requested: 901, used: 100, capacity: 1000"),
        (
            Sizes(ephemeral_storage=501),
            "OutOfephemeral-storage",
            "ephemeral-storage, requested: 501, used: 0, capacity: 500",
        ),
        (Sizes(cpu=9999, memory=9999), "OutOfcpu", "cpu, requested: 9999, used: 500, capacity: 2000"),
    ],
)
def test_the_first_shortage_is_told_in_upstreams_words(asked: Sizes, reason: str, message: str) -> None:
    occupancy = Occupancy()
    assert occupancy.take("a", Sizes(cpu=500, memory=100), NODE) is None
    assert occupancy.take("b", asked, NODE) == Shortage(reason, f"Node didn't have enough resource: {message}")
    assert occupancy.used == Sizes(cpu=500, memory=100, pods=1)


def test_pods_are_counted() -> None:
    occupancy = Occupancy()
    assert [occupancy.take(uid, Sizes(), NODE) for uid in "abc"] == [None] * 3
    shortage = occupancy.take("d", Sizes(), NODE)
    assert shortage is not None
    assert shortage.message == "Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3"
    occupancy.release("b")
    assert occupancy.take("d", Sizes(), NODE) is None


def test_taking_and_releasing_are_idempotent() -> None:
    occupancy = Occupancy()
    for _ in range(2):
        occupancy.take("a", Sizes(cpu=1500), NODE)
    assert occupancy.used.cpu == 1500
    for _ in range(2):
        occupancy.release("a")
    assert occupancy.used == Sizes(pods=0)


def test_what_runs_is_counted_whatever_the_node_has_now() -> None:
    occupancy = Occupancy()
    assert occupancy.take("a", Sizes(cpu=9000), None) is None
    # overcommitted: a pod that asks for no CPU still fits
    assert occupancy.take("b", Sizes(memory=1), NODE) is None
    assert occupancy.take("c", Sizes(cpu=1), NODE) is not None
