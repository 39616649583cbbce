from __future__ import annotations

import json
import socket
import tempfile
from pathlib import Path

import pytest

from provider.cluster import stock_removal
from provider.cluster.stock_layout import StockLayout
from provider.cluster.stock_removal import release_addresses, remove_links, shims

ID, OTHER = "a" * 64, "b" * 64


@pytest.fixture
def layout(tmp_path: Path) -> StockLayout:
    return StockLayout("zonelet", tmp_path / "state")


def test_only_the_nodes_own_shims_are_found(
    layout: StockLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = {
        "11": ["/usr/bin/containerd-shim-runc-v2", "-namespace", "k8s.io", "-address", str(layout.socket)],
        "12": ["/usr/bin/containerd-shim-runc-v2", "-namespace", "moby", "-address", "/run/docker/containerd.sock"],
        "13": ["tail", "-address", str(layout.socket)],
    }
    for pid, line in words.items():
        (tmp_path / "proc" / pid).mkdir(parents=True)
        (tmp_path / "proc" / pid / "cmdline").write_bytes("\0".join([*line, ""]).encode())
    (tmp_path / "proc" / "self").mkdir()
    monkeypatch.setattr(stock_removal, "_PROC", tmp_path / "proc")
    assert shims(layout) == [11]


def test_results_of_other_networks_stay(layout: StockLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = tmp_path / "cni" / "results"
    results.mkdir(parents=True)
    own = results / f"{layout.bridge}-{ID}-eth0"
    own.write_text(json.dumps({"containerId": ID, "ifName": "eth0"}))
    for name in (f"cni-loopback-{ID}-lo", f"cni-loopback-{OTHER}-lo", f"others-{OTHER}-eth0"):
        (results / name).touch()
    monkeypatch.setattr(stock_removal, "_RESULTS", results)
    release_addresses(layout, None)
    assert {each.name for each in results.iterdir()} == {f"cni-loopback-{OTHER}-lo", f"others-{OTHER}-eth0"}


def test_published_ports_are_given_back_by_the_plugin(
    layout: StockLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, plugins = tmp_path / "results", tmp_path / "plugins"
    results.mkdir()
    plugins.mkdir()
    ports = [{"hostPort": 18080, "containerPort": 80, "protocol": "tcp"}]
    kept = {"containerId": ID, "ifName": "eth0", "capabilityArgs": {"portMappings": ports}}
    (results / f"{layout.bridge}-{ID}-eth0").write_text(json.dumps(kept))
    (plugins / "portmap").write_text(
        f'#!/bin/sh\necho "$CNI_COMMAND $CNI_CONTAINERID" > {tmp_path}/asked\ncat >> {tmp_path}/asked\n'
    )
    (plugins / "portmap").chmod(0o755)
    monkeypatch.setattr(stock_removal, "_RESULTS", results)
    release_addresses(layout, plugins)
    asked, config = (tmp_path / "asked").read_text().splitlines()
    assert asked == f"DEL {ID}"
    assert json.loads(config)["runtimeConfig"] == {"portMappings": ports}
    assert not results.exists()


def test_links_to_logs_that_are_there_and_a_socket_that_answers_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = tmp_path / "links"
    links.mkdir()
    (tmp_path / "there").touch()
    (links / "there.log").symlink_to(tmp_path / "there")
    (links / "gone.log").symlink_to(tmp_path / "gone")
    monkeypatch.setattr(stock_removal, "_LINKS", links)
    with tempfile.TemporaryDirectory(dir="/tmp") as short:  # a socket's path has 107 bytes at most
        devices = Path(short) / "kubelet" / "device-plugins"
        devices.mkdir(parents=True)
        monkeypatch.setattr(stock_removal, "_DEVICES", devices / "kubelet.sock")
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(devices / "kubelet.sock"))
            listening.listen()
            remove_links()
            assert [each.name for each in links.iterdir()] == ["there.log"]
            assert (devices / "kubelet.sock").exists()
        remove_links()
        assert not devices.parent.exists()
