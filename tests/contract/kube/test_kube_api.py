"""One suite over both KubeApi: the fake that unit tests lean on, and the client against a real API server."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from provider.clock import SystemClock
from provider.kube.client import KubeApi, KubeError
from tests.support.control_plane import add_namespace, add_node, client, control_plane, finish, node_kubeconfig
from tests.support.kube_fake import FakeKubeApi

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Json = dict[str, Any]
NODE = "contract-node"
NAMES = itertools.count()


class World(NamedTuple):
    """`api` is the node's, `admin` may do everything; pods stand in `namespace`."""

    api: KubeApi
    admin: Any
    namespace: str

    @property
    def pods(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods"

    async def pod(self, name: str = "p", *, token: bool = False, **meta: Any) -> Json:
        spec = {
            "nodeName": NODE,
            "automountServiceAccountToken": token,
            "containers": [{"name": "c", "image": "i"}],
        }
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **meta}, "spec": spec}
        return dict(await self.admin.create(self.pods, body))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with control_plane("pods-contract", tmp_path_factory.mktemp("contract") / "state") as cluster:

        async def prepare() -> None:
            async with client(cluster.kubeconfig) as admin:
                await add_node(admin, NODE)

        finish(prepare())
        yield cluster


@pytest.fixture(params=["fake", pytest.param("server", marks=pytest.mark.integration)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    namespace = f"contract-{next(NAMES)}"
    if request.param == "fake":
        fake = FakeKubeApi(SystemClock())
        yield World(fake, fake, namespace)
        return
    cluster = request.getfixturevalue("server")
    async with client(cluster.kubeconfig) as admin, client(node_kubeconfig(cluster, NODE)) as api:
        await add_namespace(admin, namespace)
        yield World(api, admin, namespace)


async def refusal(request: Any) -> int:
    with pytest.raises(KubeError) as refused:
        await request
    return refused.value.code


async def test_a_created_object_has_an_identity(world: World) -> None:
    made = await world.pod()
    assert made["metadata"]["uid"]
    assert made["metadata"]["generation"] == 1
    assert made["status"]["phase"] == "Pending"
    assert (await world.api.get(f"{world.pods}/p"))["metadata"]["uid"] == made["metadata"]["uid"]
    assert await refusal(world.pod()) == 409
    assert await refusal(world.admin.get(f"{world.pods}/other")) == 404


async def test_a_list_is_narrowed_by_fields(world: World) -> None:
    for name in ("a", "b"):
        await world.pod(name)
    chosen = await world.api.list(world.pods, {"fieldSelector": f"metadata.name=a,spec.nodeName={NODE}"})
    assert [one["metadata"]["name"] for one in chosen["items"]] == ["a"]
    everything = await world.api.list("/api/v1/pods", {"fieldSelector": f"spec.nodeName={NODE}"})
    ours = [one for one in everything["items"] if one["metadata"]["namespace"] == world.namespace]
    assert [one["metadata"]["name"] for one in ours] == ["a", "b"]


async def test_annotations_may_go_along_with_a_status(world: World) -> None:
    made = await world.pod(annotations={"mine": "1", "old": "2"})
    body = {
        "metadata": {"uid": made["metadata"]["uid"], "annotations": {"eci": "x", "old": "3"}},
        "status": {"phase": "Running"},
    }
    answer = await world.api.patch(f"{world.pods}/p/status", body, "strategic")
    assert answer["metadata"]["annotations"] == {"mine": "1", "old": "3", "eci": "x"}
    assert answer["status"]["phase"] == "Running"
    alone = {"metadata": {"annotations": {"late": "y"}}, "status": {}}
    answer = await world.api.patch(f"{world.pods}/p/status", alone, "strategic")
    assert (answer["metadata"]["annotations"]["late"], answer["status"]["phase"]) == ("y", "Running")


async def test_a_status_patch_merges_what_kubernetes_merges(world: World) -> None:
    uid = (await world.pod())["metadata"]["uid"]

    async def patch(status: Json) -> Json:
        body = {"metadata": {"uid": uid}, "status": status}
        return dict((await world.api.patch(f"{world.pods}/p/status", body, "strategic"))["status"])

    def kinds(status: Json) -> dict[str, tuple[str, str]]:
        return {one["type"]: (one["status"], one.get("reason", "")) for one in status["conditions"]}

    entry = {"name": "c", "image": "i", "imageID": "", "ready": False, "restartCount": 0, "lastState": {}}
    first = await patch(
        {
            "conditions": [
                {"type": "Ready", "status": "False", "reason": "r"},
                {"type": "example.com/gate", "status": "True"},
            ],
            "podIPs": [{"ip": "10.0.0.4"}],
            "podIP": "10.0.0.4",
            "containerStatuses": [{**entry, "state": {"waiting": {"reason": "ContainerCreating"}}}],
        }
    )
    assert kinds(first)["Ready"] == ("False", "r")
    second = await patch(
        {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True", "reason": None}],
            "podIPs": [{"$patch": "replace"}, {"ip": "10.0.0.5"}],
            "podIP": "10.0.0.5",
            "containerStatuses": [{**entry, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}],
        }
    )
    assert kinds(second) == {**kinds(first), "Ready": ("True", ""), "example.com/gate": ("True", "")}
    assert (second["phase"], second["podIPs"]) == ("Running", [{"ip": "10.0.0.5"}])
    # a list without a merge key is replaced as a whole
    assert second["containerStatuses"][0]["state"] == {"running": {"startedAt": "2026-01-01T00:00:00Z"}}


async def test_a_patch_without_a_difference_keeps_the_version(world: World) -> None:
    uid = (await world.pod())["metadata"]["uid"]
    body = {"metadata": {"uid": uid}, "status": {"phase": "Running"}}
    first = await world.api.patch(f"{world.pods}/p/status", body, "strategic")
    second = await world.api.patch(f"{world.pods}/p/status", body, "strategic")
    assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]


async def test_a_patch_of_an_old_version_is_refused(world: World) -> None:
    old = (await world.pod())["metadata"]["resourceVersion"]

    async def patch(label: str, version: str) -> Json:
        body = {"metadata": {"labels": {"l": label}, "resourceVersion": version}}
        return dict(await world.admin.patch(f"{world.pods}/p", body, "merge"))

    newer = (await patch("a", old))["metadata"]["resourceVersion"]
    assert await refusal(patch("b", old)) == 409
    assert (await patch("b", newer))["metadata"]["labels"]["l"] == "b"


async def test_a_nodes_addresses_are_replaced_and_its_resources_merged(world: World) -> None:
    if isinstance(world.api, FakeKubeApi):
        await world.admin.create("/api/v1/nodes", {"metadata": {"name": NODE}})

    async def patch(status: Json) -> Json:
        return dict((await world.api.patch(f"/api/v1/nodes/{NODE}/status", {"status": status}, "strategic"))["status"])

    first = [{"type": "InternalIP", "address": "10.0.0.1"}, {"type": "Hostname", "address": "a"}]
    second = [{"type": "InternalIP", "address": "10.0.0.2"}]
    replace = {"$patch": "replace"}
    await patch({"addresses": [*first, replace], "capacity": {"cpu": "4", "example.com/gpu": "1"}})
    status = await patch({"addresses": [*second, replace], "capacity": {"cpu": "8"}})
    assert status["addresses"] == second
    assert status["capacity"] == {"cpu": "8", "example.com/gpu": "1"}
    other = {"metadata": {"uid": "00000000-0000-0000-0000-000000000000", "labels": {"l": "a"}}, "status": {}}
    assert await refusal(world.api.patch(f"/api/v1/nodes/{NODE}/status", other, "strategic")) == 422
    assert await refusal(world.api.patch(f"/api/v1/nodes/{NODE}", other, "merge")) == 422


async def test_a_name_can_be_left_to_the_server(world: World) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "some-"}}
    path = f"/api/v1/namespaces/{world.namespace}/configmaps"
    names = {(await world.admin.create(path, body))["metadata"]["name"] for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("some-") and len(name) == 10 for name in names)


async def test_another_uid_is_refused(world: World) -> None:
    await world.pod()
    body = {"metadata": {"uid": "00000000-0000-0000-0000-000000000000"}, "status": {"phase": "Failed"}}
    assert await refusal(world.api.patch(f"{world.pods}/p/status", body, "strategic")) == 422
    assert await refusal(world.api.delete(f"{world.pods}/p", uid=body["metadata"]["uid"], grace_seconds=0)) == 409
    assert await refusal(world.api.patch(f"{world.pods}/other/status", body, "strategic")) == 404
    assert await refusal(world.api.delete(f"{world.pods}/other", uid="x", grace_seconds=0)) == 404


async def test_a_bound_pod_ends_gracefully(world: World) -> None:
    uid = (await world.pod())["metadata"]["uid"]
    await world.admin.delete(f"{world.pods}/p")
    meta = (await world.api.get(f"{world.pods}/p"))["metadata"]
    assert (meta["deletionGracePeriodSeconds"], meta["generation"]) == (30, 2)
    assert meta["deletionTimestamp"]
    await world.admin.delete(f"{world.pods}/p", grace_seconds=40)
    await world.admin.delete(f"{world.pods}/p", grace_seconds=5)
    assert (await world.api.get(f"{world.pods}/p"))["metadata"]["deletionGracePeriodSeconds"] == 5
    answer = await world.api.delete(f"{world.pods}/p", uid=uid, grace_seconds=0)
    assert answer["metadata"]["uid"] == uid
    assert "finalizers" not in answer["metadata"]
    assert await refusal(world.admin.get(f"{world.pods}/p")) == 404


async def test_an_ended_pod_goes_at_once(world: World) -> None:
    uid = (await world.pod())["metadata"]["uid"]
    body = {"metadata": {"uid": uid}, "status": {"phase": "Succeeded"}}
    await world.api.patch(f"{world.pods}/p/status", body, "strategic")
    await world.admin.delete(f"{world.pods}/p")
    assert await refusal(world.admin.get(f"{world.pods}/p")) == 404


async def test_finalizers_hold_a_pod(world: World) -> None:
    uid = (await world.pod(finalizers=["example.com/hold"]))["metadata"]["uid"]
    await world.admin.delete(f"{world.pods}/p")
    answer = await world.api.delete(f"{world.pods}/p", uid=uid, grace_seconds=0)
    assert answer["metadata"]["finalizers"] == ["example.com/hold"]
    assert (await world.api.get(f"{world.pods}/p"))["metadata"]["deletionGracePeriodSeconds"] == 0


async def test_a_watch_tells_of_a_life(world: World) -> None:
    query = {"fieldSelector": f"spec.nodeName={NODE}"}
    start = (await world.api.list("/api/v1/pods", query))["metadata"]["resourceVersion"]
    uid = (await world.pod())["metadata"]["uid"]
    body = {"metadata": {"uid": uid}, "status": {"phase": "Running"}}
    await world.api.patch(f"{world.pods}/p/status", body, "strategic")
    await world.admin.delete(f"{world.pods}/p", grace_seconds=0)
    seen: list[tuple[str, str]] = []
    versions: list[int] = []
    async with (
        asyncio.timeout(20),
        aclosing(
            world.api.watch("/api/v1/pods", {**query, "resourceVersion": start, "timeoutSeconds": "10"}, 15)  # type: ignore[type-var]
        ) as lines,
    ):
        async for line in lines:
            if line["object"]["metadata"]["uid"] != uid:
                continue
            seen.append((line["type"], line["object"]["status"]["phase"]))
            versions.append(int(line["object"]["metadata"]["resourceVersion"]))
            if line["type"] == "DELETED":
                assert line["object"]["metadata"].get("deletionGracePeriodSeconds") == 0
                break
    assert seen[0] == ("ADDED", "Pending")
    assert ("MODIFIED", "Running") in seen
    assert versions == sorted(versions)


async def test_a_token_is_bound_to_the_pod(world: World) -> None:
    if isinstance(world.api, FakeKubeApi):
        await world.admin.create(
            f"/api/v1/namespaces/{world.namespace}/serviceaccounts", {"metadata": {"name": "default"}}
        )
    made = await world.pod(token=True)  # a node gets tokens only for what a volume of the pod asks for
    bound = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": made["metadata"]["uid"]}
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": [], "expirationSeconds": 600, "boundObjectRef": bound},
    }
    accounts = f"/api/v1/namespaces/{world.namespace}/serviceaccounts"

    async def ask() -> Json:
        async with asyncio.timeout(10):
            while True:  # the Node authorizer learns of the pod a moment later
                try:
                    return await world.api.create(f"{accounts}/default/token", body)
                except KubeError as error:
                    if error.code != 403:
                        raise
                await SystemClock().sleep(0.05)

    answer = await ask()
    assert answer["status"]["token"]
    assert answer["status"]["expirationTimestamp"]
    assert answer["spec"]["expirationSeconds"] == 600
