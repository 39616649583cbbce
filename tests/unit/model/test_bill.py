"""Money is exact: sums equal the sum of their parts, however they are grouped."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provider.model.bill import UNITS, Outcome, Total, UsageRecord, money, total_of, totals, whole_seconds
from provider.model.ids import InstanceId, PodUid, ZoneId

PRICES = st.none() | st.integers(0, 10**9)
RECORDS = st.builds(
    UsageRecord,
    uid=st.uuids().map(lambda one: PodUid(str(one))),
    id=st.just(InstanceId("eci-1")),
    zone=st.sampled_from(["a", "b", "c"]).map(ZoneId),
    namespace=st.sampled_from(["default", "argo"]),
    name=st.just("pod"),
    cpu=st.integers(0, 64_000),
    memory=st.integers(0, 1 << 40),
    price=PRICES,
    list_price=PRICES,
    started_at=st.floats(0, 2e9),
    seconds=st.integers(0, 10**8),
    outcome=st.sampled_from(Outcome),
)


@given(st.lists(RECORDS, max_size=30))
def test_a_sum_equals_the_sum_of_its_parts_however_it_is_cut(records: list[UsageRecord]) -> None:
    whole = sum(map(total_of, records), Total())
    for key in (lambda one: one.zone, lambda one: (one.namespace, one.outcome), lambda one: one.uid):
        parts = totals(records, key)
        assert sum(parts.values(), Total()) == whole
    assert whole.spent == sum((one.price or 0) * one.seconds for one in records)
    assert whole.attempts == len(records)


@given(st.lists(RECORDS, max_size=30))
def test_waste_is_a_part_of_what_is_spent(records: list[UsageRecord]) -> None:
    whole = sum(map(total_of, records), Total())
    assert 0 <= whole.wasted <= whole.spent
    well = {Outcome.RUNNING, Outcome.SUCCEEDED, Outcome.ENDED}
    assert whole.spent - whole.wasted == sum(one.charge for one in records if one.outcome in well)
    assert whole.saved + whole.spent == sum((one.list_price or 0) * one.seconds for one in records)


@given(st.integers(0, 2_000_000_000_000), st.integers(0, 10**10))
def test_a_started_second_counts_once(start: int, milliseconds: int) -> None:
    seconds = whole_seconds(start / 1000, (start + milliseconds) / 1000)
    assert seconds == -(-milliseconds // 1000)


def test_a_clock_that_was_set_back_costs_nothing() -> None:
    assert whole_seconds(1_000.0, 900.0) == 0


@given(st.integers(-(10**20), 10**20), st.integers(0, 9))
def test_what_is_shown_is_off_by_half_of_its_last_digit_at_most(units: int, decimals: int) -> None:
    assert abs(Fraction(money(units, decimals)) - Fraction(units, UNITS)) <= Fraction(1, 2 * 10**decimals)


@pytest.mark.parametrize(
    ("units", "decimals", "text"),
    [
        (441_072 * 3600, 6, "0.441072"),
        (441_072 * 3600, 4, "0.4411"),
        (-1, 6, "0.000000"),
        (-UNITS, 2, "-1.00"),
        (0, 0, "0"),
    ],
)
def test_money_is_a_decimal_number(units: int, decimals: int, text: str) -> None:
    assert money(units, decimals) == text
