"""What keeps an engine from being started."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from provider.cluster.engine import forget_ended


def test_a_pid_file_whose_number_is_another_programs_is_removed(tmp_path: Path) -> None:
    file = tmp_path / "docker.pid"
    file.write_text(f"{os.getpid()}")
    assert forget_ended(file, "dockerd")
    assert not file.exists()


def test_a_program_that_runs_keeps_its_pid_file(tmp_path: Path) -> None:
    file = tmp_path / "docker.pid"
    file.write_text(f"{os.getpid()}\n")
    assert not forget_ended(file, Path("/proc/self/comm").read_text().strip())
    assert file.exists()


@pytest.mark.parametrize("text", [None, "", "4194305"])
def test_a_pid_file_that_names_nobody_is_the_programs_own_business(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "docker.pid"
    if text is not None:
        file.write_text(text)
    assert not forget_ended(file, "dockerd")
