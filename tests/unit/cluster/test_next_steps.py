from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from provider.clock import SystemClock
from provider.cluster.installation import Installation
from provider.cluster.next_steps import after_joining

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("on_path", "called"), [(True, "  zonelet status"), (False, "  .venv/bin/zonelet status")])
def test_the_command_is_told_as_this_shell_can_call_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_path: bool, called: str
) -> None:
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("zonelet", "python"):
        (programs / name).touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(programs / "python"))
    monkeypatch.setenv("PATH", str(programs) if on_path else str(tmp_path))
    monkeypatch.chdir(tmp_path)
    told = after_joining(Installation("zonelet", tmp_path, SystemClock()), ["a"])
    assert called in told.splitlines()
