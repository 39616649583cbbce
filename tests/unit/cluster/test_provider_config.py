from __future__ import annotations

import os
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from provider.cluster.provider_config import given_config
from provider.cluster.steps import SetupError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_configuration_may_come_through_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = Thread(target=pipe.write_text, args=("zones: [{name: a, nodeName: edge}]\n",))
    writer.start()
    config, given = given_config(pipe, "zonelet")
    writer.join()
    assert config.zones[0].node_name == "edge"
    assert given == {"zones": [{"name": "a", "nodeName": "edge"}]}


def test_the_configuration_of_another_installation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "provider.yaml"
    path.write_text("name: other\n")
    with pytest.raises(SetupError, match="the configuration of the installation other"):
        given_config(path, "zonelet")


def test_a_profile_of_ones_own_is_found_from_any_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.yaml").write_text("{name: mine, extends: eci}")
    (tmp_path / "provider.yaml").write_text("profile: ./mine.yaml\n")
    monkeypatch.chdir(tmp_path)
    _, given = given_config(tmp_path / "provider.yaml", "zonelet")
    assert given == {"profile": str(tmp_path / "mine.yaml")}
