"""Rates and sums of counters."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from provider.kubelet.usage_rates import SPAN, CpuRates, NodeCpu, summed
from provider.model.ids import PodUid, ZoneId
from provider.model.usage import InstanceUsage, Use

SECOND = 10**9


def usage(uid: str, cpu: int) -> InstanceUsage:
    return InstanceUsage(PodUid(uid), ZoneId("z"), Use(0.0, cpu))


def test_a_rate_needs_a_second_and_is_of_the_last_ten() -> None:
    rates = CpuRates()
    assert rates.rate(("a",), 100.0, 0) is None
    assert rates.rate(("a",), 100.5, SECOND) is None
    assert rates.rate(("a",), 102.0, SECOND) == SECOND // 2
    assert rates.rate(("b",), 102.0, 7) is None
    for at in range(103, 200):
        busy = SECOND if at < 150 else SECOND + (at - 150) * SECOND // 4
        found = rates.rate(("a",), float(at), busy)
    assert found == SECOND // 4


def test_a_counter_that_began_anew_has_no_rate_yet() -> None:
    rates = CpuRates()
    rates.rate((), 100.0, 5 * SECOND)
    assert rates.rate((), 105.0, SECOND) is None
    assert rates.rate((), 110.0, 2 * SECOND) == SECOND // 5
    assert rates.rate((), 90.0, 3 * SECOND) is None  # nor has a clock that went back


def test_what_is_not_kept_is_forgotten() -> None:
    rates = CpuRates()
    for key in (("a",), ("b",)):
        rates.rate(key, 100.0, 0)
    rates.keep([("a",)])
    assert rates.rate(("a",), 101.0, SECOND) == SECOND
    assert rates.rate(("b",), 101.0, SECOND) is None


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(0, SECOND)), min_size=1, max_size=60))
def test_rates_are_never_negative_nor_above_what_was_used(steps: list[tuple[float, int]]) -> None:
    rates, at, cpu = CpuRates(), 1000.0, 0
    for wait, used in steps:
        at, cpu = at + wait, cpu + used
        found = rates.rate((), at, cpu)
        assert found is None or 0 <= found <= cpu
    assert len(rates._samples[()]) <= SPAN + 2


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 100)), max_size=20))
def test_the_nodes_cpu_never_falls(rounds: list[dict[str, int]]) -> None:
    node, before = NodeCpu(), 0
    for counters in rounds:
        total = node.total([usage(uid, cpu) for uid, cpu in counters.items()])
        assert total >= before
        assert total >= sum(counters.values())
        before = total


def test_levels_add_up() -> None:
    uses = [Use(1.0, 5, 10, 8, 6, 4, 2), Use(2.0, 5, 1, 2, 3, 4, 5)]
    assert summed(uses, 3.0, 99) == Use(3.0, 99, 11, 10, 9, 8, 7)
