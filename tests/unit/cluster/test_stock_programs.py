"""What the stock node is built from; building it takes minutes and is done by `up --with-stock-node`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from provider.cluster.build import KUBERNETES, Upstream, cached_directory, local_sources, pinned_version
from provider.cluster.metrics_server import METRICS_SERVER
from provider.cluster.steps import SetupError
from provider.cluster.stock_programs import CNI, KUBELET, built_plugins, find_stock_programs, installed_program

if TYPE_CHECKING:
    from pathlib import Path

UPSTREAMS = pytest.mark.parametrize("upstream", [KUBELET, CNI, METRICS_SERVER], ids=lambda upstream: upstream.name)
MACHINES = ("containerd", "containerd-shim-runc-v2", "ctr", "runc", "ip", "iptables")


def required(name: str) -> dict[str, str]:
    text = (local_sources() / name / "go.mod").read_text()
    return dict(re.findall(r"^\t(\S+) (v\S+)(?: // indirect)?$", text, re.MULTILINE))


@UPSTREAMS
def test_the_module_is_pinned_with_its_hash(upstream: Upstream) -> None:
    sums = (local_sources() / upstream.name / "go.sum").read_text()
    assert f"{upstream.module} {pinned_version(upstream)} h1:" in sums


@UPSTREAMS
def test_it_is_unpatched(upstream: Upstream) -> None:
    text = (local_sources() / upstream.name / "go.mod").read_text()
    assert not re.search(r"=> *[./]", text), "a replace by a directory would be a patch"


def test_the_kubelet_is_of_the_control_planes_version_with_the_same_modules() -> None:
    kubelet, control_plane = required("kubelet"), required("kubernetes")
    assert pinned_version(KUBELET) == pinned_version(KUBERNETES)
    differing = {name for name in kubelet.keys() & control_plane.keys() if kubelet[name] != control_plane[name]}
    assert differing == set()


def test_every_program_is_kept_in_the_module_by_a_tool_line() -> None:
    for upstream in (KUBELET, CNI, METRICS_SERVER):
        text = (local_sources() / upstream.name / "go.mod").read_text()
        assert [package for package in upstream.programs.values() if package not in text] == []


def test_a_second_start_builds_nothing_and_needs_no_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for upstream in (KUBELET, CNI):
        (cached_directory(tmp_path, upstream) / "bin").mkdir(parents=True)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in MACHINES:
        (tools / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tools))
    said: list[str] = []
    programs = find_stock_programs(tmp_path, said.append)
    assert said == []
    assert programs.containerd == tools / "containerd"
    assert programs.plugins == built_plugins(tmp_path)


def test_there_are_no_plugins_before_they_are_built(tmp_path: Path) -> None:
    assert built_plugins(tmp_path) is None


def test_a_program_that_the_machine_lacks_is_said_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provider.cluster.stock_programs.shutil.which", lambda *_, **__: None)
    with pytest.raises(SetupError, match=r"has no ctr\n(?s:.*)apt-get install containerd"):
        installed_program("ctr")
