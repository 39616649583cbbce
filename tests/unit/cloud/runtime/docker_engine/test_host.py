"""Which engines will do."""

from typing import Any

import pytest

from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.cloud.runtime.docker_engine.cgroups import Limits
from provider.cloud.runtime.docker_engine.host import read_host

VERSION = {"Version": "20.10.24", "ApiVersion": "1.41", "Arch": "amd64", "Os": "linux"}
INFO: dict[str, Any] = {
    "OSType": "linux",
    "OperatingSystem": "Debian",
    "KernelVersion": "6.1",
    "NCPU": 2,
    "SystemTime": "2026-11-24T04:00:00.5Z",
    "MemTotal": 1000,
    "CgroupDriver": "cgroupfs",
    "SecurityOptions": ["name=seccomp,profile=default"],
}


def test_what_the_node_tells_of_its_engine() -> None:
    host = read_host(VERSION, INFO, 0.5, 0.8)
    assert (host.engine.runtime, host.engine.os_image, host.engine.cpus) == ("docker://20.10.24", "Debian", 2)
    assert host.asked_at == 1795492800.5
    assert (host.cap, host.systemd, host.mac_of_endpoint) == (Limits(1500, 800), False, False)
    assert host.leaves_one_by_one
    newer = read_host(VERSION | {"ApiVersion": "1.51"}, INFO | {"CgroupDriver": "systemd"}, 0.5, 0.8)
    assert (newer.systemd, newer.mac_of_endpoint, newer.leaves_one_by_one) == (True, True, False)


@pytest.mark.parametrize(
    ("version", "info", "text"),
    [
        ({"ApiVersion": "1.40"}, {}, "too old: 20.10"),
        ({}, {"OSType": "windows"}, "Linux ones are needed"),
        ({}, {"SecurityOptions": ["name=seccomp", "name=rootless"]}, "rootless"),
        ({}, {"CgroupDriver": "none"}, "cgroup driver is 'none'"),
    ],
)
def test_what_is_refused(version: dict[str, str], info: dict[str, Any], text: str) -> None:
    with pytest.raises(RuntimeFault, match=text) as caught:
        read_host(VERSION | version, INFO | info, 0.5, 0.8)
    assert caught.value.kind is FaultKind.UNSUPPORTED
