"""One valid pod, and what it takes to change it: a mutation gives one of its fields a meaning that is wrong, or odd."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.compatibility import cases

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Json = dict[str, Any]

__all__ = ["DROP", "UNPROBED", "Mutation", "before", "changed", "env", "probe", "tells", "told", "valid", "volume"]

DROP = "(dropped)"
"""As a value: the field goes."""
_FIRST_REASONS = frozenset({"ContainerCreating", "PodInitializing", "ErrImagePull"})
"""What a container waits for on its way to something else."""
_TO_MESSAGE = "> /dev/termination-log 2>&1"
_RUN = "trap 'exit 0' TERM; sleep 3600 & wait"


def told(pod: Json, warned: bool) -> bool:
    """Whether a node has said what becomes of the pod: it ended, is ready, waits for a reason, or a warning is out."""
    status = pod.get("status") or {}
    states = [one["state"] for kind in ("initContainerStatuses", "containerStatuses") for one in status.get(kind) or ()]
    reasons = {state["waiting"].get("reason") for state in states if "waiting" in state}
    return cases.ended(pod) or cases.ready(pod) or bool(states and (warned or reasons - _FIRST_REASONS))


@dataclass(frozen=True)
class Mutation:
    """Fields of the valid pod (paths with slashes; `main` is the container) and what they become."""

    name: str
    changes: Mapping[str, Any]
    refused: str = ""
    """The path by which a virtual node refuses it, where a stock one may do something else."""
    until: Callable[[Json], bool] | None = None
    """When the pod is looked at, once it has settled; without one, when it is `told`."""
    lasts: float = 0.0
    """Seconds after which it is looked at all the same: of what never happens, there is no other sign."""
    restless: bool = False
    """Its status does not settle."""
    deletes: bool = False
    """Deleted when it runs, and looked at when it goes."""

    def has_come(self, pod: Json, seconds: float, *, warned: bool) -> bool:
        """Whether the moment has come to look at the pod, `seconds` after it was made."""
        if self.until is not None:
            return seconds >= self.lasts and self.until(pod)
        if self.lasts:
            return seconds >= self.lasts and cases.pending(pod)
        if str(self.changes.get("main/args", "")).endswith(f"{_TO_MESSAGE}']"):
            return cases.ended(pod) or (warned and not cases.running(pod) and cases.pending(pod))
        return told(pod, warned)


def valid() -> Json:
    """Return the pod that every mutation begins with: it uses most fields, and becomes Ready on both nodes."""
    main = {
        "name": "main",
        "image": cases.IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c"],
        "args": [_RUN],
        "workingDir": "/work",
        "env": [
            {"name": "PLAIN", "value": "plain"},
            {"name": "UP", "value": ".."},
            *cases.field_env(NAME="metadata.name", IP="status.podIP"),
            *cases.resource_env(MEMORY="limits.memory"),
            *cases.env_from("configMap", "present", "key"),
        ],
        "envFrom": [{"prefix": "FROM_", "secretRef": {"name": "present"}}],
        "ports": [{"name": "web", "containerPort": 8080}],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        "readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["NET_RAW"]}},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "volumeMounts": [
            {"name": "scratch", "mountPath": "/scratch"},
            {"name": "config", "mountPath": "/config", "readOnly": True},
            {"name": "secret", "mountPath": "/secret"},
            {"name": "all", "mountPath": "/all"},
        ],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"labels": {"app": "valid"}, "annotations": {"note": "a note"}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "activeDeadlineSeconds": 600,
            "automountServiceAccountToken": False,
            "hostname": "valid",
            "subdomain": "there",
            "hostAliases": [{"ip": "192.0.2.1", "hostnames": ["one", "two"]}],
            "dnsPolicy": "None",
            "dnsConfig": {
                "nameservers": ["192.0.2.53"],
                "searches": ["example.com"],
                "options": [{"name": "ndots", "value": "2"}],
            },
            "securityContext": {"fsGroup": 2000, "supplementalGroups": [3000]},
            "volumes": [
                {"name": "scratch", "emptyDir": {"sizeLimit": "64Mi"}},
                {"name": "config", "configMap": {"name": "present", "items": [{"key": "key", "path": "sub/key"}]}},
                {"name": "secret", "secret": {"secretName": "present", "defaultMode": 0o440}},
                {
                    "name": "all",
                    "projected": {
                        "sources": [
                            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
                            {
                                "downwardAPI": {
                                    "items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
                                }
                            },
                        ]
                    },
                },
            ],
            "containers": [main],
        },
    }


def changed(mutation: Mutation) -> Json:
    """Return the valid pod with the mutation's changes."""
    pod = valid()
    for path, value in mutation.changes.items():
        steps = path.replace("main", "spec/containers/0", 1).split("/") if path.startswith("main") else path.split("/")
        _put(pod, steps, value)
    return pod


def _put(place: Any, steps: list[str], value: Any) -> None:
    *way, last = (step.replace("~1", "/") for step in steps)  # as in a JSON pointer
    for step in way:
        place = place[int(step)] if isinstance(place, list) else place.setdefault(step, {})
    if isinstance(place, list):
        if last == "+":
            place.append(copy.deepcopy(value))
        else:
            place[int(last)] = copy.deepcopy(value)
    elif value == DROP:
        del place[last]
    else:
        place[last] = copy.deepcopy(value)


# ---- what several mutations are made of


UNPROBED: Json = {"main/readinessProbe": DROP}
"""Of a container that ends at once: whether a probe still meets it is chance."""


def tells(script: str) -> Json:
    """Return the change that lets the container end with what a script prints as its message."""
    return {**UNPROBED, "main/args": [f"({script}) {_TO_MESSAGE}"]}


def env(**entry: Any) -> Json:
    """Return the change that adds a variable named ODD."""
    return {"main/env/+": {"name": "ODD", **entry}}


def volume(**source: Any) -> Json:
    """Return the change of the first volume, which the container mounts at /scratch."""
    return {"spec/volumes/0": {"name": "scratch", **source}}


def probe(kind: str = "readiness", **handler: Any) -> Json:
    """Return the change that gives the container such a probe."""
    return {f"main/{kind}Probe": {"periodSeconds": 1, "failureThreshold": 1, **handler}}


def before(*init: Json) -> Json:
    """Return the change that puts init containers before the container."""
    return {"spec/initContainers": list(init)}
