"""Every field of a pod's spec, changed one at a time: it has an effect, is refused by name, or is listed here.

The fields are those that Kubernetes' own client library knows, not those that this project knows.
"""

from __future__ import annotations

import copy
import importlib
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from provider.model.errors import Rejection
from provider.model.ids import ZoneId
from provider.translate.admission import OTHERS_FIELDS, admit
from provider.translate.references import References
from provider.translate.request import Placement, instance_request

if TYPE_CHECKING:
    from provider.model.request import InstanceRequest


def _generated() -> Any:
    """Return the library's classes, which provider.kube.library passes over where it was imported before."""
    name = "kubernetes_asyncio.client.models"
    passed_over = {each: sys.modules.pop(each) for each in list(sys.modules) if each.startswith(name)}
    models = importlib.import_module(name)
    sys.modules.update(passed_over)
    return models


models = _generated()
SELECTED = {"name": "m", "key": "k"}
PARTS = {
    "env": [{"name": "A", "value": "a"}, {"name": "B", "valueFrom": {"configMapKeyRef": SELECTED}}],
    "envFrom": [{"configMapRef": {"name": "m"}}],
    "volumeMounts": [{"name": name, "mountPath": f"/{name}"} for name in "vwx"],
    "resources": {"requests": {"cpu": "1"}},
    "securityContext": {"privileged": False},
}
POD: dict[str, Any] = {
    "metadata": {"name": "p", "namespace": "n", "uid": "u"},
    "spec": {
        "containers": [
            {
                "name": "c",
                "image": "i",
                **PARTS,
                "ports": [{"containerPort": 80, "name": "web"}],
                "livenessProbe": {"httpGet": {"port": 80, "httpHeaders": [{"name": "H", "value": "h"}]}},
                "readinessProbe": {"tcpSocket": {"port": 80}},
                "startupProbe": {"exec": {"command": ["true"]}},
                "lifecycle": {"stopSignal": "SIGTERM"},
            }
        ],
        "initContainers": [{"name": "first", "image": "i", **PARTS}],
        "volumes": [
            {"name": "v", "emptyDir": {}},
            {"name": "w", "configMap": {"name": "m", "items": [{"key": "k", "path": "p"}]}},
            {"name": "x", "projected": {"sources": [{"configMap": {"name": "m"}}]}},
        ],
        "securityContext": {"runAsUser": 1, "sysctls": [{"name": "net.ipv4.tcp_syncookies", "value": "1"}]},
        "hostAliases": [{"ip": "1.1.1.1", "hostnames": ["h"]}],
        "dnsConfig": {"options": [{"name": "o", "value": "v"}]},
        "tolerations": [],
        "subdomain": "s",
    },
}
REFERENCES = References(config_maps={"m": {"k": b"v"}}, secrets={"m": {"k": b"v"}})
PLACEMENT = Placement(zone=ZoneId("z"), cluster_dns=("10.96.0.10",))

TOLD_ELSEWHERE = {
    "ports": "information, and names for probes",
    "nodeName": "why the pod is here",
    "serviceAccountName": "who its tokens are for (pods.references)",
    "readinessGates": "part of its status (pods.conditions)",
    "enableServiceLinks": "no service is there in this test",
    "imagePullSecrets": "no secret is there in this test",
    "apiVersion": "of a fieldRef: there is only v1",
    "divisor": "rounds to the same here",
    "optional": "what is there is there",
    "resources": "a limit or request of a resource that is not counted",
    "overhead": "as resources",
}
"""By the field's name: why no effect on the request is right."""

_BASE = instance_request(admit(copy.deepcopy(POD)), REFERENCES, PLACEMENT)


def _fields(kind: str) -> list[tuple[str, str]]:
    model = getattr(models, kind)
    return sorted((model.attribute_map[name], shape) for name, shape in model.openapi_types.items())


def _leaf(shape: str) -> st.SearchStrategy[Any]:
    return {
        "bool": st.booleans(),
        "int": st.sampled_from([0, 1, 7, 2**31]),
        "float": st.just(1.5),
        "str": st.sampled_from(["", "x", "m", "k", "Never", "Always", "None", "1Gi", "/x", "$(A)", "status.podIP"]),
    }.get(shape, st.sampled_from(["1", 2, "web", "1Gi", "nonsense"]))


@st.composite
def changes(draw: st.DrawFn) -> tuple[list[str | int], Any]:
    """A path into the spec, and a value that the API could have there."""
    path: list[str | int] = []
    shape = "V1PodSpec"
    while True:
        if shape.startswith("list["):
            path.append(0)
            shape = shape[5:-1]
        elif shape.startswith("dict("):
            path.append(draw(st.sampled_from(["cpu", "memory", "x"])))
            shape = shape[5:-1].split(", ", 1)[1]
        elif shape.startswith("V1"):
            name, shape = draw(st.sampled_from(_fields(shape)))
            path.append(name)
        else:
            return path, draw(_leaf(shape))
        assume(len(path) < 14)


ONE_OF = (
    {"exec", "httpGet", "tcpSocket", "grpc"},
    {"configMapKeyRef", "secretKeyRef", "fieldRef", "resourceFieldRef"},
    {"configMap", "secret", "projected", "downwardAPI", "emptyDir", "hostPath", "serviceAccountToken"},
    {"value", "valueFrom"},
)
"""Where the API server lets in one only."""


def changed(path: list[str | int], value: Any) -> dict[str, Any]:
    pod = copy.deepcopy(POD)
    place: Any = pod["spec"]
    for step, after in zip(path, [*path[1:], None], strict=True):
        for names in ONE_OF:
            if step in names:
                for name in (names & place.keys()) - {step}:
                    del place[name]
        below: Any = value if after is None else [] if isinstance(after, int) else {}
        if isinstance(step, int):
            if not place:
                place.append(below)
            elif after is None:
                place[step] = value
        elif after is None:
            place[step] = value
        else:
            place.setdefault(step, below)
        place = place[step]
    return pod


def _named(path: list[str | int]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)


OTHERS = {name for names in OTHERS_FIELDS.values() for name in names}


@settings(max_examples=600, deadline=None)
@given(changes())
def test_a_changed_field_has_an_effect_or_is_refused_by_name(change: tuple[list[str | int], Any]) -> None:
    path, value = change
    pod = changed(path, value)
    request = _request(pod)
    if isinstance(request, Rejection):
        # A field of the API, or the place that msgspec names for a pod that the API server would not have let in.
        known = not request.terminal or request.field.startswith("spec.") or "`$.spec" in request.message
        assert known or request.reason == "SysctlForbidden", request.message
        return
    if request == _BASE and pod != POD and value not in (None, "", 0, False):
        names = {step for step in path if isinstance(step, str)}
        assert names & (OTHERS | set(TOLD_ELSEWHERE)) or _is_default(path, value), f"{_named(path)} = {value!r}"


def _request(pod: dict[str, Any]) -> InstanceRequest | Rejection:
    try:
        return instance_request(admit(pod), REFERENCES, PLACEMENT)
    except Rejection as refused:
        return refused


def _is_default(path: list[str | int], value: Any) -> bool:
    """Say whether the value is what the field means when it is not given."""
    defaults = {
        "dnsPolicy": "ClusterFirst",
        "hostUsers": True,
        "allowPrivilegeEscalation": True,
        "timeoutSeconds": 1,
        "successThreshold": 1,
        "mountPropagation": "None",
        "restartPolicy": "Always",
    }
    return defaults.get(str(path[-1])) == value


@pytest.mark.parametrize("name", [name for name, _ in _fields("V1PodSpec")])
def test_the_walk_reaches_every_field(name: str) -> None:
    assert changed([name], "x")["spec"][name] == "x"
