"""The doctor's judgement of the network."""

from pathlib import Path

import pytest

from provider.cloud.addresses.free_blocks import occupied
from provider.cloud.runtime.docker_engine.host_routes import HostNetwork
from provider.cluster.network_facts import check_blocks, check_host_path, check_kernel, check_sockets


def kernel(root: Path, forward: str, bridged: str | None, neighbours: str) -> Path:
    for path, text in (
        ("ipv4/ip_forward", forward),
        ("bridge/bridge-nf-call-iptables", bridged),
        ("ipv4/neigh/default/gc_thresh3", neighbours),
    ):
        if text is not None:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text + "\n")
    return root


def test_a_kernel_in_order(tmp_path: Path) -> None:
    findings = check_kernel(kernel(tmp_path, "1", "1", "1024"))
    assert [(each.check, each.ok, each.advice) for each in findings] == [
        ("ip_forward", True, ""),
        ("bridge-nf-call-iptables", True, ""),
        ("neighbour table", True, ""),
    ]
    assert "pass the host's firewall" in findings[1].found


def test_a_kernel_that_needs_settings(tmp_path: Path) -> None:
    forward, bridged, neighbours = check_kernel(kernel(tmp_path, "0", None, "128"))
    assert (forward.ok, neighbours.ok) == (False, False)
    assert "sysctl -w net.ipv4.ip_forward=1" in forward.advice
    assert "gc_thresh3=4096" in neighbours.advice
    assert "not loaded" in bridged.found


@pytest.mark.parametrize(
    ("capabilities", "engine", "advice"),
    [
        ("000001ffffffffff", "unix://localhost", ""),
        ("00000000a80425fb", "unix://localhost", "CAP_SYS_ADMIN"),
        ("000001ffffffffff", "tcp://10.1.1.1:2375", "another machine"),
    ],
)
def test_sockets_in_zones(tmp_path: Path, capabilities: str, engine: str, advice: str) -> None:
    status = tmp_path / "status"
    status.write_text(f"Name:\tpython\nCapEff:\t{capabilities}\n")
    finding = check_sockets(status, engine)
    assert finding.ok is (advice == "")
    assert advice in finding.advice


def test_blocks() -> None:
    used = occupied([("10.0.0.0/16", "interface tun0")])
    free = check_blocks(["10.1.0.0/22"], 1, used)
    assert (free.ok, free.found) == (True, "10.1.0.0/22 is free, 10.1.4.0/22 would be chosen")
    taken = check_blocks(["10.0.4.0/22"], 0, used)
    assert (taken.ok, taken.found) == (False, "10.0.4.0/22 clashes with 10.0.0.0/16 of interface tun0")
    assert taken.advice


def test_the_hosts_way_to_pods_is_told_and_never_wanted() -> None:
    routes = [HostNetwork("0.0.0.0/0", "eth0"), HostNetwork("10.1.0.0/16", "tun0")]
    without = check_host_path(["10.2.0.0/22"], routes)
    assert without.ok
    assert "no route to pods" in without.found
    assert check_host_path(["10.1.4.0/22"], routes).found == "this host routes to 10.1.4.0/22"
