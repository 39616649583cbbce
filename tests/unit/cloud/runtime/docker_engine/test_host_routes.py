"""The kernel's routes, from bytes and from the real kernel."""

import struct
from ipaddress import IPv4Address

import pytest

from provider.cloud.runtime.docker_engine.host_routes import HostNetwork, host_networks, parse

DST, OIF, MULTIPATH = 1, 4, 9


def attribute(kind: int, value: bytes) -> bytes:
    raw = struct.pack("=HH", 4 + len(value), kind) + value
    return raw.ljust(-(-len(raw) // 4) * 4, b"\0")


def message(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 2, 1, 0) + body


def route(cidr: str, kind: int = 1, *attributes: bytes) -> bytes:
    address, _, length = cidr.partition("/")
    head = struct.pack("=BBBBBBBBI", 2, int(length), 0, 0, 254, 3, 0, kind, 0)
    destination = attribute(DST, IPv4Address(address).packed) if length != "0" else b""
    return message(24, head + destination + b"".join(attributes))


def out(index: int) -> bytes:
    return attribute(OIF, struct.pack("=i", index))


DONE = message(3, bytes(4))


def test_routes_of_every_kind() -> None:
    hops = attribute(MULTIPATH, struct.pack("=HBBi", 8, 0, 0, 7) + struct.pack("=HBBi", 8, 0, 0, 8))
    answer = b"".join(
        [
            route("0.0.0.0/0", 1, out(2)),
            route("10.8.0.0/16", 1, out(3)),
            route("10.9.0.0/16", 1, hops),
            route("10.10.0.0/26", 6),  # a blackhole leads nowhere
            route("10.8.255.255/32", 3, out(3)),  # broadcast
            route("224.0.0.0/4", 5, out(3)),  # multicast
            DONE,
        ]
    )
    assert list(parse(answer, "if{}".format)) == [
        HostNetwork("0.0.0.0/0", "if2"),
        HostNetwork("10.8.0.0/16", "if3"),
        HostNetwork("10.9.0.0/16", "if7"),
        HostNetwork("10.10.0.0/26", ""),
    ]


def test_an_address_stands_for_its_network() -> None:
    head = struct.pack("=BBBBI", 2, 24, 0, 0, 5)
    answer = message(20, head + attribute(1, IPv4Address("10.7.0.9").packed)) + message(20, head) + DONE
    assert list(parse(answer, "if{}".format)) == [HostNetwork("10.7.0.0/24", "if5")]


def test_the_kernels_refusal_is_an_error() -> None:
    with pytest.raises(OSError, match="does not tell") as caught:
        list(parse(message(2, struct.pack("=i", -1) + bytes(16)), str))
    assert caught.value.errno == 1


def test_the_real_kernel() -> None:
    assert HostNetwork("127.0.0.0/8", "lo") in host_networks()
