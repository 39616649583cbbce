"""`zonelet run` with a configuration that cannot be used: a line for each mistake, exit code 2, nothing started."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from provider.cli.main import app

if TYPE_CHECKING:
    from pathlib import Path

WRONG = """\
nmae: mine
zones:
- name: a
  stock: {cpu: "-4"}
  vSwitches: [{cidr: 10.1.0.0/16, id: one}, {cidr: 10.1.4.0/22}]
- name: b
  vSwitches: [{cidr: 10.2.0.0/15}, {cidr: 10.4.0.0/30}, {cidr: 10.5.0.1/22}, {cidr: ten, id: one}]
"""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZONELET_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def test_every_mistake_has_a_line_with_its_path_and_nothing_is_started(state: Path, tmp_path: Path) -> None:
    config = tmp_path / "bad.yaml"
    config.write_text(WRONG)
    result = CliRunner().invoke(app, ["run", "--config", str(config)])
    assert result.exit_code == 2
    assert result.stdout == ""
    *lines, last = result.stderr.splitlines()
    paths = [line.partition(":")[0] for line in lines]
    assert sorted(set(paths)) == [
        "nmae",
        "zones[0].stock.cpu",
        "zones[0].vSwitches[1].cidr",
        "zones[1].vSwitches[0].cidr",
        "zones[1].vSwitches[1].cidr",
        "zones[1].vSwitches[2].cidr",
        "zones[1].vSwitches[3].cidr",
        "zones[1].vSwitches[3].id",
    ]
    assert len(paths) == len(set(paths)), "one line for each mistake"
    assert last == f"Nothing was started: {config} has {len(lines)} mistake(s)."
    assert not state.exists()


def test_a_configuration_that_is_not_there_is_told_in_a_line(state: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["run", "--config", str(tmp_path / "none.yaml")])
    assert result.exit_code == 2
    assert "none.yaml" in result.stderr
    assert not state.exists()
