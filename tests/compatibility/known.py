"""Where a virtual node differs from a stock one on purpose, or for want of a way, and why."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.compatibility.compare import Difference

__all__ = ["KNOWN", "Known", "why"]


@dataclass(frozen=True)
class Known:
    """Fields (a pattern of the whole path) of some cases (a pattern of the whole name) that may differ, and why."""

    cases: str
    fields: str
    reason: str
    stock: str = "(?s:.*)"
    """A pattern of what the stock node tells."""


_REFERS = "no-config-map|no-secret-key"
_NO_SANDBOX = r"conditions\[PodReadyToStartContainers\]\..*|podIPs?(\[0\]\.ip)?"

KNOWN: tuple[Known, ...] = (
    Known(
        "no-such-program|no-such-directory|image-bad-registry",
        r"(containerStatuses|initContainerStatuses)\[.*\.(terminated|waiting)\.message",
        "The container runtime's own words: containerd's there, Docker's here.",
    ),
    Known(
        "no-such-directory",
        r"containerStatuses\[main\]\.(containerID|(allocatedR|r)esources.*|state\.terminated\.containerID)",
        "Docker refuses the container when it is made, containerd when it is started: it has no ID.",
    ),
    Known(
        _REFERS,
        _NO_SANDBOX,
        "An instance is asked for when all that its containers refer to is there: until then it has neither sandbox "
        "nor address, and costs nothing.",
    ),
    Known(
        "crash-loop|complete-loop|init-loops",
        r".*\.restartCount|.*\.waiting\.message",
        "How often the container had been started when the back-off was seen; the stock kubelet does not always tell of "
        "the first.",
    ),
    Known(
        "too-big|wrong-node",
        r"conditions\[.*|containerStatuses\[.*|hostIPs?(\[0\]\.ip)?|(allocatedR|r)esources.*|startTime",
        "A refused pod's containers are told as ended: controllers that look for them would wait for ever "
        "(argo-workflows#3879).",
    ),
    Known("too-big", "message", "The numbers are each node's own."),
    Known(
        ".*",
        r"resources\.(limits|requests)\..*",
        "The stock kubelet reads them back from the pod's cgroup, which may be gone when the pod has ended: it tells "
        "them or nothing.",
        stock=r"\(absent\)",
    ),
)


def why(case: str, difference: Difference) -> str:
    """Return the reason of a difference; empty when there is none, so that it is a defect."""
    for each in KNOWN:
        if (
            re.fullmatch(each.cases, case)
            and re.fullmatch(each.fields, difference.path)
            and re.fullmatch(each.stock, difference.stock)
        ):
            return each.reason
    return ""
