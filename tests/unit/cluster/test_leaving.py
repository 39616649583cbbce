from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from provider.clock import SystemClock
from provider.cluster.argo import render_tolerations
from provider.cluster.leaving import remove_from_cluster
from provider.cluster.manifests import Manifests
from provider.cluster.provider_access import access_objects, grant_access
from tests.unit.cluster.kube_fake import FakeKubeApi

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMESPACE = "/api/v1/namespaces/zonelet-system"
TOKEN = {"token": base64.b64encode(b"t").decode()}


class Cluster(FakeKubeApi):
    """Its controller manager fills the tokens' Secrets."""

    async def patch(self, path: str, body: Any, kind: str, query: Mapping[str, str] | None = None) -> Any:
        made = {**self.objects.get(path, {}), **body}
        return await super().patch(path, {**made, "data": TOKEN} if body["kind"] == "Secret" else made, kind, query)


async def join(api: FakeKubeApi, name: str) -> None:
    """Do what joined.py does in the cluster."""
    assert await grant_access(api, name, SystemClock()) == "t"
    await Manifests(api).apply_own(render_tolerations("key", name))


def node(name: str, provider_id: str) -> dict[str, Any]:
    spec = {"providerID": provider_id} if provider_id else {}
    return {"metadata": {"name": name, "uid": f"uid-{name}"}, "spec": spec}


async def test_what_joining_made_goes_and_the_cluster_is_as_before() -> None:
    api = Cluster()
    await join(api, "updown")
    assert NAMESPACE in api.objects
    assert sum("mutatingadmission" in path for path in api.objects) == 2
    await remove_from_cluster(api, "updown")
    assert not api.objects


async def test_what_was_made_by_hand_stays() -> None:
    """Also where it bears the very names: `kubectl apply -k deploy/kustomize/base`, and the policy beside it."""
    api = Cluster()
    await Manifests(api).apply([*access_objects("zonelet"), *render_tolerations("key")])
    before = set(api.objects)
    await join(api, "zonelet")
    assert len(set(api.objects) - before) == 2  # policy and binding of its own
    await remove_from_cluster(api, "zonelet")
    assert set(api.objects) == before


async def test_the_last_installation_takes_the_namespace_along() -> None:
    api = Cluster()
    await join(api, "one")
    alone = set(api.objects)
    await join(api, "two")
    await remove_from_cluster(api, "two")
    assert set(api.objects) == alone
    await remove_from_cluster(api, "one")
    assert not api.objects


async def test_only_the_nodes_of_the_installation_go() -> None:
    nodes = [
        node("virtual-kubelet-a", "zonelet://region/updown/a"),
        node("virtual-kubelet-b", "zonelet://region/other/b"),
        node("virtual-kubelet-c", ""),
        node("updown", "aws:///region/updown/a"),
    ]
    api = Cluster({f"/api/v1/nodes/{each['metadata']['name']}": each for each in nodes})
    await remove_from_cluster(api, "updown")
    assert [path.rpartition("/")[2] for path in api.objects] == ["virtual-kubelet-b", "virtual-kubelet-c", "updown"]


async def test_a_node_that_was_made_again_meanwhile_stays() -> None:
    path = "/api/v1/nodes/virtual-kubelet-a"
    api = Cluster({path: node("virtual-kubelet-a", "zonelet://region/updown/a")})
    theirs = node("virtual-kubelet-a", "zonelet://region/other/a")
    theirs["metadata"]["uid"] = "another"

    class Overtaken(Cluster):
        async def delete(self, path: str, *, uid: str | None = None, **conditions: Any) -> Any:
            self.objects[path] = theirs
            return await super().delete(path, uid=uid, **conditions)

    overtaken = Overtaken(api.objects)
    await remove_from_cluster(overtaken, "updown")
    assert overtaken.objects == {path: theirs}
