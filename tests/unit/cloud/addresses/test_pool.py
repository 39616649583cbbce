"""Addresses of a vSwitch."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provider.cloud.addresses.pool import AddressPool
from provider.model.capacity import VSwitch
from provider.model.errors import CloudCode, CloudError
from provider.model.ids import PodUid, VSwitchId


def pool(cidr: str) -> AddressPool:
    return AddressPool(VSwitch(VSwitchId("vsw-0"), cidr))


@pytest.mark.parametrize(("cidr", "usable"), [("10.0.0.0/29", 4), ("10.0.0.0/24", 252), ("10.0.0.0/16", 65532)])
def test_a_block_reserves_first_and_last_three(cidr: str, usable: int) -> None:
    subject = pool(cidr)
    assert subject.usable == usable
    assert subject.gateway == str(IPv4Network(cidr)[-3])


@pytest.mark.parametrize("cidr", ["10.0.0.0/30", "10.0.0.0/15", "10.0.0.1/24", "fd00::/64", "x"])
def test_a_block_that_cannot_be_sold_is_refused(cidr: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        pool(cidr)


def test_a_used_up_block_says_so_and_a_release_helps() -> None:
    subject = pool("10.0.0.0/29")
    leased = [subject.lease(PodUid(str(index))) for index in range(4)]
    assert leased == ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]
    with pytest.raises(CloudError) as caught:
        subject.lease(PodUid("late"))
    assert caught.value.code is CloudCode.IP_NOT_ENOUGH
    subject.release(PodUid("2"))
    assert subject.lease(PodUid("late")) == "10.0.0.3"
    assert subject.status().used == 4


def test_a_released_address_rests_until_the_others_were_used() -> None:
    subject = pool("10.0.0.0/24")
    first = subject.lease(PodUid("a"))
    subject.release(PodUid("a"))
    assert subject.lease(PodUid("b")) != first


@pytest.mark.parametrize("address", ["10.0.0.0", "10.0.0.5", "10.0.0.7", "10.0.1.1", "9.255.255.255"])
def test_adopt_refuses_what_is_not_usable(address: str) -> None:
    with pytest.raises(CloudError) as caught:
        pool("10.0.0.0/29").adopt(address, PodUid("a"))
    assert caught.value.code is CloudCode.INVALID_PARAMETER


def test_adopt_refuses_a_second_owner_and_a_second_address() -> None:
    subject = pool("10.0.0.0/29")
    subject.adopt("10.0.0.2", PodUid("a"))
    subject.adopt("10.0.0.2", PodUid("a"))
    for address, owner in (("10.0.0.2", "b"), ("10.0.0.3", "a")):
        with pytest.raises(CloudError) as caught:
            subject.adopt(address, PodUid(owner))
        assert caught.value.code is CloudCode.INCORRECT_STATUS
    assert subject.leases() == {"a": "10.0.0.2"}


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 7)), max_size=60))
def test_no_address_has_two_owners_and_none_is_lost(steps: list[tuple[bool, int]]) -> None:
    subject = pool("10.1.2.8/29")
    model: dict[PodUid, str] = {}
    for lease, number in steps:
        owner = PodUid(str(number))
        if not lease:
            subject.release(owner)
            model.pop(owner, None)
        elif owner in model or len(model) < 4:
            address = subject.lease(owner)
            assert model.setdefault(owner, address) == address
        else:
            with pytest.raises(CloudError):
                subject.lease(owner)
        assert subject.leases() == model
        assert len(set(model.values())) == len(model)
        assert all(IPv4Address("10.1.2.9") <= IPv4Address(a) <= IPv4Address("10.1.2.12") for a in model.values())
