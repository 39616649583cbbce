"""Refuse what is not supported, by name and path; nothing that a pod asks for is silently left out.

The raw JSON's keys are compared with the structs of `model.pod` and what it is made of. A key without a place there
is refused unless it belongs to another component (scheduler, admission plugins, the API server) or says the API's
default.
"""

from __future__ import annotations

from types import NoneType
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from msgspec import Struct, ValidationError
from msgspec.structs import fields

from provider.model.errors import Rejection
from provider.model.pod import Container, Pod, PodSpec, RestartRuleEntry, pod_from_json
from provider.model.pod_security import AppArmorProfile, ContainerSecurity, PodSecurity, SeccompProfile
from provider.model.pod_volumes import Mount

if TYPE_CHECKING:
    from collections.abc import Iterator

REASON = "UnsupportedPodSpec"

OTHERS_FIELDS: dict[type, frozenset[str]] = {
    PodSpec: frozenset(
        {
            # scheduler
            "affinity",
            "nodeSelector",
            "priorityClassName",
            "preemptionPolicy",
            "schedulerName",
            "schedulingGates",
            "tolerations",
            "topologySpreadConstraints",
            "schedulingGroup",
            "workloadRef",
            # admission plugins and the API server: the token's volume stands in `volumes` already
            "serviceAccount",
            "automountServiceAccountToken",
        },
    ),
    # a resize in place is never served, so a policy for it has no effect
    Container: frozenset({"resizePolicy"}),
    # both are about volumes that outlive a pod or carry SELinux labels; there are none here
    PodSecurity: frozenset({"fsGroupChangePolicy", "seLinuxChangePolicy"}),
}
"""Fields that are fine here because another component acts on them, or because there is nothing for them to act on."""

_DEFAULTS: dict[tuple[type, str], tuple[Any, ...]] = {
    (PodSpec, "hostUsers"): (True,),
    (PodSpec, "os"): ({"name": "linux"},),
    # possible for none of our runtimes, so `IfPossible` is `Disabled`, as with the kubelet
    (Mount, "recursiveReadOnly"): ("Disabled", "IfPossible"),
    (Mount, "mountPropagation"): ("None",),
    (PodSecurity, "supplementalGroupsPolicy"): ("Merge",),
    (ContainerSecurity, "procMount"): ("Default",),
}
"""Fields whose supported values are said out loud, and change nothing."""

_ALLOWED: dict[tuple[type, str], frozenset[str]] = {
    # the other action, RestartAllContainers, needs a node that declares RestartAllContainersOnContainerExits
    (RestartRuleEntry, "action"): frozenset({"Restart"}),
    (PodSpec, "restartPolicy"): frozenset({"Always", "OnFailure", "Never"}),
    (PodSpec, "dnsPolicy"): frozenset({"ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"}),
    (Container, "imagePullPolicy"): frozenset({"Always", "IfNotPresent", "Never"}),
    (Container, "restartPolicy"): frozenset({"Always", "OnFailure", "Never"}),
    (Container, "terminationMessagePolicy"): frozenset({"File", "FallbackToLogsOnError"}),
    (SeccompProfile, "type"): frozenset({"", "RuntimeDefault", "Unconfined"}),
    (AppArmorProfile, "type"): frozenset({"", "RuntimeDefault", "Unconfined"}),
}


def admit(raw: dict[str, Any]) -> Pod:
    """Return the typed pod. Raises Rejection with the path of the first field that is not supported."""
    for path, name in unsupported(raw.get("spec", {}), PodSpec, "spec"):
        raise Rejection(REASON, f"{path}: {name} is not supported by this node", field=path)
    try:
        return pod_from_json(raw)
    except ValidationError as error:
        raise Rejection(REASON, f"the pod cannot be read: {error}") from error


def unsupported(raw: dict[str, Any], shape: type, path: str) -> Iterator[tuple[str, str]]:
    """Yield (path, field name) of every key of `raw` that `shape` has no place for and that says something."""
    hints = get_type_hints(shape)
    places = {field.encode_name: hints[field.name] for field in fields(shape)}
    for key, value in raw.items():
        here = f"{path}.{key}"
        if key in places:
            allowed = _ALLOWED.get((shape, key))
            if allowed is not None and value not in allowed:
                yield here, f"{key} {value!r}"
            yield from _below(value, places[key], here)
        elif not _harmless(shape, key, value):
            yield here, key


def _harmless(shape: type, key: str, value: Any) -> bool:
    if key in OTHERS_FIELDS.get(shape, frozenset()):
        return True
    if (shape, key) in _DEFAULTS:
        return value in _DEFAULTS[shape, key]
    # `hostNetwork: false` and `ephemeralContainers: []` ask for nothing, as Go's omitempty reads them; an empty
    # object is a wish (`emptyDir: {}`), so it counts.
    return value is None or value is False or value in ("", 0) or value == []


def _below(value: Any, hint: Any, path: str) -> Iterator[tuple[str, str]]:
    options = [option for option in get_args(hint) if option is not NoneType] or [hint]
    for option in (hint, *options):
        if get_origin(option) is list and isinstance(value, list):
            (item,) = get_args(option)
            for index, element in enumerate(value):
                yield from _below(element, item, f"{path}[{index}]")
            return
        if isinstance(option, type) and issubclass(option, Struct) and isinstance(value, dict):
            yield from unsupported(value, option, path)
            return
