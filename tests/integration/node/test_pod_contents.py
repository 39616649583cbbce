"""What a pod's containers are given, fetched with the node's own credential: environment, files, a token of its own."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from provider.model.volume import EmptyDirVolume
from tests.integration.node.pod_lab import HOST_IP, PodLab, pod_lab
from tests.support.control_plane import client, node_kubeconfig, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from provider.cluster.local import LocalCluster
    from provider.kube.client import HttpKubeApi

Json = dict[str, Any]
NODE = "node-contents"


@pytest.fixture
async def lab(cluster: LocalCluster, admin: HttpKubeApi, tmp_path: Path) -> AsyncIterator[PodLab]:
    async with client(node_kubeconfig(cluster, NODE)) as own, pod_lab(NODE, tmp_path, admin, own) as made:
        yield made


async def put(lab: PodLab, kind: str, name: str, **fields: Any) -> None:
    path = f"/api/v1/namespaces/{lab.namespace}/{kind.lower()}s"
    await lab.admin.create(path, {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **fields})


def field(path: str) -> Json:
    return {"fieldRef": {"fieldPath": path}}


async def running(lab: PodLab, name: str, **fields: Any) -> Json:
    main = {"name": "main", "image": "busybox:1.36", **fields.pop("main", {})}
    await lab.pod(name, containers=[main], **fields)
    return await lab.becomes(name, lambda status: status["phase"] == "Running")


async def test_an_environment_has_every_source(lab: PodLab) -> None:
    await put(lab, "ConfigMap", "settings", data={"LEVEL": "info", "other": "x"})
    await put(lab, "Secret", "login", stringData={"password": "s3cret"})
    env: list[Json] = [
        {"name": "PLAIN", "value": "a"},
        {"name": "MADE", "value": "$(PLAIN)-$(PASSWORD)-$(NOBODY)-$$(PLAIN)"},
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}},
        {"name": "AFTER", "value": "$(PASSWORD)"},
        {"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "LEVEL"}}},
        {"name": "NONE", "valueFrom": {"configMapKeyRef": {"name": "absent", "key": "x", "optional": True}}},
        {"name": "NAME", "valueFrom": field("metadata.name")},
        {"name": "SPACE", "valueFrom": field("metadata.namespace")},
        {"name": "UID", "valueFrom": field("metadata.uid")},
        {"name": "LABEL", "valueFrom": field("metadata.labels['app']")},
        {"name": "NODE", "valueFrom": field("spec.nodeName")},
        {"name": "ACCOUNT", "valueFrom": field("spec.serviceAccountName")},
        {"name": "POD_IP", "valueFrom": field("status.podIP")},
        {"name": "HOST_IP", "valueFrom": field("status.hostIP")},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
    ]
    main = {
        "env": env,
        "envFrom": [{"configMapRef": {"name": "settings"}, "prefix": "S_"}],
        "resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}},
    }
    pod = await running(lab, "environment", labels={"app": "web"}, main=main)
    uid = pod["metadata"]["uid"]
    given = lab.runtime.environment[uid, "main"]
    wanted = {
        "PLAIN": "a",
        "MADE": "a-$(PASSWORD)-$(NOBODY)-$(PLAIN)",
        "PASSWORD": "s3cret",
        "AFTER": "s3cret",
        "LEVEL": "info",
        "NAME": "environment",
        "SPACE": lab.namespace,
        "UID": uid,
        "LABEL": "web",
        "NODE": NODE,
        "ACCOUNT": "default",
        "POD_IP": pod["status"]["podIP"],
        "HOST_IP": HOST_IP,
        "CPU": "2",
        "MEMORY": "64",
        "S_LEVEL": "info",
        "S_other": "x",
    }
    assert {name: given.get(name) for name in wanted} == wanted
    assert "NONE" not in given


async def test_volumes_have_their_files_and_follow_their_objects(lab: PodLab) -> None:
    await put(lab, "ConfigMap", "page", data={"index": "one", "left-out": "x"}, binaryData={"blob": "AP8="})
    await put(lab, "Secret", "key", stringData={"key.pem": "secret"})
    volumes: list[Json] = [
        {"name": "page", "configMap": {"name": "page", "items": [{"key": "index", "path": "www/index.html"}]}},
        {"name": "all", "configMap": {"name": "page", "defaultMode": 0o640}},
        {"name": "key", "secret": {"secretName": "key", "defaultMode": 0o400}},
        {"name": "none", "secret": {"secretName": "absent", "optional": True}},
        {"name": "about", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        {"name": "scratch", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
    ]
    mounts = [{"name": each["name"], "mountPath": f"/{each['name']}"} for each in volumes]
    pod = await running(lab, "files", labels={"app": "web"}, volumes=volumes, main={"volumeMounts": mounts})
    uid = pod["metadata"]["uid"]

    def content(volume: str) -> dict[str, bytes]:
        return {path: each.content for path, each in lab.runtime.files[uid, volume].items()}

    assert content("page") == {"www/index.html": b"one"}
    assert content("all") == {"index": b"one", "left-out": b"x", "blob": b"\x00\xff"}
    assert lab.runtime.files[uid, "all"]["blob"].mode == 0o640
    assert content("key") == {"key.pem": b"secret"}
    assert lab.runtime.files[uid, "key"]["key.pem"].mode == 0o400
    assert content("none") == {}
    assert content("about") == {"labels": b'app="web"'}
    assert EmptyDirVolume("scratch", memory=True, size_limit=16 << 20) in lab.runtime.volumes[uid]

    await lab.admin.patch(
        f"/api/v1/namespaces/{lab.namespace}/configmaps/page", {"data": {"index": "two", "left-out": None}}, "merge"
    )
    await lab.admin.patch(f"{lab.pods}/files", {"metadata": {"labels": {"app": "shop"}}}, "merge")

    async def followed() -> bool:
        return (content("page"), content("about")) == ({"www/index.html": b"two"}, {"labels": b'app="shop"'})

    assert await until(followed, 50)
    assert content("all") == {"index": b"two", "blob": b"\x00\xff"}
    assert lab.runtime.starts[uid, "main", 0] == 1


async def test_a_pods_token_is_its_own(lab: PodLab) -> None:
    pod = await running(lab, "token")
    uid = pod["metadata"]["uid"]
    (volume,) = [each["name"] for each in pod["spec"]["volumes"]]
    files = lab.runtime.files[uid, volume]
    assert files.keys() == {"token", "ca.crt", "namespace"}
    assert files["namespace"].content == lab.namespace.encode()
    token = files["token"].content.decode()
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    bound = claims["kubernetes.io"]
    assert (bound["pod"], bound["node"]["name"]) == ({"name": "token", "uid": uid}, NODE)
    asked = pod["spec"]["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"]
    assert bound["warnafter"] - claims["iat"] == asked  # the API server extends the tokens of this length
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    review = (await lab.admin.create("/apis/authentication.k8s.io/v1/tokenreviews", body))["status"]
    assert review["authenticated"]
    assert review["user"]["username"] == f"system:serviceaccount:{lab.namespace}:default"
    await lab.admin.delete(f"{lab.pods}/token")
    await lab.gone("token")

    async def revoked() -> bool:
        answer = await lab.admin.create("/apis/authentication.k8s.io/v1/tokenreviews", body)
        return not answer["status"].get("authenticated")

    assert await until(revoked)  # a token ends with its pod
