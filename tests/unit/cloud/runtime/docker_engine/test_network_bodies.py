"""What is asked of the engine for networks."""

import pytest

from provider.cloud.runtime.base import RuntimeFault
from provider.cloud.runtime.docker_engine.network import (
    cluster_network,
    gateway_address,
    ipv4_pool,
    router_address,
    vswitch_network,
)
from provider.model.capacity import VSwitch
from provider.model.ids import VSwitchId, ZoneId

MODE = "com.docker.network.bridge.gateway_mode_ipv4"
VSWITCH = VSwitch(VSwitchId("v"), "10.0.4.0/22")


@pytest.mark.parametrize(
    ("cidr", "gateway", "router"),
    [("10.0.4.0/22", "10.0.7.253", "10.0.7.254"), ("10.0.8.0/29", "10.0.8.5", "10.0.8.6")],
)
def test_the_last_three_addresses_of_a_vswitch(cidr: str, gateway: str, router: str) -> None:
    assert (gateway_address(cidr), router_address(cidr)) == (gateway, router)


def test_the_host_has_the_first_address_and_the_engine_gives_the_upper_half() -> None:
    body = cluster_network("zl", "10.0.0.0/22")
    assert body["IPAM"]["Config"] == [{"Subnet": "10.0.0.0/22", "IPRange": "10.0.2.0/23", "Gateway": "10.0.0.1"}]
    assert "com.docker.network.bridge.inhibit_ipv4" not in body["Options"]


@pytest.mark.parametrize(
    ("version", "option"), [("20.10.24+dfsg1", None), ("27.5.1", None), ("28.0.0", "nat-unprotected"), ("dev", None)]
)
def test_newer_engines_are_told_to_let_zones_talk(version: str, option: str | None) -> None:
    assert vswitch_network("zl", ZoneId("z"), VSWITCH, "", version)["Options"].get(MODE) == option
    assert cluster_network("zl", "10.0.0.0/22", version)["Options"].get(MODE) == option


def test_the_ipv4_pool_is_found_beside_ipv6() -> None:
    pools = [{"Subnet": "fc00::/64"}, {"Subnet": "172.18.0.0/16", "Gateway": "172.18.0.1"}]
    assert ipv4_pool({"Name": "kind", "IPAM": {"Config": pools}}) == pools[1]
    with pytest.raises(RuntimeFault, match="network kind has no IPv4"):
        ipv4_pool({"Name": "kind", "IPAM": {"Config": pools[:1]}})
