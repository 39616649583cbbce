from __future__ import annotations

import platform
import socket

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from provider.cloud.addresses.free_blocks import occupied
from provider.cluster.doctor import in_order
from provider.cluster.doctor_cluster import pending_certificates
from provider.cluster.doctor_engine import SUPPORTED, check_engine, check_limits, check_locality
from provider.cluster.doctor_finding import Finding, State
from provider.cluster.doctor_network import check_ports, check_registry, check_subnets, free_space

_GOOD = {
    "ServerVersion": "20.10.24", "OSType": "linux", "CgroupVersion": "1", "CgroupDriver": "cgroupfs",
    "OperatingSystem": "Debian GNU/Linux 12 (bookworm)",
}  # fmt: skip
_DOCKER = {"Components": [{"Name": "Engine", "Version": "20.10.24"}, {"Name": "containerd"}]}


@pytest.mark.parametrize(
    "change",
    [{}, {"ServerVersion": "29.1.0"}, {"CgroupVersion": "2", "CgroupDriver": "systemd"}, {"CgroupVersion": "2"}],
)
def test_rootful_engines_with_both_cgroup_versions_and_drivers_are_supported(change: dict[str, object]) -> None:
    assert check_engine(_GOOD | change, _DOCKER).state is State.OK


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ServerVersion": "19.03.1"}, "older than 20.10"),
        ({"ServerVersion": "unknown"}, "older than 20.10"),
        ({"OSType": "windows"}, "Linux containers"),
        ({"SecurityOptions": ["name=rootless"]}, "rootless"),
        ({"CgroupDriver": "none"}, "no cgroup driver"),
        ({"OperatingSystem": "Docker Desktop"}, "virtual machine"),
    ],
)
def test_other_engines_are_refused_with_the_reason_and_what_is_supported(
    change: dict[str, object], reason: str
) -> None:
    finding = check_engine(_GOOD | change, _DOCKER)
    assert finding.state is State.MISSING
    assert reason in finding.advice
    assert SUPPORTED in finding.advice


def test_podmans_emulation_is_refused_by_name_and_not_for_its_version() -> None:
    finding = check_engine(_GOOD | {"ServerVersion": "4.3.1"}, {"Components": [{"Name": "Podman Engine"}]})
    assert "Podman" in finding.advice
    assert "older" not in finding.advice


def test_a_remote_engine_and_one_in_a_virtual_machine_are_refused() -> None:
    here = {"KernelVersion": platform.release()}
    assert check_locality("unix://localhost", here).ok
    assert "another machine" in check_locality("https://10.0.0.1:2376", here).found
    assert "virtual machine" in check_locality("unix://localhost", {"KernelVersion": "6.6.0-linuxkit"}).found


def test_absent_cgroup_controllers_are_named() -> None:
    full = {"MemoryLimit": True, "CpuCfsQuota": True, "PidsLimit": True, "MemTotal": 8 * 2**30, "NCPU": 2}
    assert [each.state for each in check_limits(full)] == [State.OK, State.OK]
    assert check_limits(full | {"PidsLimit": False})[0].state is State.NOTE
    limits, size = check_limits(full | {"MemoryLimit": False, "MemTotal": 2**30})
    assert (limits.state, limits.found) == (State.MISSING, "absent: memory")
    assert size.state is State.NOTE


def test_an_overlapping_subnet_is_named_with_its_owner_and_the_default_route_is_not_one() -> None:
    assert check_subnets(["10.1.0.0/24"], occupied([("0.0.0.0/0", "interface eth0"), ("10.2.0.0/16", "x")])).ok
    finding = check_subnets(["10.1.0.0/24"], occupied([("10.1.0.0/16", "interface tun0")]))
    assert finding.found == "10.1.0.0/24 overlaps 10.1.0.0/16 of interface tun0"


def test_free_blocks_are_shown_before_they_are_taken() -> None:
    assert "10.0.0.0/22" in free_space(4, [], up=False).found
    everything = occupied([("10.0.0.0/8", "a"), ("172.16.0.0/12", "b"), ("192.168.0.0/16", "c")])
    assert free_space(4, everything, up=False).state is State.MISSING
    assert free_space(4, everything, up=True).ok


def test_a_port_in_use_is_found() -> None:
    with socket.create_server(("", 0)) as server:
        assert not check_ports([server.getsockname()[1]]).ok


async def test_a_registry_that_refuses_strangers_is_in_reach() -> None:
    import asyncio

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=401)

    app = web.Application()
    app.router.add_get("/v2/", refuse)
    async with TestServer(app) as server:
        assert (await asyncio.to_thread(check_registry, [str(server.make_url("/v2/"))])).state is State.OK
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    finding = check_registry([f"http://127.0.0.1:{port}/v2/"])
    assert (finding.state, "preferLocal" in finding.advice) == (State.NOTE, True)


def test_certificates_that_wait_are_named_with_the_command() -> None:
    request = {"metadata": {"name": "csr-1"}, "spec": {"signerName": "kubernetes.io/kubelet-serving"}}
    client = {"metadata": {"name": "csr-2"}, "spec": {"signerName": "kubernetes.io/kube-apiserver-client-kubelet"}}
    assert pending_certificates([request, client], local=False).advice.endswith("kubectl certificate approve csr-1")
    assert "approver" in pending_certificates([request], local=True).advice
    approved = request | {"status": {"conditions": [{"type": "Approved"}]}}
    assert pending_certificates([approved], local=False).ok


def test_notes_do_not_make_it_fail() -> None:
    assert in_order([Finding("a", State.OK, ""), Finding("b", State.NOTE, "")])
    assert not in_order([Finding("b", State.MISSING, "")])
