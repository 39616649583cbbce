"""A zone's Node on a real API server: its own credential, what NodeRestriction forbids it, its certificate, its return."""

from __future__ import annotations

import asyncio
import base64
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from cryptography import x509

from provider.cluster.build import build_all, cache_root
from provider.kube.client import HttpKubeApi, KubeError
from tests.integration.node.zone_world import ZoneWorld, condition, zone_world
from tests.support.control_plane import add_namespace, client, until

if TYPE_CHECKING:
    from pathlib import Path

    from provider.cluster.local import LocalCluster

Json = dict[str, Any]
CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
TAINT = {"key": "virtual-kubelet.io/provider", "value": "zonelet", "effect": "NoSchedule"}


async def found(api: HttpKubeApi, path: str) -> Json | None:
    try:
        return await api.get(path)
    except KubeError as error:
        if error.code != 404:
            raise
        return None


async def whole(admin: HttpKubeApi, world: ZoneWorld, other_than: str = "") -> Json:
    """Wait until the Node is there with all that it needs, and return it."""

    async def look() -> Json | None:
        node = await found(admin, world.path)
        if node is None or node["metadata"]["uid"] == other_than or condition(node, "Ready").get("status") != "True":
            return None
        return node if node["metadata"]["labels"].get("kubernetes.io/role") else None

    return dict(await until(look))


async def requests(admin: HttpKubeApi, name: str, signer: str) -> list[Json]:
    listed = await admin.list(CSRS)
    return [
        each
        for each in listed["items"]
        if each["metadata"]["name"].startswith(f"{name}-") and each["spec"]["signerName"] == f"kubernetes.io/{signer}"
    ]


async def test_a_node_registers_by_its_own_credential(
    cluster: LocalCluster, admin: HttpKubeApi, tmp_path: Path
) -> None:
    async with zone_world(cluster, tmp_path, "node-own") as world:
        node = await whole(admin, world)
        assert node["spec"]["providerID"] == "zonelet://local/node-test/zone-a"
        # the life-cycle controller puts its own beside ours while the Node is new
        assert TAINT in node["spec"]["taints"]
        assert node["metadata"]["labels"]["kubernetes.io/role"] == "agent"
        assert node["status"]["nodeInfo"]["kubeletVersion"] == "v1.37.2-zonelet-0.1.0"
        assert node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"] == world.port.reserve()
        assert {each["type"] for each in node["status"]["addresses"]} == {"InternalIP", "Hostname"}
        (asked,) = await requests(admin, world.name, "kube-apiserver-client-kubelet")
        assert asked["spec"]["username"] == "zonelet-provider"
        assert [each["type"] for each in asked["status"]["conditions"]] == ["Approved"]
        lease = await until(lambda: found(admin, f"{LEASES}/{world.name}"))
        assert lease["metadata"]["ownerReferences"][0]["uid"] == node["metadata"]["uid"]
        assert await until(lambda: told(admin, node, "NodeReady"))
        async with client(world.kubeconfig) as own:
            await refuses(own, world)


async def told(admin: HttpKubeApi, node: Json, reason: str) -> list[Json]:
    """Return the Node's events of this reason that its own kubelet, ours, has written."""
    listed = await admin.list("/api/v1/namespaces/default/events")
    return [
        each
        for each in listed["items"]
        if each["involvedObject"].get("uid") == node["metadata"]["uid"]
        and (each["reason"], each["source"].get("component")) == (reason, "kubelet")
    ]


async def refuses(own: HttpKubeApi, world: ZoneWorld) -> None:
    """The API server holds the node's credential to NodeRestriction, so the provider's is needed for the rest."""
    forbidden: list[Json] = [
        {"metadata": {"labels": {"kubernetes.io/role": "master"}}},
        {"spec": {"taints": []}},
        {"metadata": {"labels": {"node-restriction.kubernetes.io/pool": "gold"}}},
    ]
    for body in forbidden:
        with pytest.raises(KubeError) as refused:
            await own.patch(world.path, body, "merge")
        assert refused.value.code == 403, body
    with pytest.raises(KubeError) as refused:
        await own.delete(world.path)
    assert refused.value.code == 403


async def test_the_api_server_trusts_the_kubelet_port(
    cluster: LocalCluster, admin: HttpKubeApi, tmp_path: Path
) -> None:
    async with zone_world(cluster, tmp_path, "node-serving") as world:
        node = await whole(admin, world)

        async def issued() -> Json | None:
            made = await requests(admin, world.name, "kubelet-serving")
            return next((each for each in made if each["status"].get("certificate")), None)

        asked = await until(issued)
        assert asked["spec"]["username"] == "system:node:node-serving"
        shown = x509.load_pem_x509_certificate(base64.b64decode(asked["status"]["certificate"]))
        names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["node-serving"]
        internal = next(each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP")
        assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == [internal]

        async def through() -> Json | None:
            try:
                return await admin.get(f"{world.path}/proxy/pods")  # the API server verifies the port's certificate
            except KubeError as error:
                if error.code not in (500, 502, 503):
                    raise
                return None

        assert (await until(through))["kind"] == "PodList"
        served = await asyncio.to_thread(
            ssl.get_server_certificate,
            (internal, world.port.reserve()),
            ca_certs=str(cluster.state / "pki" / "ca.crt"),
            timeout=10,
        )
        assert x509.load_pem_x509_certificate(served.encode()) == shown


async def test_a_deleted_node_comes_back_whole(cluster: LocalCluster, admin: HttpKubeApi, tmp_path: Path) -> None:
    async with zone_world(cluster, tmp_path, "node-back") as world:
        first = await whole(admin, world)
        await admin.delete(world.path)
        node = await whole(admin, world, other_than=first["metadata"]["uid"])
        assert TAINT in node["spec"]["taints"]
        assert node["metadata"]["labels"]["kubernetes.io/role"] == "agent"
        assert node["spec"]["providerID"] == first["spec"]["providerID"]

        async def renewed() -> bool:
            lease = await found(admin, f"{LEASES}/{world.name}")
            return lease is not None and lease["metadata"]["ownerReferences"][0]["uid"] == node["metadata"]["uid"]

        assert await until(renewed)
        assert len(await requests(admin, world.name, "kube-apiserver-client-kubelet")) == 1


async def test_a_second_start_takes_the_node_and_its_certificates_over(
    cluster: LocalCluster, admin: HttpKubeApi, tmp_path: Path
) -> None:
    async with zone_world(cluster, tmp_path, "node-twice") as world:
        first = await whole(admin, world)
        await until(lambda: requests(admin, world.name, "kubelet-serving"))
    await admin.patch(world.path, {"metadata": {"labels": {"pool": "gold"}}}, "merge")
    async with zone_world(cluster, tmp_path, "node-twice") as world:
        port = world.port.reserve()

        async def announced() -> Json | None:
            node = await admin.get(world.path)
            return node if node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"] == port else None

        node = await until(announced)
        assert node["metadata"]["uid"] == first["metadata"]["uid"]
        assert node["metadata"]["labels"]["pool"] == "gold"
        assert len(await requests(admin, world.name, "kube-apiserver-client-kubelet")) == 1


async def test_a_pod_that_the_scheduler_places_runs(cluster: LocalCluster, admin: HttpKubeApi, tmp_path: Path) -> None:
    await add_namespace(admin, "placed")
    async with zone_world(cluster, tmp_path, "node-placed") as world:
        await whole(admin, world)
        toleration = {"key": "virtual-kubelet.io/provider", "operator": "Exists"}
        spec = {"nodeSelector": {"kubernetes.io/hostname": world.name}, "tolerations": [toleration]}
        await admin.create("/api/v1/namespaces/placed/pods", pod("tolerant", {"duration": "0.5"}, **spec))
        await admin.create(
            "/api/v1/namespaces/placed/pods", pod("other", {"duration": "0.5"}, **spec | {"tolerations": []})
        )

        async def done() -> Json | None:
            found = await admin.get("/api/v1/namespaces/placed/pods/tolerant")
            return found if found["status"]["phase"] == "Succeeded" else None

        assert (await until(done))["spec"]["nodeName"] == world.name

        async def kept_away() -> bool:
            found = await admin.get("/api/v1/namespaces/placed/pods/other")
            return any(each.get("reason") == "Unschedulable" for each in found["status"].get("conditions", ()))

        assert await until(kept_away)


def pod(name: str, simulate: dict[str, str], **spec: Any) -> Json:
    """A pod of one container that the simulated cloud runs so long."""
    hints = {f"simulate.zonelet.dev/{key}": value for key, value in simulate.items()}
    containers = [{"name": "main", "image": "busybox:1.36"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": hints},
        "spec": {"restartPolicy": "Never", "containers": containers, **spec},
    }


async def test_a_websocket_comes_straight_to_the_node(
    cluster: LocalCluster, admin: HttpKubeApi, tmp_path: Path
) -> None:
    await add_namespace(admin, "straight")
    kubectl = build_all(cache_root(), print).kubectl

    async def told(*arguments: str) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            str(kubectl),
            f"--kubeconfig={cluster.kubeconfig}",
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(30):
            out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    async def streams() -> float:
        """How often this API server has passed an exec on."""
        _, metrics, _ = await told("get", "--raw", "/metrics")
        counted = [each for each in metrics.splitlines() if "websocket_streaming_requests_total{" in each]
        return sum(float(each.split()[-1]) for each in counted if "proxied_to_kubelet" in each and '"exec"' in each)

    async with zone_world(cluster, tmp_path, "node-straight") as world:
        node = await whole(admin, world)
        assert node["status"]["declaredFeatures"] == ["ExtendWebSocketsToKubelet"]
        await admin.create("/api/v1/namespaces/straight/pods", pod("p", {}, nodeName=world.name))

        async def reached() -> bool:
            code, _, _ = await told("exec", "-n", "straight", "p", "--", "true")
            return code == 0

        await until(reached)  # the pod runs, and the port's certificate is there
        before = await streams()
        assert await told("exec", "-n", "straight", "p", "--", "true") == (0, "", "")
        assert await streams() == before + 1


async def test_another_ones_node_is_left_alone(cluster: LocalCluster, admin: HttpKubeApi, tmp_path: Path) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "node-theirs"},
        "spec": {"providerID": "aws:///eu-west-1a/i-0abc"},
    }
    theirs = await admin.create("/api/v1/nodes", body)
    await add_namespace(admin, "theirs")
    await admin.create("/api/v1/namespaces/theirs/pods", pod("p", {"duration": "0.5"}, nodeName="node-theirs"))
    with structlog.testing.capture_logs() as logs:
        async with zone_world(cluster, tmp_path, "node-theirs") as world:

            async def told() -> bool:
                return any(each["event"] == "node.taken" for each in logs)

            await until(told)
            assert (await requests(admin, world.name, "kubelet-serving")) == []
            status = (await admin.get("/api/v1/namespaces/theirs/pods/p"))["status"]
            assert (status["phase"], "containerStatuses" in status) == ("Pending", False)
            assert await found(admin, f"{LEASES}/node-theirs") is None
            node = await admin.get(world.path)
            assert node["metadata"].get("labels", {}) == theirs["metadata"].get("labels", {})
            assert node["spec"]["providerID"] == "aws:///eu-west-1a/i-0abc"
            await admin.delete(world.path)
            assert (await whole(admin, world))["spec"]["providerID"] == "zonelet://local/node-test/zone-a"

            async def runs() -> bool:
                return (await admin.get("/api/v1/namespaces/theirs/pods/p"))["status"]["phase"] == "Succeeded"

            assert await until(runs)
