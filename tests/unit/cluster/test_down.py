from __future__ import annotations

import asyncio
import io
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from provider.clock import SystemClock
from provider.cluster.build_cache import cache_root, exclusive
from provider.cluster.down import take_down
from provider.cluster.installation import Installation, Record
from provider.cluster.steps import SetupError, Steps

if TYPE_CHECKING:
    from pathlib import Path

NAME = "updown-unit"


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No engine, a cache of its own."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-engine.sock")
    monkeypatch.setenv("ZONELET_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(NAME, tmp_path / "state", SystemClock())


async def test_down_waits_for_an_up_that_is_under_way(installation: Installation) -> None:
    installation.write_record(Record("local"))
    installation.provider.start(["sleep", "60"])
    out = io.StringIO()
    steps = Steps(Console(file=out))
    with ExitStack() as up:
        up.enter_context(exclusive(cache_root(), f"up-{NAME}", steps.note))
        down = asyncio.get_running_loop().run_in_executor(None, lambda: asyncio.run(take_down(installation, steps)))
        while "waiting for that one" not in out.getvalue():
            await installation.clock.sleep(0.05)
        assert installation.provider.pid() is not None
        up.close()
        with pytest.raises(SetupError, match="no Docker engine answers"):
            await down
    assert installation.provider.pid() is None


async def test_a_spoiled_configuration_keeps_nothing_from_going(installation: Installation, tmp_path: Path) -> None:
    """The engine's address is in the record, so the configuration is not read at all."""
    installation.write_record(Record("local", engine=f"unix://{tmp_path}/the-engine.sock"))
    installation.provider_config.write_text("zones: {")
    with pytest.raises(SetupError) as failed:
        await take_down(installation, Steps(Console(file=io.StringIO())))
    assert "no Docker engine answers" in failed.value.what
    assert "the-engine.sock" in failed.value.why
