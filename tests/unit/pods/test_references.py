"""What a pod refers to is fetched one by one, as the Node authorizer allows."""

from __future__ import annotations

from base64 import b64encode
from random import Random  # noqa: TID251 (seeded)
from typing import TYPE_CHECKING, Any

import pytest

from provider.clock import LoopClock
from provider.kube.client import KubeError
from provider.model.pod import pod_from_json
from provider.pods.references import Names, fetch, names_of, refresh_at, volumes_with_tokens
from provider.translate.references import References
from tests.support.kube_fake import FakeKubeApi

if TYPE_CHECKING:
    from provider.model.pod import Pod

TOKEN = {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}}


def pod(**spec: Any) -> Pod:
    mounts = [{"name": one["name"], "mountPath": "/m"} for one in spec.get("volumes") or ()]
    containers = [{"name": "c", "image": "i", "volumeMounts": mounts, **spec.pop("container", {})}]
    meta = {"name": "p", "namespace": "n", "uid": "u"}
    return pod_from_json({"metadata": meta, "spec": {"containers": containers, "serviceAccountName": "robot", **spec}})


ALL = pod(
    container={
        "env": [
            {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "env-map", "key": "k"}}},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "env-secret", "key": "k"}}},
            {"name": "C", "value": "plain"},
        ],
        "envFrom": [{"configMapRef": {"name": "from-map"}}, {"secretRef": {"name": "from-secret"}}],
    },
    initContainers=[{"name": "i", "envFrom": [{"configMapRef": {"name": "init-map"}}]}],
    imagePullSecrets=[{"name": "pull"}],
    volumes=[
        {"name": "a", "configMap": {"name": "env-map"}},
        {"name": "b", "secret": {"secretName": "vol-secret"}},
        {
            "name": "c",
            "projected": {
                "sources": [
                    TOKEN,
                    {"serviceAccountToken": {"path": "other", "audience": "vault", "expirationSeconds": 600}},
                    {"configMap": {"name": "kube-root-ca.crt"}},
                    {"secret": {"name": "proj-secret"}},
                    {"downwardAPI": {"items": []}},
                ]
            },
        },
        {"name": "d", "emptyDir": {}},
    ],
)


def test_each_name_is_found_once() -> None:
    assert names_of(ALL) == Names(
        config_maps=("init-map", "from-map", "env-map", "kube-root-ca.crt"),
        secrets=("from-secret", "env-secret", "vol-secret", "proj-secret", "pull"),
        tokens=(("", 3607), ("vault", 600)),
    )
    assert [one.name for one in volumes_with_tokens(ALL)] == ["c"]


@pytest.mark.parametrize(
    ("seconds", "due"),
    [(3600, 2880), (600, 480), (3 * 24 * 3600, 24 * 3600)],
)
def test_when_a_token_is_due(seconds: int, due: float) -> None:
    issued = 1_000_000.0
    assert refresh_at(issued + seconds, seconds, 0) == issued + due
    assert refresh_at(issued + seconds, seconds, 7) == issued + due - 7


async def api_with(**objects: dict[str, Any]) -> FakeKubeApi:
    api = FakeKubeApi(LoopClock())
    await api.create("/api/v1/namespaces/n/serviceaccounts", {"metadata": {"name": "robot"}})
    for plural, items in objects.items():
        for name, body in items.items():
            await api.create(f"/api/v1/namespaces/n/{plural}", {"metadata": {"name": name}, **body})
    api.calls.clear()
    return api


@pytest.mark.looptime
async def test_what_exists_is_read_and_tokens_are_bound_to_the_pod() -> None:
    api = await api_with(
        configmaps={"m": {"data": {"a": "ä"}, "binaryData": {"b": b64encode(b"\xff").decode()}}},
        secrets={"s": {"data": {"k": b64encode(b"v").decode()}}},
    )
    one = pod(
        container={"envFrom": [{"configMapRef": {"name": "m"}}, {"secretRef": {"name": "s"}}]},
        volumes=[{"name": "t", "projected": {"sources": [TOKEN]}}],
        imagePullSecrets=[{"name": "missing"}],
    )
    fetched = await fetch(one, names_of(one), api, References(host_ip="192.0.2.1"), Random(1))
    assert fetched.references == References(
        config_maps={"m": {"a": "ä".encode(), "b": b"\xff"}},
        binary_keys={"m": frozenset({"b"})},
        secrets={"s": {"k": b"v"}},
        tokens={("", 3607): "token-1"},
        host_ip="192.0.2.1",
    )
    assert api.tokens == [
        {
            "audiences": [],
            "expirationSeconds": 3607,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"},
        }
    ]
    assert fetched.refresh_at is not None
    assert 3607 * 0.8 - 11 < fetched.refresh_at - LoopClock().now() < 3607 * 0.8 + 1
    assert {one.path for one in api.calls} == {
        "/api/v1/namespaces/n/configmaps/m",
        "/api/v1/namespaces/n/secrets/s",
        "/api/v1/namespaces/n/secrets/missing",
        "/api/v1/namespaces/n/serviceaccounts/robot/token",
    }


@pytest.mark.looptime
async def test_a_missing_account_is_told_and_other_failures_raise() -> None:
    api = FakeKubeApi(LoopClock())
    one = pod(volumes=[{"name": "t", "projected": {"sources": [TOKEN]}}])
    fetched = await fetch(one, names_of(one), api, References(), Random(1))
    assert fetched.references.token_errors == {("", 3607): 'serviceaccounts "robot" not found'}
    assert fetched.refresh_at is None
    api.fail("create", "/token", KubeError(404, "NotFound", 'pod "p" not found'))  # bound a moment ago
    with pytest.raises(KubeError, match="token of serviceaccount robot: pod"):
        await fetch(one, names_of(one), api, References(), Random(1))
    api.fail("create", "/token", KubeError(403, "Forbidden", "no relationship found"))
    with pytest.raises(KubeError, match="token of serviceaccount robot: no relationship found"):
        await fetch(one, names_of(one), api, References(), Random(1))


def test_a_volume_that_no_container_mounts_is_not_looked_at() -> None:
    volumes = [{"name": "a", "configMap": {"name": "m"}}, {"name": "b", "secret": {"secretName": "s"}}]
    one = pod(container={"volumeMounts": []}, volumes=volumes)
    assert names_of(one) == Names()
    mounted_by_init = [{"name": "i", "volumeMounts": [{"name": "b", "mountPath": "/m"}]}]
    one = pod(container={"volumeMounts": []}, volumes=volumes, initContainers=mounted_by_init)
    assert names_of(one) == Names(secrets=("s",))
