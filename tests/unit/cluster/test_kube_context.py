from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml

from provider.cluster.kube_context import KubeContext, context_name, user_kubeconfig
from provider.cluster.steps import SetupError

OWN = {
    "clusters": [{"name": "x", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "x", "user": {"token": "t"}}],
    "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
}
THEIRS = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "prod", "cluster": {"server": "https://prod"}}],
    "users": [{"name": "prod", "user": {}}],
    "contexts": [{"name": "prod", "context": {"cluster": "prod", "user": "prod", "namespace": "web"}}],
    "current-context": "prod",
    "preferences": {"colors": True},
}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "admin.kubeconfig"
    path.write_text(yaml.safe_dump(OWN))
    return path


@pytest.fixture
def context(tmp_path: Path) -> KubeContext:
    return KubeContext("zonelet", tmp_path / "kube-context.json")


def test_the_users_contexts_are_kept_and_come_back(tmp_path: Path, own: Path, context: KubeContext) -> None:
    target = tmp_path / "config"
    target.write_text(yaml.safe_dump(THEIRS))
    target.chmod(0o640)
    context.add(own, target)
    context.add(own, target)  # a second `up`
    merged = yaml.safe_load(target.read_text())
    assert merged["current-context"] == "zonelet"
    assert [each["name"] for each in merged["contexts"]] == ["prod", "zonelet"]
    assert merged["clusters"][1] == {"name": "zonelet", "cluster": {"server": "https://127.0.0.1:1"}}
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert context.remove()
    assert yaml.safe_load(target.read_text()) == THEIRS
    assert not context.remove()


def test_the_clusters_own_file_needs_no_context_added(own: Path, context: KubeContext) -> None:
    before = own.read_text()
    context.add(own, own)
    assert own.read_text() == before
    assert not context.remove()


def test_a_file_that_was_not_there_goes_again(tmp_path: Path, own: Path, context: KubeContext) -> None:
    target = tmp_path / "kube" / "config"
    context.add(own, target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert context.remove()
    assert not target.exists()


def test_a_context_that_the_user_chose_since_stays_current(tmp_path: Path, own: Path, context: KubeContext) -> None:
    target = tmp_path / "config"
    target.write_text(yaml.safe_dump(THEIRS))
    context.add(own, target)
    document = yaml.safe_load(target.read_text())
    document["contexts"].append({"name": "dev", "context": {}})
    target.write_text(yaml.safe_dump(document | {"current-context": "dev"}))
    context.remove()
    assert yaml.safe_load(target.read_text())["current-context"] == "dev"


def test_a_strangers_context_of_the_same_name_is_left_alone(tmp_path: Path, own: Path, context: KubeContext) -> None:
    target = tmp_path / "config"
    text = yaml.safe_dump({"contexts": [{"name": "zonelet", "context": {}}]})
    target.write_text(text)
    with pytest.raises(SetupError, match="not made by this installation"):
        context.add(own, target)
    assert target.read_text() == text
    assert not context.remove()


@pytest.mark.parametrize("text", ["- 1", "a: [", "a: b: c"])
def test_a_broken_file_is_told_and_kept(tmp_path: Path, own: Path, context: KubeContext, text: str) -> None:
    target = tmp_path / "config"
    target.write_text(text)
    with pytest.raises(SetupError, match="cannot be used"):
        context.add(own, target)
    assert target.read_text() == text
    assert not target.with_name("config.lock").exists()


def test_a_locked_file_is_not_written(tmp_path: Path, own: Path, context: KubeContext) -> None:
    target = tmp_path / "config"
    target.with_name("config.lock").touch()
    with pytest.raises(SetupError, match="locked"):
        context.add(own, target)
    assert not target.exists()


def test_the_file_is_where_kubectl_writes() -> None:
    assert user_kubeconfig({"HOME": "/home/a"}) == Path("/home/a/.kube/config")
    assert user_kubeconfig({"HOME": "/home/a", "KUBECONFIG": "/x:/y"}) == Path("/y")


def test_the_context_has_the_installations_name() -> None:
    assert (context_name("zonelet"), context_name("other")) == ("zonelet", "zonelet-other")


def test_a_spoiled_memory_of_the_change_says_what_to_do(context: KubeContext) -> None:
    context.record.write_text("")
    with pytest.raises(SetupError) as failed:
        context.remove()
    assert str(context.record) in failed.value.what
    assert "kubectl config delete-context zonelet" in failed.value.next_step


def test_a_kubeconfig_whose_current_context_is_null_comes_back(tmp_path: Path, own: Path, context: KubeContext) -> None:
    target = tmp_path / "config"
    target.write_text(yaml.safe_dump(THEIRS | {"current-context": None}))
    context.add(own, target)
    assert context.remove()
    assert yaml.safe_load(target.read_text())["current-context"] == ""
