from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from provider.clock import SystemClock
from provider.cluster.build import build_all, cache_root
from provider.cluster.local import COMPONENTS, LocalCluster
from provider.cluster.processes import start_time, wait_until
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

        scheduler = first["kube-scheduler"]
        assert scheduler is not None
        os.kill(scheduler, signal.SIGKILL)
        assert await wait_until(SystemClock(), lambda: cluster.status()["kube-scheduler"] not in (None, scheduler), 30)
        again = cluster.status()
    finally:
        await cluster.stop()
    assert all(start_time(pid) is None for pid in (*first.values(), *again.values()))
    assert not cluster.state.exists()
