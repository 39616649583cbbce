"""Blocks for vSwitches are clear of everything in use."""

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provider.cloud.addresses.free_blocks import (
    METADATA,
    AddressClashError,
    Occupied,
    choose_blocks,
    occupied,
    refuse_clashes,
)


def networks() -> st.SearchStrategy[list[IPv4Network]]:
    one = st.builds(
        lambda address, mask: IPv4Network((address, mask), strict=False),
        st.integers(0x0A000000, 0x0A0FFFFF) | st.integers(0, 2**32 - 1),
        st.integers(9, 32),
    )
    return st.lists(one, max_size=12)


def used(*cidrs: str) -> tuple[Occupied, ...]:
    return occupied((cidr, "test") for cidr in cidrs)


def test_the_first_blocks_are_taken_when_nothing_is_in_use() -> None:
    assert choose_blocks(3, (), ()) == ("10.0.0.0/22", "10.0.4.0/22", "10.0.8.0/22")


def test_a_single_address_in_use_costs_its_block() -> None:
    assert choose_blocks(2, (), used("10.0.5.7/32")) == ("10.0.0.0/22", "10.0.8.0/22")


def test_configured_blocks_are_kept_clear_too() -> None:
    assert choose_blocks(1, ["10.0.0.0/16"], used("10.1.0.0/16")) == ("10.2.0.0/22",)


def test_the_next_private_range_follows_a_full_one() -> None:
    assert choose_blocks(1, (), used("10.0.0.0/8", "172.16.0.0/22")) == ("172.16.4.0/22",)


def test_ranges_that_lie_in_each_other_count_once() -> None:
    assert choose_blocks(1, (), used("10.0.0.0/12", "10.0.1.0/24")) == ("10.16.0.0/22",)


def test_too_few_blocks_are_told() -> None:
    everything = used(
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/17", "192.168.128.0/18", "192.168.192.0/19", "192.168.224.0/20"
    )
    assert len(choose_blocks(4, (), everything)) == 4
    with pytest.raises(AddressClashError, match=r"5 free /22 blocks are needed, .* hold 4"):
        choose_blocks(5, (), everything)


def test_no_block_is_asked_for() -> None:
    assert choose_blocks(0, (), ()) == ()


@given(networks(), st.integers(1, 40))
def test_chosen_blocks_touch_nothing(taken: list[IPv4Network], count: int) -> None:
    chosen = [IPv4Network(block) for block in choose_blocks(count, (), [Occupied(net, "x") for net in taken])]
    assert all(block.prefixlen == 22 and block.is_private for block in chosen)
    everything = [*taken, METADATA.network]
    assert not any(block.overlaps(net) for block in chosen for net in everything)
    assert len(set(chosen)) == count


@given(networks())
def test_no_earlier_block_was_free(taken: list[IPv4Network]) -> None:
    (text,) = choose_blocks(1, (), [Occupied(net, "x") for net in taken])
    chosen = IPv4Network(text)
    if chosen.overlaps(IPv4Network("10.0.0.0/10")):
        for address in range(0x0A000000, int(chosen.network_address), 1024):
            assert any(IPv4Network((address, 22)).overlaps(net) for net in taken)


def test_a_clash_names_the_interface() -> None:
    with pytest.raises(AddressClashError) as caught:
        refuse_clashes(
            ["10.0.0.0/22", "10.9.0.0/24"], occupied([("10.0.1.0/24", "interface eth0"), ("10.0.0.0/16", "tun0")])
        )
    assert caught.value.mistakes == (
        "10.0.0.0/22 clashes with 10.0.1.0/24 of interface eth0",
        "10.0.0.0/22 clashes with 10.0.0.0/16 of tun0",
    )


def test_the_metadata_address_is_never_given_out() -> None:
    with pytest.raises(AddressClashError, match="metadata service"):
        refuse_clashes(["100.100.100.0/24"], ())


def test_clear_blocks_pass() -> None:
    refuse_clashes(["10.0.0.0/22"], used("10.0.4.0/22"))


def test_the_default_route_and_ipv6_hold_no_block() -> None:
    assert occupied(
        [("0.0.0.0/0", "eth0"), ("128.0.0.0/1", "tun0"), ("fe80::/64", "eth0"), ("172.17.0.1/16", "docker0")]
    ) == (Occupied(IPv4Network("172.17.0.0/16"), "docker0"),)
