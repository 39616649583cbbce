"""One provider for each installation."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from provider.exclusive import TakenError, hold, is_held

if TYPE_CHECKING:
    from pathlib import Path

MINE = f"zl-unit-{os.getpid()}"
"""names are the machine's: tests in other processes have their own"""


def test_a_second_provider_of_a_state_directory_is_refused(tmp_path: Path) -> None:
    with (
        hold(MINE, tmp_path),
        pytest.raises(TakenError, match="it holds"),
        hold(f"{MINE}-b", tmp_path),
    ):
        pytest.fail("both run")


def test_a_second_provider_of_a_name_is_refused_whatever_its_state_directory(tmp_path: Path) -> None:
    with (
        hold(MINE, tmp_path / "a"),
        pytest.raises(TakenError, match=f"installation {MINE} already, from another"),
        hold(MINE, tmp_path / "b"),
    ):
        pytest.fail("both run")
    with hold(MINE, tmp_path / "b"):
        assert is_held(MINE)
    assert not is_held(MINE)


def test_a_state_directory_that_was_there_is_closed_to_others(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with hold(f"{MINE}-c", tmp_path):
        assert tmp_path.stat().st_mode & 0o777 == 0o700
