from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import pytest

from provider.clock import SystemClock
from provider.cluster.installation import Installation
from provider.cluster.provider_daemon import provider_command, wait_for_nodes
from provider.cluster.steps import SetupError
from provider.model.timestamps import rfc3339
from tests.unit.cluster.kube_fake import FakeKubeApi

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NODE = "/api/v1/nodes/a"


def node(reported: float, status: str = "True") -> dict[str, Any]:
    condition = {"type": "Ready", "status": status, "reason": "Why", "lastHeartbeatTime": rfc3339(reported)}
    return {"metadata": {"name": "a"}, "status": {"conditions": [condition]}}


@pytest.fixture
async def installation(tmp_path: Path) -> AsyncIterator[Installation]:
    """An installation whose provider is a process that reports nothing."""
    made = Installation("updown-unit", tmp_path / "state", SystemClock())
    made.provider.start(["sleep", "60"])
    yield made
    await made.provider.stop(made.clock)


async def test_a_node_that_a_killed_provider_left_ready_is_waited_for(installation: Installation) -> None:
    started = installation.provider.started()
    assert started is not None
    api, told = FakeKubeApi({NODE: node(started - 30)}), list[str]()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(wait_for_nodes(installation, api, ["a"], told.append))
        while api.seen.count(("list", "/api/v1/nodes")) < 2:
            await installation.clock.sleep(0.05)
        assert not waiting.done()
        api.objects[NODE] = node(started)
    assert told == ["0 of 1 nodes are Ready"]


async def test_a_provider_that_ends_beside_a_ready_node_is_told(tmp_path: Path) -> None:
    made = Installation("updown-unit", tmp_path / "state", SystemClock())
    made.provider.start(["sh", "-c", "sleep 0.3; echo no such zone; exit 1"])
    api = FakeKubeApi({NODE: node(made.clock.now() - 30)})
    with pytest.raises(SetupError, match="no such zone"):
        await wait_for_nodes(made, api, ["a"], lambda _: None)


def test_the_daemon_has_the_installations_configuration_and_credential_whatever_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/home/somebody/.kube/config")
    argv, environment = provider_command(Installation("edge", tmp_path, SystemClock()))
    assert argv[0] == sys.executable
    assert argv[-3:] == ["run", "--config", str(tmp_path / "provider.yaml")]
    assert environment["KUBECONFIG"] == str(tmp_path / "provider.kubeconfig")
