from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from provider.clock import SystemClock
from provider.cluster.argo import DEPLOYMENTS, apply_argo
from provider.cluster.build import build_all, cache_root
from provider.cluster.local import LocalCluster
from provider.cluster.manifests import Manifests
from provider.cluster.steps import Steps
from provider.kube.client import HttpKubeApi

if TYPE_CHECKING:
    from pathlib import Path

    from provider.kube.client import Json

OWN = {"maxSkew": 3, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule"}
TAINT = "virtual-kubelet.io/provider"


@pytest.mark.integration
@pytest.mark.slow
async def test_argo_is_applied_to_a_real_api_server_and_pods_of_its_namespaces_tolerate_the_taint(
    tmp_path: Path,
) -> None:
    binaries = build_all(cache_root(), print)
    clock = SystemClock()
    cluster = LocalCluster("zl-argo-test", tmp_path / "state", clock)
    try:
        await cluster.start(binaries, Steps())
        api = await HttpKubeApi.from_kubeconfig(str(cluster.kubeconfig))
        try:
            await apply_argo(api, binaries, clock, taint_key=TAINT)
            await apply_argo(api, binaries, clock, taint_key=TAINT)  # may be repeated

            served = await api.get("/apis/argoproj.io/v1alpha1")
            assert {"Workflow", "WorkflowTemplate", "WorkflowTaskResult"} <= {
                each["kind"] for each in served["resources"]
            }
            deployments = await api.list("/apis/apps/v1/namespaces/argo/deployments")
            assert {each["metadata"]["name"] for each in deployments["items"]} == set(DEPLOYMENTS)
            config = await api.get("/api/v1/namespaces/argo/configmaps/workflow-controller-configmap")
            assert "docker/whalesay" in config["data"]["images"]
            assert "imagePullPolicy: IfNotPresent" in config["data"]["executor"]
            review = await api.create(
                "/apis/authorization.k8s.io/v1/subjectaccessreviews",
                {
                    "apiVersion": "authorization.k8s.io/v1",
                    "kind": "SubjectAccessReview",
                    "spec": {
                        "user": "system:serviceaccount:default:default",
                        "resourceAttributes": {
                            "namespace": "default", "verb": "patch", "group": "argoproj.io", "resource": "workflowtaskresults",
                        },
                    },
                },
            )  # fmt: skip
            assert review["status"]["allowed"]

            manifests = Manifests(api)
            tolerant = await _tolerations(api, manifests, "argo")
            assert tolerant.count(TAINT) == 1
            assert TAINT in await _tolerations(api, manifests, "default")
            assert TAINT not in await _tolerations(api, manifests, "kube-system")

            workflow = {"workflows.argoproj.io/workflow": "hello-7x"}
            assert await _spread(api, "argo", workflow) == [
                {
                    "maxSkew": 1,
                    "topologyKey": "topology.kubernetes.io/zone",
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": {"matchLabels": workflow},
                }
            ]
            own = {**OWN, "labelSelector": {"matchLabels": {"app": "own"}}}
            assert await _spread(api, "argo", workflow, own) == [own]
            assert await _spread(api, "argo", {"app": "none"}) == []
            assert await _spread(api, "kube-system", workflow) == []
        finally:
            await api.close()
    finally:
        await cluster.stop()


async def _spread(api: HttpKubeApi, namespace: str, labels: Json, *own: Json) -> list[Json]:
    """The constraints that a new pod with these labels has in the namespace."""
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe", "namespace": namespace, "labels": labels},
        "spec": {"containers": [{"name": "main", "image": "busybox"}], "automountServiceAccountToken": False},
    }  # fmt: skip
    if own:
        pod["spec"]["topologySpreadConstraints"] = list(own)
    made = await api.create(f"/api/v1/namespaces/{namespace}/pods?dryRun=All", pod)
    return list(made["spec"].get("topologySpreadConstraints") or ())


async def _tolerations(api: HttpKubeApi, manifests: Manifests, namespace: str) -> list[str]:
    """The keys that a new pod of a Job-like maker has in the namespace; it brings a toleration of its own."""
    own = [{"key": "own", "operator": "Exists"}]
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe", "namespace": namespace},
        "spec": {"containers": [{"name": "main", "image": "busybox"}], "tolerations": own,
                 "automountServiceAccountToken": False},
    }  # fmt: skip
    collection = (await manifests.path(pod)).rpartition("/")[0]
    made = await api.create(f"{collection}?dryRun=All", pod)
    assert "own" in [each["key"] for each in made["spec"]["tolerations"]]
    return [each["key"] for each in made["spec"]["tolerations"]]
