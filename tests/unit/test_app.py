"""One provider for each installation."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from provider.app import StartError, _exclusive

if TYPE_CHECKING:
    from pathlib import Path

MINE = f"zl-unit-{os.getpid()}"
"""names are the machine's: tests in other processes have their own"""


def test_a_second_provider_of_a_state_directory_is_refused(tmp_path: Path) -> None:
    with (
        _exclusive(MINE, tmp_path),
        pytest.raises(StartError, match="it holds"),
        _exclusive(f"{MINE}-b", tmp_path),
    ):
        pytest.fail("both run")


def test_a_second_provider_of_a_name_is_refused_whatever_its_state_directory(tmp_path: Path) -> None:
    with (
        _exclusive(MINE, tmp_path / "a"),
        pytest.raises(StartError, match=f"installation {MINE} already, from another"),
        _exclusive(MINE, tmp_path / "b"),
    ):
        pytest.fail("both run")
    with _exclusive(MINE, tmp_path / "b"):
        pass
