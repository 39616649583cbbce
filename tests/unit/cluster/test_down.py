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


async def test_a_joined_cluster_that_is_gone_can_be_forgotten(installation: Installation, tmp_path: Path) -> None:
    installation.write_record(Record("current", "kind-gone", "https://127.0.0.1:1", str(tmp_path / "kubeconfig")))
    out = io.StringIO()
    steps = Steps(Console(file=out, soft_wrap=True))
    with pytest.raises(SetupError) as failed:
        await take_down(installation, steps)
    assert f"Nodes and roles of {NAME} may be left in the cluster https://127.0.0.1:1" in failed.value.what
    assert f"zonelet down --name {NAME} --forget-cluster" in failed.value.next_step
    with pytest.raises(SetupError) as failed:
        await take_down(installation, steps, forget_cluster=True)
    assert failed.value.what == f"containers and networks of {NAME} may be left: no Docker engine answers"
    assert "https://127.0.0.1:1 is not asked" in out.getvalue()
