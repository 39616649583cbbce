"""One pool: what is left to sell, the reserve that spot leaves free, the published words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from provider.cloud.capacity.ledger import StockLedger
from provider.cloud.capacity.stock import LEAST, Size, lacking, limits, merged, sellable, together, word
from provider.model.capacity import Zone
from provider.model.errors import CloudError
from provider.model.ids import PodUid, ZoneId
from provider.model.stock import Amounts, Stock, StockChange, StockWord

ZONE = ZoneId("zone-a")
POOL = Stock(cpu=1_000, memory=1_000, instances=10, spot_reserve=0.2)


@pytest.mark.parametrize(
    ("sold", "closed", "said", "spot"),
    [
        (Amounts(), False, StockWord.WITH_STOCK, StockWord.WITH_STOCK),
        (Amounts(cpu=800), False, StockWord.WITH_STOCK, StockWord.WITHOUT_STOCK),
        (Amounts(cpu=1_000), False, StockWord.WITHOUT_STOCK, StockWord.WITHOUT_STOCK),
        (Amounts(instances=10), False, StockWord.WITHOUT_STOCK, StockWord.WITHOUT_STOCK),
        (Amounts(), True, StockWord.CLOSED_WITH_STOCK, StockWord.CLOSED_WITH_STOCK),
        (Amounts(memory=5_000), True, StockWord.CLOSED_WITHOUT_STOCK, StockWord.CLOSED_WITHOUT_STOCK),
    ],
)
def test_words(sold: Amounts, closed: bool, said: StockWord, spot: StockWord) -> None:
    stock = replace(POOL, closed=closed)
    assert word(stock, sold, LEAST) is said
    assert word(stock, sold, LEAST, interruptible=True) is spot


def test_an_emptied_pool_sells_nothing_even_to_who_asks_for_nothing() -> None:
    ledger = StockLedger(Zone(id=ZONE, cpu=1_000, memory=1_000))
    assert ledger.fits(Size(0, 0))
    ledger.change(StockChange(zone=ZONE, memory=0))
    assert not ledger.fits(Size(0, 0))
    assert ledger.shortage(Size(0, 0)) == "zone zone-a has not enough memory"


def test_a_later_word_leaves_an_earlier_one_about_something_else() -> None:
    said = merged(StockChange(zone=ZONE, cpu=5, closed=True), StockChange(zone=ZONE, closed=False, memory=0))
    assert said == StockChange(zone=ZONE, cpu=5, closed=False, memory=0)


def test_storage_counts_where_the_pool_has_it() -> None:
    ledger = StockLedger(Zone(id=ZONE, cpu=10, memory=10, ephemeral_storage=5))
    ledger.reserve(PodUid("a"), Size(1, 1, 4))
    assert ledger.shortage(Size(1, 1, 2)) == "zone zone-a has not enough ephemeral-storage"
    assert not ledger.can_ever_sell(Size(1, 1, 6))
    assert StockLedger(Zone(id=ZONE, cpu=10, memory=10)).fits(Size(1, 1, 1 << 40))


AMOUNT = st.integers(0, 50)


def test_a_reserve_of_everything_leaves_nothing_to_sell_above_it() -> None:
    limit = limits(Stock(cpu=1_000, memory=1_000, spot_reserve=1.0), interruptible=True)
    assert lacking(limit, together(()), Size(0, 0)) == ["cpu", "memory"]


STEP = st.one_of(
    st.tuples(st.just("buy"), st.integers(0, 9), AMOUNT, AMOUNT, st.booleans()),
    st.tuples(st.just("end"), st.integers(0, 9)),
    st.tuples(st.just("set"), AMOUNT, AMOUNT, st.none() | st.integers(0, 6), st.booleans()),
    st.tuples(st.just("reset")),
)


@given(st.lists(STEP, max_size=60))
def test_whatever_happens_nothing_is_negative_and_no_sale_goes_beyond_what_holds(
    steps: list[tuple[object, ...]],
) -> None:
    ledger = StockLedger(Zone(id=ZONE, cpu=40, memory=40, instances=5, spot_reserve=0.25))
    for step in steps:
        before = ledger.sold
        match step:
            case ("buy", int(number), int(cpu), int(memory), bool(spot)):
                new = PodUid(str(number)) not in ledger.reservations()
                try:
                    ledger.reserve(PodUid(str(number)), Size(cpu, memory), interruptible=spot)
                except CloudError:
                    assert ledger.sold == before
                else:
                    limit = limits(ledger.stock, interruptible=spot)
                    if new:
                        assert ledger.sold.cpu <= limit.cpu
                        assert ledger.sold.memory <= limit.memory
                        assert ledger.sold.instances <= limit.instances
                        assert not ledger.stock.closed
            case ("end", int(number)):
                ledger.release(PodUid(str(number)))
            case ("set", int(cpu), int(memory), cap, bool(closed)):
                change = StockChange(zone=ZONE, cpu=cpu, memory=memory, instances=cap, closed=closed)  # type: ignore[arg-type]
                ledger.change(change)
                assert ledger.sold == before
            case _:
                ledger.change(None)
        status = ledger.status(Amounts())
        left = (status.sellable, status.spot_sellable)
        for each in left:
            assert min(each.cpu, each.memory, each.instances or 0) >= 0
        assert status.spot_sellable.cpu <= status.sellable.cpu
        sells = status.word is StockWord.WITH_STOCK
        assert sells == (min(status.sellable.cpu, status.sellable.memory) > 0 and status.sellable.instances != 0)
        assert sells == ledger.fits(LEAST)
        held = ledger.reservations().values()
        assert ledger.sold == Amounts(sum(s.cpu for s in held), sum(s.memory for s in held), 0, len(held))


def test_nothing_can_be_sold_of_a_closed_pool() -> None:
    found = sellable(limits(replace(POOL, closed=True)), Amounts())
    assert (found.cpu, found.memory, found.instances) == (0, 0, 0)
