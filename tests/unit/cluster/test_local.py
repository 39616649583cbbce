from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from provider.clock import SystemClock
from provider.cluster.build import Binaries
from provider.cluster.local import LocalCluster
from provider.cluster.steps import SetupError, Steps

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_failed_first_start_leaves_nothing(tmp_path: Path) -> None:
    program = tmp_path / "ends"
    program.write_text("#!/bin/sh\necho no disk left\nexit 1\n")
    program.chmod(0o755)
    cluster = LocalCluster("zl-h3-unit", tmp_path / "state", SystemClock())
    with pytest.raises(SetupError, match="no disk left"):
        await cluster.start(Binaries(*[program] * 8), Steps())
    assert not cluster.state.exists()


async def test_stopping_what_never_ran_is_no_error_and_keeps_strangers_files(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    await LocalCluster("zl-h3-unit", tmp_path, SystemClock()).stop()
    assert (tmp_path / "mine").exists()
