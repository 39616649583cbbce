"""The doctor's judgement of the zones' network."""

from pathlib import Path

import pytest

from provider.cloud.runtime.docker_engine.host_routes import HostNetwork
from provider.cluster.doctor_finding import State
from provider.cluster.network_facts import check_forwarding, check_host_path, check_neighbours


@pytest.mark.parametrize(("value", "state"), [("1", State.OK), ("0", State.MISSING)])
def test_forwarding(tmp_path: Path, value: str, state: State) -> None:
    (tmp_path / "ip_forward").write_text(value + "\n")
    finding = check_forwarding(tmp_path)
    assert finding.state is state
    assert finding.advice == ("" if state is State.OK else "sysctl -w net.ipv4.ip_forward=1")


@pytest.mark.parametrize(("value", "state"), [("1024", State.OK), ("128", State.NOTE)])
def test_neighbours(tmp_path: Path, value: str, state: State) -> None:
    file = tmp_path / "neigh" / "default" / "gc_thresh3"
    file.parent.mkdir(parents=True)
    file.write_text(value + "\n")
    finding = check_neighbours(tmp_path)
    assert finding.state is state
    assert ("gc_thresh3=4096" in finding.advice) is (state is State.NOTE)


def test_a_kernel_that_does_not_tell_is_not_blamed(tmp_path: Path) -> None:
    assert (check_forwarding(tmp_path).found, check_neighbours(tmp_path).found) == ("unknown", "unknown entries")


def test_the_hosts_way_to_pods_is_told_and_never_wanted() -> None:
    routes = [HostNetwork("0.0.0.0/0", "eth0"), HostNetwork("10.1.0.0/16", "tun0")]
    without = check_host_path(["10.2.0.0/22"], routes)
    assert (without.state, without.found) == (State.OK, "this host has no route to pods")
    assert check_host_path(["10.1.4.0/22"], routes).found == "this host routes to 10.1.4.0/22"
