import socket

import pytest

from provider.cluster.doctor import check_engine, check_ports, check_subnets

_GOOD = {"ServerVersion": "20.10.24", "OSType": "linux", "CgroupVersion": "1", "CgroupDriver": "cgroupfs"}


def test_a_supported_engine_is_in_order() -> None:
    assert check_engine(_GOOD).ok


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ServerVersion": "19.03.1"}, "older"),
        ({"OSType": "windows"}, "Linux"),
        ({"SecurityOptions": ["name=rootless"]}, "rootless"),
        ({"CgroupDriver": "none"}, "cgroups"),
    ],
)
def test_other_engines_are_refused_with_the_reason(change: dict[str, object], reason: str) -> None:
    finding = check_engine(_GOOD | change)
    assert not finding.ok
    assert reason in finding.advice


def test_an_overlapping_subnet_is_named_and_the_default_route_is_not_one() -> None:
    assert check_subnets(["10.1.0.0/24"], ["0.0.0.0/0", "10.2.0.0/16"]).ok
    assert "10.1.0.0/16" in check_subnets(["10.1.0.0/24"], ["10.1.0.0/16"]).found


def test_a_port_in_use_is_found() -> None:
    with socket.create_server(("", 0)) as server:
        assert not check_ports([server.getsockname()[1]]).ok
