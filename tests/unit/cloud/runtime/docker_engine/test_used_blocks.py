"""What is in use, under the names people know, without what is our own."""

from ipaddress import IPv4Network
from typing import Any

from provider.cloud.addresses.free_blocks import Occupied
from provider.cloud.runtime.docker_engine.host_routes import HostNetwork
from provider.cloud.runtime.docker_engine.labels import encode_cluster_network
from provider.cloud.runtime.docker_engine.used_blocks import combine


def network(name: str, number: str, *subnets: str, **more: object) -> dict[str, Any]:
    return {"Name": name, "Id": number * 64, "IPAM": {"Config": [{"Subnet": each} for each in subnets]}, **more}


NETWORKS = [
    network("bridge", "a", "172.17.0.0/16", Options={"com.docker.network.bridge.name": "docker0"}),
    network("kind", "b", "172.18.0.0/16", "fc00::/64", Labels=None),
    network("mine-cluster", "c", "10.0.0.0/22", Labels=encode_cluster_network("mine")),
    network("other-cluster", "d", "10.0.4.0/22", Labels=encode_cluster_network("other")),
    {"Name": "host", "Id": "e" * 64, "IPAM": {"Config": None}},
]
HOST = [
    HostNetwork("0.0.0.0/0", "eth0"),
    HostNetwork("192.168.1.0/24", "eth0"),
    HostNetwork("192.168.1.7/32", "eth0"),
    HostNetwork("172.17.0.0/16", "docker0"),
    HostNetwork("10.0.0.0/22", "br-" + "c" * 12),
    HostNetwork("172.18.0.0/16", "br-" + "b" * 12),
    HostNetwork("10.8.0.0/16", "tun0"),
    HostNetwork("10.9.0.0/26", ""),
]


def test_each_block_has_one_owner() -> None:
    assert combine(NETWORKS, HOST, "mine", [("10.96.0.0/16", "cluster services")]) == (
        Occupied(IPv4Network("172.17.0.0/16"), "Docker network bridge"),
        Occupied(IPv4Network("172.18.0.0/16"), "Docker network kind"),
        Occupied(IPv4Network("10.0.4.0/22"), "Docker network other-cluster"),
        Occupied(IPv4Network("192.168.1.0/24"), "interface eth0"),
        Occupied(IPv4Network("10.8.0.0/16"), "interface tun0"),
        Occupied(IPv4Network("10.9.0.0/26"), "a route of this machine"),
        Occupied(IPv4Network("10.96.0.0/16"), "cluster services"),
    )
