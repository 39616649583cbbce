from __future__ import annotations

from typing import Any

import pytest

from provider.model.errors import Rejection
from provider.model.pod import Pod, pod_from_json
from provider.model.request import EnvVar
from provider.translate.environment import environment
from provider.translate.references import References, Service

REFERENCES = References(
    config_maps={"cm": {"a": b"1", "b=c": b"no"}},
    secrets={"s": {"k": b"v"}},
    host_ip="10.0.0.1",
    cpu=64000,
    memory=2**30,
)


def pod(container: dict[str, Any], **spec: Any) -> Pod:
    meta = {"name": "p", "namespace": "ns", "uid": "u-1", "labels": {"app": "x"}}
    return pod_from_json(
        {"metadata": meta, "spec": {"containers": [{"name": "c", **container}], "nodeName": "n", **spec}}
    )


def variables(container: dict[str, Any], references: References = REFERENCES, **spec: Any) -> tuple[EnvVar, ...]:
    made = pod(container, **spec)
    return environment(made, made.spec.containers[0], references, "spec.containers[0]")


def source(**value: Any) -> dict[str, Any]:
    return {"env": [{"name": "A", "valueFrom": value}]}


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({"env": [{"name": "A", "value": "$(B)"}]}, EnvVar("A", "$(B)", expand=True)),
        (source(configMapKeyRef={"name": "cm", "key": "a"}), EnvVar("A", "1")),
        (source(secretKeyRef={"name": "s", "key": "k"}), EnvVar("A", "v")),
        (source(fieldRef={"fieldPath": "metadata.labels['app']"}), EnvVar("A", "x")),
        (source(fieldRef={"fieldPath": "metadata.uid"}), EnvVar("A", "u-1")),
        (source(fieldRef={"fieldPath": "status.hostIP"}), EnvVar("A", "10.0.0.1")),
        (source(fieldRef={"fieldPath": "status.podIP"}), EnvVar("A", from_address=True)),
        (source(resourceFieldRef={"resource": "limits.cpu"}), EnvVar("A", "64")),
        (
            {
                **source(resourceFieldRef={"resource": "requests.cpu", "divisor": "1m"}),
                "resources": {"requests": {"cpu": "1500m"}},
            },
            EnvVar("A", "1500"),
        ),
        ({"envFrom": [{"prefix": "P_", "configMapRef": {"name": "cm"}}]}, EnvVar("P_a", "1")),
    ],
)
def test_each_source(container: dict[str, Any], expected: EnvVar) -> None:
    assert variables(container) == (expected,)


def test_resources_of_a_container_that_does_not_exist() -> None:
    with pytest.raises(Rejection, match="container nobody not found") as refused:
        variables(source(resourceFieldRef={"containerName": "nobody", "resource": "limits.cpu"}))
    assert (refused.value.terminal, refused.value.waiting) == (False, "CreateContainerConfigError")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"configMapKeyRef": {"name": "no", "key": "a"}}, 'configmap "no" not found'),
        ({"secretKeyRef": {"name": "no", "key": "a"}}, 'secret "no" not found'),
        ({"secretKeyRef": {"name": "s", "key": "z"}}, "couldn't find key z in Secret ns/s"),
        ({"configMapKeyRef": {"name": "cm", "key": "z"}}, "couldn't find key z in ConfigMap ns/cm"),
    ],
)
def test_missing_waits_unless_optional(value: dict[str, Any], message: str) -> None:
    with pytest.raises(Rejection) as refused:
        variables(source(**value))
    assert (refused.value.message, refused.value.terminal, refused.value.waiting) == (
        message,
        False,
        "CreateContainerConfigError",
    )
    ((kind, selector),) = value.items()
    assert variables(source(**{kind: {**selector, "optional": True}})) == ()


def test_service_links() -> None:
    references = References(
        services=(
            Service("default", "kubernetes", "10.96.0.1", (("https", 443, "TCP"),)),
            Service("ns", "my-db", "10.96.0.9", (("", 5432, "TCP"),)),
        ),
    )
    names = {one.name: one.value for one in variables({}, references)}
    assert names["MY_DB_PORT_5432_TCP"] == "tcp://10.96.0.9:5432"
    assert names["KUBERNETES_SERVICE_PORT_HTTPS"] == "443"
    without = {one.name for one in variables({}, references, enableServiceLinks=False)}
    assert without == {name for name in names if name.startswith("KUBERNETES_")}


def test_binary_data_is_no_variable() -> None:
    references = References(config_maps={"cm": {"a": b"1", "blob": b"\xff"}}, binary_keys={"cm": frozenset({"blob"})})
    assert variables({"envFrom": [{"configMapRef": {"name": "cm"}}]}, references) == (EnvVar("a", "1"),)
    with pytest.raises(Rejection, match="couldn't find key blob in ConfigMap ns/cm"):
        variables(source(configMapKeyRef={"name": "cm", "key": "blob"}), references)


def test_what_is_missing_names_the_container() -> None:
    for container, field in (
        (source(configMapKeyRef={"name": "no", "key": "a"}), "spec.containers[0].env[0]"),
        ({"envFrom": [{"secretRef": {"name": "no"}}]}, "spec.containers[0]"),
    ):
        with pytest.raises(Rejection) as refused:
            variables(container)
        assert (refused.value.field, refused.value.terminal) == (field, False)
