"""Blocks are chosen once, stay, and never clash in silence."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provider.cloud.addresses.block_choice import Blocks, settle_blocks
from provider.cloud.addresses.free_blocks import AddressClashError, occupied
from provider.model.ids import ZoneId

A, B = ZoneId("zone-a"), ZoneId("zone-b")


def test_the_cluster_comes_first_then_the_zones_and_all_clear_of_what_is_used() -> None:
    used = occupied([("10.0.0.0/21", "interface tun0")])
    assert settle_blocks([A, B], ["10.0.12.0/22"], used) == Blocks(
        "10.0.8.0/22", {A: "10.0.16.0/22", B: "10.0.20.0/22"}
    )


def test_a_joined_network_needs_no_block() -> None:
    assert settle_blocks([A], [], [], cluster=False) == Blocks("", {A: "10.0.0.0/22"})


def test_what_was_chosen_stays_and_can_be_stored() -> None:
    first = settle_blocks([A], [], [])
    stored = msgspec.json.decode(msgspec.json.encode(first), type=Blocks)
    assert settle_blocks([A], [], [], stored) == first
    more = settle_blocks([B, A], [], [], stored)
    assert (more.cluster, more.zones[A], more.zones[B]) == (first.cluster, first.zones[A], "10.0.8.0/22")
    assert settle_blocks([], [], [], more) == more  # a zone that is gone may have left its network


def test_a_configured_block_that_clashes_names_the_other() -> None:
    with pytest.raises(AddressClashError, match=r"10\.8\.0\.0/22 clashes with 10\.8\.0\.0/16 of interface tun0"):
        settle_blocks([], ["10.8.0.0/22"], occupied([("10.8.0.0/16", "interface tun0")]))


@pytest.mark.parametrize(
    ("configured", "used", "lines"),
    [
        ([], [("10.0.0.0/20", "interface tun0")], ["the cluster's network", "zone zone-a"]),
        (["10.0.4.0/24"], [], ["zone zone-a"]),
    ],
)
def test_an_earlier_choice_that_clashes_now_is_told(
    configured: list[str], used: list[tuple[str, str]], lines: list[str]
) -> None:
    stored = settle_blocks([A], [], [])
    with pytest.raises(AddressClashError, match="zonelet down") as caught:
        settle_blocks([A], configured, occupied(used), stored)
    assert len(caught.value.mistakes) == len(lines)
    for line in lines:
        assert any(line in mistake for mistake in caught.value.mistakes)


@given(st.sets(st.integers(0, 63)), st.integers(0, 5), st.integers(0, 5))
def test_no_two_blocks_overlap(taken: set[int], first: int, more: int) -> None:
    used = occupied([(f"10.0.{4 * number}.0/22", "somebody") for number in taken])
    zones = [ZoneId(f"z{number}") for number in range(first + more)]
    once = settle_blocks(zones[:first], [], used)
    blocks = settle_blocks(zones, [], used, once)
    everything = [blocks.cluster, *blocks.zones.values(), *(str(each.network) for each in used)]
    assert len(set(everything)) == len(everything) == 1 + first + more + len(taken)
    assert blocks.zones.items() >= once.zones.items()
