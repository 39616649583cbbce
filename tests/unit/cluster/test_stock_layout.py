from __future__ import annotations

import tomllib
from pathlib import Path

from provider.cluster.stock_layout import StockLayout, StockRecord, cni_config, containerd_config, kubelet_config

STATE = Path("/var/lib/zonelet/zonelet")
LAYOUT = StockLayout("zonelet", STATE)
RECORD = StockRecord(pod_cidr="10.0.16.0/22", address="10.0.0.1", port=10250)
LONGEST_INTERFACE_NAME = 15
LONGEST_SOCKET = 107


def test_everything_is_below_one_directory() -> None:
    places = (LAYOUT.record, LAYOUT.socket, LAYOUT.tasks, LAYOUT.logs, LAYOUT.cni, LAYOUT.addresses, LAYOUT.kubelet)
    assert all(place.is_relative_to(STATE / "stock") for place in places)
    config = tomllib.loads(containerd_config(LAYOUT, Path("/plugins")))
    assert config["root"] == "/var/lib/zonelet/zonelet/stock/containerd"
    assert LAYOUT.tasks.is_relative_to(config["state"])


def test_two_installations_share_neither_bridge_nor_cgroup() -> None:
    other = StockLayout("a-name-of-thirty-two-characters-", STATE)
    assert LAYOUT.bridge != other.bridge
    assert LAYOUT.cgroup != other.cgroup
    assert len(other.bridge) <= LONGEST_INTERFACE_NAME


def test_containerd_is_configured_for_this_machine() -> None:
    config = tomllib.loads(containerd_config(LAYOUT, Path("/plugins")))
    cri = config["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["restrict_oom_score_adj"] is True
    assert cri["netns_mounts_under_state_dir"] is True
    assert cri["cni"] == {"bin_dir": "/plugins", "conf_dir": str(LAYOUT.cni)}
    assert config["grpc"]["address"] == str(LAYOUT.socket)


def test_kubelet_lets_nobody_in_whom_the_api_server_does_not_know() -> None:
    config = kubelet_config(LAYOUT, RECORD, Path("/ca.crt"))
    assert config["authentication"]["anonymous"] == {"enabled": False}
    assert config["authentication"]["x509"] == {"clientCAFile": "/ca.crt"}
    assert config["authorization"] == {"mode": "Webhook"}
    assert (config["address"], config["port"]) == ("10.0.0.1", 10250)


def test_kubelet_uses_the_nodes_own_cgroup_and_containerd_and_taints_itself() -> None:
    config = kubelet_config(LAYOUT, RECORD, Path("/ca.crt"))
    assert config["cgroupRoot"] == f"/{LAYOUT.cgroup}"
    assert config["containerRuntimeEndpoint"] == f"unix://{LAYOUT.socket}"
    assert config["registerWithTaints"] == [{"key": "zonelet.dev/stock", "effect": "NoSchedule"}]


def test_pods_get_addresses_of_the_nodes_block_and_published_ports() -> None:
    bridge, ports = cni_config(LAYOUT, RECORD)["plugins"]
    assert bridge["ipam"]["ranges"] == [[{"subnet": "10.0.16.0/22"}]]
    assert bridge["bridge"] == LAYOUT.bridge
    assert ports["type"] == "portmap"
