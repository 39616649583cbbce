"""The downward API: fieldRef and resourceFieldRef (pkg/fieldpath, k8s.io/component-helpers/resource)."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING

from provider.model.errors import Rejection
from provider.model.quantity import divided
from provider.translate.sizing import requests_and_limits

if TYPE_CHECKING:
    from provider.model.pod import Container, Pod
    from provider.model.pod_environment import ResourceSelector
    from provider.translate.references import References

_KEYED = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")
_ESCAPES = dict(zip('\a\b\f\n\r\t\v\\"', (rf"\{letter}" for letter in 'abfnrtv\\"'), strict=True))
ADDRESS_PATHS = frozenset({"status.podIP", "status.podIPs"})
"""Known only to the cloud, once it has placed the instance."""


def field_value(pod: Pod, references: References, path: str, where: str) -> str:
    """Return the text of a field. Raises Rejection for a path that is not served; ADDRESS_PATHS are the caller's."""
    meta = pod.metadata
    keyed = _KEYED.fullmatch(path)
    if keyed is not None:
        return ((meta.labels if keyed[1] == "labels" else meta.annotations) or {}).get(keyed[2], "")
    known = {
        "metadata.name": meta.name,
        "metadata.namespace": meta.namespace,
        "metadata.uid": meta.uid,
        "metadata.labels": _lines(meta.labels),
        "metadata.annotations": _lines(meta.annotations),
        "spec.nodeName": pod.spec.node_name,
        "spec.serviceAccountName": pod.spec.service_account_name,
        "status.hostIP": references.host_ip,
        "status.hostIPs": references.host_ip,
    }
    if path not in known:
        raise Rejection("UnsupportedPodSpec", f"{where}: field path {path} is not supported by this node", field=where)
    return known[path]


def resource_value(
    pod: Pod, references: References, selector: ResourceSelector, own: Container | None, where: str
) -> str:
    """Return requests.X or limits.X divided by the divisor, rounded up; no limit is the node's allocatable.

    Raises Rejection, not terminal where the container that is named does not exist.
    """
    containers = [*(pod.spec.init_containers or ()), *pod.spec.containers]
    container = next((one for one in containers if one.name == selector.container_name), None)
    if container is None and selector.container_name:
        text, waiting = f"container {selector.container_name} not found", "CreateContainerConfigError"
        raise Rejection(waiting, text, field=where, terminal=False, waiting=waiting)
    container = container or own
    kind, _, name = selector.resource.partition(".")
    allocatable = {
        "cpu": references.cpu,
        "memory": references.memory,
        "ephemeral-storage": references.ephemeral_storage,
    }
    if container is None or kind not in ("requests", "limits") or name not in allocatable:
        message = f"{where}: resource {selector.resource} is not supported by this node"
        raise Rejection("UnsupportedPodSpec", message, field=where)
    requests, limits = requests_and_limits(container.resources, where)
    amount = requests.get(name, 0) if kind == "requests" else limits.get(name, 0) or allocatable[name]
    return str(divided(Fraction(amount, 1000 if name == "cpu" else 1), selector.divisor))


def _lines(values: dict[str, str] | None) -> str:
    return "\n".join(f"{key}={_quoted(value)}" for key, value in sorted((values or {}).items()))


def _quoted(text: str) -> str:
    """Return the text as Go's strconv.Quote writes it."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character == " " or character.isprintable():
        return character
    code = ord(character)
    if code < 0x80:  # noqa: PLR2004 - ASCII
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004 - the basic plane
