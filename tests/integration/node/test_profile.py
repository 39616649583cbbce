"""Profile eci on a real API server: what the node's own credential may write, and what kubectl then shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from provider.config.profiles import load_profile
from provider.model.size import GIB
from tests.integration.node.pod_lab import PodLab, pod_lab
from tests.support.control_plane import client, node_kubeconfig, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from provider.cluster.local import LocalCluster
    from provider.kube.client import HttpKubeApi

NODE = "node-profile"
ECI = "k8s.aliyun.com/eci-"


@pytest.fixture
async def lab(cluster: LocalCluster, admin: HttpKubeApi, tmp_path: Path) -> AsyncIterator[PodLab]:
    async with client(node_kubeconfig(cluster, NODE)) as own, pod_lab(NODE, tmp_path, admin, own) as made:
        made.profile = load_profile("eci")
        await made.kill()
        await made.start()
        yield made


async def test_a_pod_runs_at_its_size_and_says_so_itself(lab: PodLab) -> None:
    resources = {"requests": {"cpu": "300m", "memory": "700Mi"}}
    main = {"name": "main", "image": "busybox:1.36", "resources": resources}
    await lab.pod("small", containers=[main], annotations={f"{ECI}fail-strategy": "run"})
    pod = await lab.becomes("small", lambda status: status["phase"] == "Running")
    annotations = pod["metadata"]["annotations"]
    assert annotations[f"{ECI}instance-spec"] == "0.5-1.0Gi"
    assert annotations[f"{ECI}instance-zone"] == "zone-a"
    assert annotations[f"{ECI}instance-id"].startswith("eci-")
    assert annotations[f"{ECI}fail-strategy"] == "run"
    (instance,) = await lab.backend.describe_instances()
    assert (instance.cpu, instance.memory) == (500, GIB)

    async def told() -> list[tuple[str, str]]:
        return [one for one in await lab.reasons("small") if one[0] == "InvalidAnnotation"]

    ((_, message),) = await until(told)
    assert message == f"{ECI}fail-strategy: 'run' is not allowed; allowed: fail-back, fail-over, fail-fast"


async def test_a_pod_that_no_size_fits_is_failed_by_name(lab: PodLab) -> None:
    main = {"name": "main", "image": "busybox:1.36", "resources": {"requests": {"cpu": "65"}}}
    await lab.pod("huge", containers=[main])
    pod = await lab.becomes("huge", lambda status: status["phase"] == "Failed")
    assert pod["status"]["reason"] == "ProviderFailed"
    assert "InvalidParameter: no size of profile eci has 65 vCPU" in pod["status"]["message"]
    assert await lab.left() == []
