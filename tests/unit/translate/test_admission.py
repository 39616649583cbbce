from __future__ import annotations

from typing import Any

import pytest

from provider.model.errors import Rejection
from provider.translate.admission import admit


def pod(spec: dict[str, Any] | None = None, container: dict[str, Any] | None = None) -> dict[str, Any]:
    first = {"name": "main", "image": "busybox", **(container or {})}
    return {"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": [first], **(spec or {})}}


@pytest.mark.parametrize(
    "spec",
    [
        {"hostNetwork": False, "ephemeralContainers": [], "hostUsers": True, "os": {"name": "linux"}},
        {"priority": 7, "tolerations": [{"operator": "Exists"}], "serviceAccount": "default", "schedulerName": "x"},
        {"volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}], "overhead": {"cpu": "1m"}},
        {
            "securityContext": {
                "fsGroup": 1,
                "fsGroupChangePolicy": "OnRootMismatch",
                "supplementalGroupsPolicy": "Merge",
            }
        },
        {"shareProcessNamespace": True, "setHostnameAsFQDN": True, "hostnameOverride": "x", "subdomain": "y"},
        {
            "securityContext": {
                "sysctls": [{"name": "net.ipv4.tcp_syncookies", "value": "1"}],
                "seLinuxOptions": {"level": "s0"},
                "appArmorProfile": {"type": "Unconfined"},
            }
        },
    ],
)
def test_admits_defaults_and_other_components_fields(spec: dict[str, Any]) -> None:
    assert admit(pod(spec)).spec.containers[0].name == "main"


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"hostNetwork": True}, "spec.hostNetwork"),
        ({"hostPID": True}, "spec.hostPID"),
        ({"hostUsers": False}, "spec.hostUsers"),
        ({"os": {"name": "windows"}}, "spec.os"),
        ({"resourceClaims": [{"name": "gpu"}]}, "spec.resourceClaims"),
        ({"resources": {"limits": {"cpu": "1"}}}, "spec.resources"),
        ({"aFieldOfTomorrow": 1}, "spec.aFieldOfTomorrow"),
        ({"volumes": [{"name": "v", "iscsi": {"lun": 1}}]}, "spec.volumes[0].iscsi"),
        ({"volumes": [{"name": "v", "ephemeral": {}}]}, "spec.volumes[0].ephemeral"),
        ({"securityContext": {"supplementalGroupsPolicy": "Strict"}}, "spec.securityContext.supplementalGroupsPolicy"),
        ({"securityContext": {"appArmorProfile": {"type": "Localhost"}}}, "spec.securityContext.appArmorProfile.type"),
        ({"securityContext": {"windowsOptions": {"runAsUserName": "x"}}}, "spec.securityContext.windowsOptions"),
        (
            {"volumes": [{"name": "v", "projected": {"sources": [{"clusterTrustBundle": {"path": "x"}}]}}]},
            "spec.volumes[0].projected.sources[0].clusterTrustBundle",
        ),
    ],
)
def test_refuses_a_pod_field_by_its_path(spec: dict[str, Any], path: str) -> None:
    with pytest.raises(Rejection) as refused:
        admit(pod(spec))
    assert (refused.value.field, refused.value.terminal) == (path, True)
    assert path in refused.value.message


@pytest.mark.parametrize(
    ("container", "path"),
    [
        ({"ports": [{"containerPort": 1, "hostPort": 1}]}, "ports[0].hostPort"),
        ({"livenessProbe": {"grpc": {"port": 1, "mode": "TLS"}}}, "livenessProbe.grpc.mode"),
        ({"securityContext": {"seccompProfile": {"type": "Localhost"}}}, "securityContext.seccompProfile.type"),
        ({"securityContext": {"procMount": "Unmasked"}}, "securityContext.procMount"),
        (
            {"volumeMounts": [{"name": "v", "mountPath": "/v", "mountPropagation": "HostToContainer"}]},
            "volumeMounts[0].mountPropagation",
        ),
        (
            {"volumeMounts": [{"name": "v", "mountPath": "/v", "recursiveReadOnly": "Enabled"}]},
            "volumeMounts[0].recursiveReadOnly",
        ),
        ({"env": [{"name": "A", "valueFrom": {"fileKeyRef": {"key": "k"}}}]}, "env[0].valueFrom.fileKeyRef"),
        ({"restartPolicyRules": [{"action": "RestartAllContainers"}]}, "restartPolicyRules[0].action"),
    ],
)
def test_refuses_a_container_field_by_its_path(container: dict[str, Any], path: str) -> None:
    with pytest.raises(Rejection) as refused:
        admit(pod(container=container))
    assert refused.value.field == f"spec.containers[0].{path}"


def test_a_wrong_type_is_a_refusal() -> None:
    with pytest.raises(Rejection, match="cannot be read"):
        admit(pod({"hostname": 3}))
