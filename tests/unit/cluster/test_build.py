"""What is pinned and how it is built; building itself takes minutes and is done by `make demo`."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from provider.cluster import build
from provider.cluster.build import ARGO, ETCD, KUBERNETES, Upstream, build_all, local_sources, pinned_version

if TYPE_CHECKING:
    from pathlib import Path

UPSTREAMS = pytest.mark.parametrize("upstream", [KUBERNETES, ETCD, ARGO], ids=lambda upstream: upstream.name)


@UPSTREAMS
def test_the_module_is_pinned_with_its_hash(upstream: Upstream) -> None:
    version = pinned_version(upstream)
    sums = (local_sources() / upstream.name / "go.sum").read_text()
    assert f"{upstream.module} {version} h1:" in sums


def test_every_staging_module_is_replaced_by_the_published_one() -> None:
    text = (local_sources() / "kubernetes" / "go.mod").read_text()
    replaced = re.findall(r"^\t(\S+) => (\S+) (v\S+)$", text, re.MULTILINE)
    assert len(replaced) == 33
    minor = pinned_version(KUBERNETES).removeprefix("v1.")
    assert {(source == target, version) for source, target, version in replaced} == {(True, f"v0.{minor}")}


@UPSTREAMS
def test_the_only_replaces_are_published_modules(upstream: Upstream) -> None:
    text = (local_sources() / upstream.name / "go.mod").read_text()
    assert not re.search(r"=> *[./]", text), "a replace by a directory would be a patch"


def test_programs_report_upstream_versions() -> None:
    module = build._Module("v3.7.3", local_sources(), "2025-10-14T10:31:03Z", "bded09f")
    flags = build.link_flags(ARGO, module)
    assert flags.startswith("-s -w -X github.com/argoproj/argo-workflows/v3.version=v3.7.3 ")
    assert "gitCommit=bded09f" in flags
    module = replace(module, version="v1.37.2")
    flags = build.link_flags(KUBERNETES, module)
    assert "k8s.io/component-base/version.gitVersion=v1.37.2" in flags
    assert "k8s.io/client-go/pkg/version.gitMinor=37" in flags


def test_the_key_follows_the_recipe() -> None:
    assert build._key(ETCD) == build._key(ETCD)
    assert build._key(ETCD) != build._key(replace(ETCD, tags="x"))


def test_a_second_start_builds_nothing_and_needs_no_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for upstream in (KUBERNETES, ETCD, ARGO):
        build.cached_directory(tmp_path, upstream).mkdir(parents=True)
    monkeypatch.setenv("PATH", str(tmp_path))
    said: list[str] = []
    binaries = build_all(tmp_path, said.append)
    assert said == []
    assert binaries.control_plane("kube-apiserver").parent == binaries.kubectl.parent
    assert binaries.argoexec.parent.parent == binaries.argo_module.parent


def test_a_pin_that_is_gone_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "etcd").mkdir()
    (tmp_path / "etcd" / "go.mod").write_text("module x\n")
    monkeypatch.setattr(build, "local_sources", lambda: tmp_path)
    with pytest.raises(build.BuildError, match=r"does not require go\.etcd\.io/etcd"):
        pinned_version(ETCD)
