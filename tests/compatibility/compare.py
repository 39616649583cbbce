"""Two statuses of the same pod, one from each kind of node, made comparable and compared field by field. Pure.

What must differ is replaced by a word of its kind: addresses, times, IDs, the pod's UID and namespace, node names. It
still counts whether it is there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]

_TIMES = re.compile(r"(Time|At)$")
_REPLACED = (
    (re.compile(r"\b[0-9a-f]{64}\b"), "<id>"),
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "<uid>"),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b"), "<address>"),
)
_BARE_TIME = re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+Z$")
_HUB = re.compile(r"\bdocker\.io/(?:library/)?")
_KEYS = ("name", "type", "mountPath", "ip")
"""What names an element of a list."""
_SAYS_NOTHING = {("resources", "{}"), ("resources.limits.memory", "9007199254740988Ki")}
"""No limit: as a kubelet writes it that has read it back from a cgroup of v1, at one moment so, at another so."""
ABSENT = "(absent)"
EPOCH = "1970-01-01T00:00:00Z"


@dataclass(frozen=True)
class Difference:
    """One field; the values as text, ABSENT for none."""

    path: str
    stock: str
    virtual: str


def differences(stock: Json, virtual: Json) -> list[Difference]:
    """Return where the statuses of two pods differ, in order of the fields' paths."""
    left, right = fields(stock), fields(virtual)
    return [
        Difference(path, left.get(path, ABSENT), right.get(path, ABSENT))
        for path in sorted(left.keys() | right.keys())
        if left.get(path, ABSENT) != right.get(path, ABSENT)
    ]


def fields(pod: Json) -> dict[str, str]:
    """Return every field of a pod's status as path -> comparable text."""

    def text(path: str, value: object) -> str:
        name = path.rpartition(".")[2]
        if not isinstance(value, str):
            return str(value)
        if _TIMES.search(name) or _BARE_TIME.match(value):
            return value if value == EPOCH else "<time>"
        if name in {"containerID", "imageID"}:
            return "<id>" if value else ""
        return plain(pod, value)

    found = {path: text(path, value) for path, value in _leaves("", pod.get("status") or {})}
    return {path: value for path, value in found.items() if (path, value) not in _SAYS_NOTHING}


def plain(pod: Json, text: str) -> str:
    """Return a text about a pod without what must differ: addresses, IDs, its UID, namespace and node."""
    for pattern, word in _REPLACED:
        text = pattern.sub(word, text)
    for own, word in ((pod["metadata"]["namespace"], "<namespace>"), (pod["spec"].get("nodeName", ""), "<node>")):
        text = re.sub(rf"(?<![a-z0-9-]){re.escape(own)}(?![a-z0-9-])", word, text) if own else text
    return _HUB.sub("", text)


def _leaves(path: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _leaves(f"{path}.{name}" if path else name, each)
        if not value and path:
            yield path, "{}"
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _leaves(f"{path}[{_label(each, index)}]", each)
    else:
        yield path, value


def _label(element: object, index: int) -> str:
    if isinstance(element, dict):
        for key in _KEYS:
            if key in element and key != "ip":
                return str(element[key])
    return str(index)
