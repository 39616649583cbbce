"""Who has what: asked for again, found, held for nobody, given back."""

from __future__ import annotations

import pytest

from provider.cloud.capacity.ledger import Size
from provider.cloud.instances.placement import Grant, Placement
from provider.model.capacity import VSwitch, Zone
from provider.model.errors import CloudCode, CloudError
from provider.model.ids import PodUid, VSwitchId, ZoneId
from provider.model.stock import StockChange

ZONE, SMALL, LARGE = ZoneId("zone-a"), VSwitchId("small"), VSwitchId("large")
SIZE = Size(1_000, 1 << 30)
A, B = PodUid("a"), PodUid("b")


@pytest.fixture
def placement() -> Placement:
    vswitches = (VSwitch(SMALL, "10.220.0.0/29"), VSwitch(LARGE, "10.220.1.0/24"))
    return Placement([Zone(id=ZONE, cpu=2_000, memory=4 << 30, vswitches=vswitches)])


def used(placement: Placement) -> tuple[int, int, int]:
    status = placement.status(ZONE, None)
    return status.instances, status.waiting, sum(one.used for one in status.vswitches)


def test_who_has_a_place_and_asks_again_is_told_the_same(placement: Placement) -> None:
    assert placement.ask(A, ZONE, (SIZE,), ()) is None
    granted = placement.next_grant(ZONE)
    assert granted == Grant(A, SMALL, "10.220.0.1", SIZE)
    assert placement.ask(A, ZONE, (SIZE,), ()) == granted
    assert placement.next_grant(ZONE) is None
    assert used(placement) == (1, 0, 1)
    placement.release(A)
    assert used(placement) == (0, 0, 0)


def test_who_waits_and_asks_again_waits_once(placement: Placement) -> None:
    assert [placement.ask(A, ZONE, (SIZE,), ()) for _ in range(2)] == [None, None]
    assert (placement.is_waiting(A), used(placement)) == (True, (0, 1, 0))
    assert placement.refusal(A).code is CloudCode.NO_STOCK
    placement.release(A)
    assert (placement.is_waiting(A), used(placement)) == (False, (0, 0, 0))


def test_what_is_held_goes_to_its_own_and_to_nobody_else(placement: Placement) -> None:
    assert placement.hold(A, ZONE, SMALL, "10.220.0.1") == ""
    assert used(placement) == (0, 0, 1)
    placement.ask(B, ZONE, (SIZE,), ())
    assert placement.next_grant(ZONE) == Grant(B, SMALL, "10.220.0.2", SIZE)
    assert placement.ask(A, ZONE, (SIZE,), ()) == Grant(A, SMALL, "10.220.0.1", SIZE)
    assert used(placement) == (2, 0, 2)
    for uid in (A, B):
        placement.release(uid)
    assert used(placement) == (0, 0, 0)


def test_what_already_runs_is_not_denied_stock(placement: Placement) -> None:
    placement.hold(A, ZONE, SMALL, "10.220.0.1")
    placement.ask(B, ZONE, (Size(2_000, 1),), ())
    placement.next_grant(ZONE)
    assert placement.ask(A, ZONE, (SIZE,), ()) == Grant(A, SMALL, "10.220.0.1", SIZE)
    assert placement.status(ZONE, None).cpu_used == 3_000


@pytest.mark.parametrize(
    ("zone", "vswitches", "suits"),
    [(ZONE, (), True), (ZONE, (LARGE, SMALL), True), (ZONE, (LARGE,), False), (ZoneId("zone-b"), (), False)],
)
def test_a_found_place_suits_who_would_ask_for_it(
    placement: Placement, zone: ZoneId, vswitches: tuple[VSwitchId, ...], suits: bool
) -> None:
    assert not placement.suits(A, zone, vswitches)
    placement.hold(A, ZONE, SMALL, "10.220.0.1")
    assert placement.suits(A, zone, vswitches) is suits


def test_who_waits_for_a_zone_that_is_no_longer_there_is_told_so(placement: Placement) -> None:
    gone = ZoneId("gone")
    assert placement.ask(A, gone, (SIZE,), ()) is None
    assert not placement.is_waited_for(gone)
    assert placement.waiting(gone) == [A]
    assert placement.refusal(A).code is CloudCode.ZONE_NOT_ON_SALE
    placement.release(A)
    assert not placement.is_waiting(A)


def test_what_cannot_be_held_is_told(placement: Placement) -> None:
    placement.hold(A, ZONE, SMALL, "10.220.0.1")
    assert "in use" in placement.hold(B, ZONE, SMALL, "10.220.0.1")
    assert "no longer configured" in placement.hold(B, ZONE, VSwitchId("gone"), "10.220.0.1")
    assert "not configured" in placement.hold(B, ZoneId("zone-b"), SMALL, "10.220.0.1")
    placement.ask(B, ZONE, (SIZE,), ())
    assert "waits" in placement.hold(B, ZONE, SMALL, "10.220.0.2")
    assert used(placement) == (0, 1, 1)


def test_priority_goes_before_arrival_and_who_fits_passes_who_does_not(placement: Placement) -> None:
    first, large, small, important = (PodUid(name) for name in ("first", "large", "small", "important"))
    placement.ask(first, ZONE, (SIZE,), ())
    placement.ask(large, ZONE, (Size(2_000, 1),), ())
    placement.ask(small, ZONE, (Size(500, 1),), ())
    placement.ask(important, ZONE, (SIZE,), (), priority=5)
    served = []
    while (grant := placement.next_grant(ZONE)) is not None:
        served.append(grant.uid)
    assert served == [important, first]
    placement.release(first)
    assert placement.next_grant(ZONE) == Grant(small, SMALL, "10.220.0.3", Size(500, 1))
    assert placement.next_grant(ZONE) is None
    assert placement.refusal(large).message == "zone zone-a has not enough cpu"


def test_stock_that_comes_is_sold_and_stock_that_goes_is_not(placement: Placement) -> None:
    placement.change_stock(ZONE, StockChange(zone=ZONE, closed=True))
    placement.ask(A, ZONE, (SIZE,), ())
    assert placement.next_grant(ZONE) is None
    (pool,) = placement.status(ZONE, None).stock
    assert (pool.queued.instances, pool.queued.cpu) == (1, SIZE.cpu)
    placement.change_stock(ZONE, None)
    assert placement.next_grant(ZONE) is not None


def test_of_several_sizes_the_first_that_fits_is_sold(placement: Placement) -> None:
    large, small = Size(2_000, 1), Size(500, 1)
    placement.check(ZONE, (Size(9_000, 1), small), ())
    placement.ask(A, ZONE, (SIZE,), ())
    placement.next_grant(ZONE)
    placement.ask(B, ZONE, (large, SIZE, small), ())
    assert placement.next_grant(ZONE) == Grant(B, SMALL, "10.220.0.2", SIZE)
    assert placement.ask(B, ZONE, (large, SIZE, small), ()) == Grant(B, SMALL, "10.220.0.2", SIZE)
    assert placement.status(ZONE, None).cpu_used == 2_000


def test_who_waits_with_several_sizes_is_told_what_the_first_lacks(placement: Placement) -> None:
    placement.ask(A, ZONE, (Size(2_000, 1),), ())
    placement.next_grant(ZONE)
    placement.ask(B, ZONE, (Size(1_000, 1), Size(500, 1)), ())
    assert placement.next_grant(ZONE) is None
    assert placement.refusal(B).message == "zone zone-a has not enough cpu"


def test_sizes_of_which_none_can_ever_be_sold_are_refused(placement: Placement) -> None:
    with pytest.raises(CloudError, match=r"can never sell 9000m"):
        placement.check(ZONE, (Size(9_000, 1), Size(8_000, 1)), ())
