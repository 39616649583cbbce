"""Stock of a zone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provider.cloud.capacity.ledger import Size, StockLedger
from provider.model.capacity import Zone
from provider.model.errors import CloudCode, CloudError
from provider.model.ids import PodUid, ZoneId


def ledger(instances: int | None = None) -> StockLedger:
    return StockLedger(Zone(id=ZoneId("zone-a"), cpu=4000, memory=8000, instances=instances))


@pytest.mark.parametrize(("size", "lacks"), [(Size(4001, 1), "cpu"), (Size(1, 8001), "memory")])
def test_a_size_that_never_fits_has_no_retry(size: Size, lacks: str) -> None:
    with pytest.raises(CloudError, match=lacks) as caught:
        ledger().reserve(PodUid("a"), size)
    assert caught.value.code is CloudCode.NO_STOCK
    assert caught.value.retry_after is None


def test_a_full_zone_sells_again_after_a_release() -> None:
    subject = ledger()
    subject.reserve(PodUid("a"), Size(3000, 1))
    with pytest.raises(CloudError) as caught:
        subject.reserve(PodUid("b"), Size(2000, 1))
    assert caught.value.retry_after is not None
    assert subject.instances == 1
    subject.release(PodUid("a"))
    subject.reserve(PodUid("b"), Size(2000, 1))
    assert (subject.cpu_used, subject.memory_used) == (2000, 1)


def test_the_cap_of_instances_counts() -> None:
    subject = ledger(instances=1)
    subject.reserve(PodUid("a"), Size(1, 1))
    with pytest.raises(CloudError, match="instances"):
        subject.reserve(PodUid("b"), Size(1, 1))


def test_one_uid_buys_one_size() -> None:
    subject = ledger()
    subject.reserve(PodUid("a"), Size(1, 1))
    with pytest.raises(CloudError) as caught:
        subject.reserve(PodUid("a"), Size(2, 1))
    assert caught.value.code is CloudCode.INCORRECT_STATUS


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(CloudError) as caught:
        ledger().reserve(PodUid("a"), Size(-1, 1))
    assert caught.value.code is CloudCode.INVALID_PARAMETER


def test_what_runs_is_adopted_above_the_pool() -> None:
    subject = ledger()
    subject.adopt(PodUid("a"), Size(5000, 1))
    subject.adopt(PodUid("a"), Size(5000, 1))
    assert subject.cpu_used == 5000


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 3000), st.integers(0, 6000))))
def test_sold_is_the_sum_and_never_above_the_pool(steps: list[tuple[bool, int, int, int]]) -> None:
    subject = ledger(instances=3)
    for buy, number, cpu, memory in steps:
        uid = PodUid(str(number))
        if buy:
            before = dict(subject.reservations())
            try:
                subject.reserve(uid, Size(cpu, memory))
            except CloudError:
                assert subject.reservations() == before
        else:
            subject.release(uid)
            assert uid not in subject.reservations()
        held = subject.reservations().values()
        assert subject.cpu_used == sum(size.cpu for size in held) <= 4000
        assert subject.memory_used == sum(size.memory for size in held) <= 8000
        assert subject.instances == len(held) <= 3
