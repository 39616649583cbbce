"""What a node makes of a pod, in a form that can be compared and kept: a flat table of texts. Pure.

A verdict has the pod's phase, reason and message, its conditions, each container's states, and the events: of warnings
the messages by reason, of the others the reasons. A pod that the API server refuses has `api` only.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.compatibility.compare import ABSENT, Difference, fields, plain

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["API", "LATE", "Verdict", "differing", "refused_at", "verdict"]

Json = dict[str, Any]
Verdict = dict[str, str]

API = "api"
LATE = "late"
"""A field that is there when the pod did not come to its moment in time."""
_TOLD = re.compile(
    r"phase|reason|message|conditions\[[^]]+\]\.(status|reason|message)"
    r"|(initC|c)ontainerStatuses\[[^]]+\]\.(ready|started|restartCount"
    r"|(state|lastState)\.\w+\.(reason|message|exitCode|signal|startedAt))"
)
_OF_NODES = "kubelet"
_SHIM = "failed to create containerd task: "
"""What containerd puts before the words of its own shim and runc, which Docker tells as they are."""


def verdict(pod: Json, events: Iterable[Json]) -> Verdict:
    """Return what the pod's status and the node's events say."""
    said = {path: text.removeprefix(_SHIM) for path, text in fields(pod).items() if _TOLD.fullmatch(path)}
    normal: set[str] = set()
    warnings: dict[str, set[str]] = {}
    for event in events:
        if event["source"].get("component") != _OF_NODES:
            continue
        if event["type"] == "Warning":
            warnings.setdefault(event["reason"], set()).add(plain(pod, event["message"]).replace(_SHIM, ""))
        else:
            normal.add(event["reason"])
    said |= {f"events[{reason}]": " | ".join(sorted(texts)) for reason, texts in warnings.items()}
    return said | {"events": ", ".join(sorted(normal))}


def differing(stock: Verdict, virtual: Verdict) -> list[Difference]:
    """Return where two verdicts differ; that the stock node was late, and the virtual one not, is no difference."""
    return [
        Difference(path, stock.get(path, ABSENT), virtual.get(path, ABSENT))
        for path in sorted(stock.keys() | virtual.keys())
        if stock.get(path, ABSENT) != virtual.get(path, ABSENT) and (path != LATE or path in virtual)
    ]


def refused_at(virtual: Verdict, path: str) -> bool:
    """Say whether the pod was refused by name: Failed, with the field's path in its message."""
    return virtual.get("phase") == "Failed" and path in virtual.get("message", "")
