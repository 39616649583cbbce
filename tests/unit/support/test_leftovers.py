from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from provider.cluster.steps import SetupError
from tests.support import leftovers

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What an ended run has left, and no engine to ask for more."""

    async def nothing() -> set[str]:
        return set()

    monkeypatch.setattr(leftovers, "STATES", tmp_path)
    monkeypatch.setattr(leftovers, "_from_engine", nothing)
    state = tmp_path / "zl-zt-swept-4194305-0a1b2c"
    state.mkdir()
    return state


def test_what_somebody_else_removes_meanwhile_is_no_trouble(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def removed_meanwhile(*_: object) -> None:
        shutil.rmtree(state)

    monkeypatch.setattr(leftovers, "take_down", removed_meanwhile)
    assert leftovers.sweep() == ["zt-swept-4194305-0a1b2c"]
    assert not state.exists()


def test_what_cannot_be_removed_is_told_and_keeps_nobody_from_testing(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def refused(*_: object) -> None:
        raise SetupError("a mount is left", "it is busy", "run down again")

    monkeypatch.setattr(leftovers, "take_down", refused)
    assert leftovers.sweep() == ["zt-swept-4194305-0a1b2c"]
    assert state.exists()  # for the next try
    assert "a mount is left" in capsys.readouterr().err
