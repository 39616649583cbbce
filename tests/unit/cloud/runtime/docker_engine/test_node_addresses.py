"""Addresses of the zones' routers on the cluster's network."""

import ipaddress

import pytest

from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.cloud.runtime.docker_engine.node_addresses import node_addresses
from provider.model.ids import ZoneId

A, B, C = (ZoneId(f"zone-{letter}") for letter in "abc")


def test_an_own_network_is_filled_from_below() -> None:
    assert node_addresses("10.0.0.0/22", [A, B], {}, [], own=True) == {A: "10.0.0.2", B: "10.0.0.3"}


def test_what_is_remembered_stays_whatever_the_order() -> None:
    chosen = node_addresses("10.0.0.0/22", [C, B, A], {A: "10.0.0.2", B: "10.0.0.3"}, [], own=True)
    assert chosen == {A: "10.0.0.2", B: "10.0.0.3", C: "10.0.0.4"}


@pytest.mark.parametrize(
    ("remembered", "taken"), [({A: "10.9.0.2"}, []), ({A: "10.0.0.5"}, ["10.0.0.5"])], ids=["elsewhere", "taken"]
)
def test_an_address_that_cannot_stay_is_chosen_anew(remembered: dict[ZoneId, str], taken: list[str]) -> None:
    assert node_addresses("10.0.0.0/22", [A], remembered, taken, own=True) == {A: "10.0.0.2"}


def test_two_zones_that_remember_the_same_do_not_both_get_it() -> None:
    chosen = node_addresses("10.0.0.0/22", [A, B], {A: "10.0.0.9", B: "10.0.0.9"}, [], own=True)
    assert chosen == {A: "10.0.0.9", B: "10.0.0.2"}


def test_somebody_elses_network_is_filled_away_from_both_ends() -> None:
    chosen = node_addresses("172.18.0.0/16", [A, B], {}, ["172.18.223.254"], own=False)
    assert chosen == {A: "172.18.223.255", B: "172.18.223.253"}


@pytest.mark.parametrize("own", [True, False])
def test_every_address_is_used_before_it_is_full_and_none_of_the_ends(own: bool) -> None:
    zones = [ZoneId(f"zone-{number}") for number in range(5)]
    chosen = node_addresses("10.0.0.0/29", zones, {}, [], own=own)
    assert sorted(chosen.values()) == [str(ipaddress.IPv4Network("10.0.0.0/29")[index]) for index in range(2, 7)]
    with pytest.raises(RuntimeFault, match="no free address for zone zone-x") as caught:
        node_addresses("10.0.0.0/29", [*zones, ZoneId("zone-x")], {}, [], own=own)
    assert caught.value.kind is FaultKind.CONFIG
