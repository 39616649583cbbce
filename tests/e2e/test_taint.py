"""Nodes with the taint that virtual nodes have in a cluster with others: Argo and its workflows get past it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from provider.cluster.manifests import wait_for
from tests.support.argo import Terminal, finished, pods_of_workflow, story
from tests.support.installation import installed
from tests.support.names import own_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provider.kube.client import Json
    from tests.support.installation import Lab

ELSEWHERE = "untouched"
TAINT = "virtual-kubelet.io/provider"


@pytest.fixture(scope="module")
def tainted() -> Iterator[Lab]:
    """An installation of its own: a restart with another configuration would leave Argo's pods where they are."""
    with installed(own_name("taint"), config={"node": {"taint": "NoSchedule"}}) as lab:
        yield lab


@pytest.mark.slow
async def test_unmodified_workflows_and_jobs_get_past_the_taint_and_nothing_else_does(tainted: Lab) -> None:
    terminal = Terminal(tainted)
    async with tainted.api() as api:
        nodes = (await api.list("/api/v1/nodes"))["items"]
        assert [each["spec"]["taints"][0]["effect"] for each in nodes] == ["NoSchedule"] * 3
        names = [await terminal.submit(file) for file in ("steps.yaml", "k8s-jobs.yaml")]
        for name in names:
            found = await finished(api, tainted, name, 120)
            assert found["status"]["phase"] == "Succeeded", await story(api, tainted, name)
        pods = await pods_of_workflow(api, names[0])
        assert all(TAINT in [each.get("key") for each in pod["spec"]["tolerations"]] for pod in pods)

        place = f"/api/v1/namespaces/{ELSEWHERE}"
        await api.create(
            "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ELSEWHERE}}
        )
        pod = {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "waits"},
            "spec": {"automountServiceAccountToken": False, "containers": [{"name": "main", "image": "busybox"}]},
        }  # fmt: skip
        await terminal.run("kubectl", "create", "serviceaccount", "default", "-n", ELSEWHERE, code=None)
        await api.create(f"{place}/pods", pod)

        def refused(each: Json) -> bool:
            conditions = (each.get("status") or {}).get("conditions") or ()
            return any("untolerated taint" in str(one.get("message")) for one in conditions)

        await wait_for(api, f"{place}/pods/waits", refused, clock=tainted.installation.clock, seconds=30)
