from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from provider.clock import SystemClock
from provider.cluster.build import build_all, cache_root
from provider.cluster.local import COMPONENTS, LocalCluster
from provider.cluster.processes import start_time
from provider.cluster.steps import Steps

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.integration
@pytest.mark.slow
async def test_the_control_plane_comes_up_serves_and_leaves_nothing(tmp_path: Path) -> None:
    binaries = build_all(cache_root(), print)
    cluster = LocalCluster("zl-h3-test", tmp_path / "state", SystemClock())

    def kubectl(*arguments: str) -> str:
        return subprocess.run(
            [binaries.kubectl, f"--kubeconfig={cluster.kubeconfig}", *arguments],
            check=True, capture_output=True, text=True, timeout=30,
        ).stdout  # fmt: skip

    try:
        await cluster.start(binaries, Steps())
        first = cluster.status()
        assert all(first[name] is not None for name in COMPONENTS)
        assert kubectl("get", "--raw=/readyz") == "ok"
        assert "created" in kubectl("create", "namespace", "seen")
        await cluster.start(binaries, Steps())
        assert cluster.status() == first  # a second start changes nothing
    finally:
        await cluster.stop()
    assert all(start_time(pid) is None for pid in first.values())
    assert not cluster.state.exists()
