import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from provider.cli.main import app
from provider.cluster.build_command import BuildError
from provider.config.load import ConfigError


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither an installation nor a cluster."""
    monkeypatch.setenv("ZONELET_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("ZONELET_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))


def test_joining_without_a_current_cluster_says_where_it_was_looked_for(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["up", "--cluster", "current"])
    assert isinstance(result.exception, BuildError)
    assert str(tmp_path / "none") in result.exception.why


@pytest.mark.parametrize("cluster", ["local", "current"])
def test_a_wrong_configuration_starts_nothing(tmp_path: Path, cluster: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("zones:\n- name: a\n  vSwitches: [{cidr: 10.0.0.0/8}]\nnodes: {}\n")
    result = CliRunner().invoke(app, ["up", "--cluster", cluster, "--config", str(config)])
    assert isinstance(result.exception, ConfigError)
    assert len(result.exception.mistakes) == 2
    assert not (tmp_path / "state").exists()


def test_a_configuration_of_another_installation_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("name: other\n")
    result = CliRunner().invoke(app, ["up", "--config", str(config)])
    assert isinstance(result.exception, BuildError)
    assert "--name other" in result.exception.next_step


def test_the_status_of_nothing_is_told_without_an_error() -> None:
    result = CliRunner().invoke(app, ["status", "-o", "json"])
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert {each["component"]: each["running"] for each in document["components"]}["provider"] is False
    assert document["nodes"] == document["zones"] == document["argo"] == []
    assert "is not up" in result.stderr


@pytest.mark.parametrize("name", ["", "../x", "Upper", "a" * 40])
def test_a_bad_name_is_a_usage_error(name: str) -> None:
    assert CliRunner().invoke(app, ["status", "--name", name]).exit_code == 2


def test_a_local_cluster_has_no_foreground() -> None:
    result = CliRunner().invoke(app, ["up", "--foreground"])
    assert result.exit_code == 2
    assert "only with --cluster current" in result.output


@pytest.mark.parametrize("option", [["--subnet", "foo"], ["--subnet", "10.0.0.1/8"], ["--port", "99999"]])
def test_doctor_refuses_what_is_no_block_and_no_port(option: list[str]) -> None:
    result = CliRunner().invoke(app, ["doctor", *option])
    assert result.exit_code == 2
    assert option[0] in result.stderr
