from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from provider.clock import SystemClock
from provider.cluster.build import Binaries
from provider.cluster.demo import WORKFLOWS, pods_by_zone, run_workflow
from provider.cluster.installation import Installation
from provider.cluster.local_up import Running
from provider.cluster.steps import SetupError, Steps
from provider.kube.client import KubeError
from tests.unit.cluster.kube_fake import FakeKubeApi

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def _node(name: str, zone: str) -> dict[str, object]:
    return {"metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone}}}


def test_pods_are_counted_by_the_zone_of_their_node() -> None:
    nodes = [_node("n-b", "zone-b"), _node("n-a", "zone-a")]
    pods = [{"spec": {"nodeName": name}} for name in ("n-a", "n-b", "n-a", "gone")] + [{"spec": {}}]
    assert pods_by_zone(pods, nodes) == {"no zone": 2, "zone-a": 2, "zone-b": 1}


class Refusing(FakeKubeApi):
    """An API server that has nothing by any label, and lets nothing be deleted."""

    async def list(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        if "labelSelector" in (query or {}):
            return {"metadata": {"resourceVersion": "1"}, "items": []}
        return await super().list(path, query)

    async def delete(self, path: str, *, uid: str | None = None, **conditions: Any) -> Any:
        self.seen.append(("delete", path))
        raise KubeError(500, "InternalError", "etcd is out of space")


async def test_why_a_workflow_failed_is_told_even_where_it_cannot_be_removed(tmp_path: Path) -> None:
    argo = tmp_path / "argo"
    argo.write_text("#!/bin/sh\necho workflow.argoproj.io/loops-x\n")
    argo.chmod(0o755)
    running = Running(replace(Binaries(*[tmp_path] * 8), argo=argo), ())
    failed = {"metadata": {"name": "loops-x"}, "status": {"phase": "Failed", "message": "a pod was evicted"}}
    api = Refusing({f"{WORKFLOWS}/loops-x": failed})
    installation = Installation("updown-unit", tmp_path / "state", SystemClock())
    out = io.StringIO()
    steps = Steps(Console(file=out, soft_wrap=True))

    with pytest.raises(SetupError, match="loops-x is Failed a pod was evicted"):
        await run_workflow(installation, running, api, steps, lambda _: None)
    assert ("delete", f"{WORKFLOWS}/loops-x") in api.seen
    assert "etcd is out of space" in out.getvalue()
