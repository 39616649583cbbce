"""Why a virtual node's verdict on a mutated pod differs from the stock kubelet's, where it does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.compatibility.known import Known
from tests.compatibility.verdicts import LATE

if TYPE_CHECKING:
    from tests.compatibility.compare import Difference

__all__ = ["KNOWN_OF_MUTATIONS", "reason_of"]

_MESSAGES = (
    r"containerStatuses\[.*\]\.\w+\.\w+\.message|events\[(Failed|FailedMount|FailedCreatePodSandBox|Unhealthy)\]"
)

KNOWN_OF_MUTATIONS: tuple[Known, ...] = (
    Known(
        "image-unknown|image-digest-unknown|deadline-image|mount-over-.*|mount-file-.*|message-.*|memory-.*|sysctl-bad-value"
        "|probe-program-absent|live-program-absent|map-items-below-another|command-empty-text|directory-a-file"
        "|directory-relative",
        _MESSAGES,
        "The words of the container runtime, or of the host: containerd's there, Docker's here.",
    ),
    Known(
        "env-(map|key|secret|secret-key|binary-key|from|from-secret)(-absent)?|env-resource-of-nobody|deadline-variable",
        r"conditions\[PodReadyToStartContainers\].*|events",
        "An instance is asked for when all that its containers refer to is there: until then it has neither sandbox nor "
        "image, and costs nothing.",
    ),
    Known(
        "command-empty-text|directory-a-file|directory-relative|mount-over-root|memory-tiny",
        "events",
        "Docker refuses such a container already when it is to be created, so there is no Created.",
    ),
    Known(
        "mount-over-root|memory-one-byte",
        ".*",
        "Docker refuses to create what runc refuses to start; both nodes keep trying or fail with the runtime's words.",
    ),
    Known(
        "apparmor-.*|sysctl-.*|selector-.*|affinity-.*|too-much-.*",
        r"conditions\[.*|containerStatuses\[.*",
        "A refused pod's containers are told as ended: controllers that look for them would wait for ever "
        "(argo-workflows#3879).",
    ),
    Known("too-much-.*", r"message|events\[.*", "The numbers are each node's own."),
    Known(
        "capability-.*unknown",
        ".*",
        "containerd 1.6 leaves out a capability that it does not know; Docker refuses the container, and says so.",
    ),
    Known(
        "capability-prefixed",
        r"containerStatuses\[main\]\.state\.terminated\.message",
        "Docker takes CAP_NET_ADMIN for NET_ADMIN; containerd 1.6 looks for CAP_CAP_NET_ADMIN and leaves it out.",
    ),
    Known(
        "mount-over-the-message",
        ".*",
        "A volume that is mounted where the termination message would be is taken; containerd cannot mount both.",
    ),
    Known(
        "fs-group",
        r"containerStatuses\[main\]\.state\.terminated\.message",
        "A projected volume with a token is a tmpfs of the stock kubelet's, which has the sticky bit.",
    ),
    Known(
        "hostname-full.*",
        r"containerStatuses\[main\]\.state\.terminated\.message|events\[FailedCreatePodSandBox\]",
        "The stock node of the comparison has no cluster domain.",
    ),
    Known("probe-host-unknown", r"events\[Unhealthy\]", "The resolver's words: Go's there, the C library's here."),
    Known(
        "after-start-hangs-deadline|deadline-map",
        ".*",
        "The stock kubelet's pod worker waits for the hook, or for the volume, and does not look at the deadline before; "
        "here the deadline holds.",
    ),
    Known(
        "scratch-limit-exceeded|storage-limit-exceeded",
        r"containerStatuses\[main\]\..*",
        "The stock kubelet has sometimes removed the container before its end is read, and tells an unknown one.",
    ),
    Known(
        "again-.*|before-fails-again|beside-.*",
        r".*\.restartCount|.*\.waiting\.message|.*\.lastState\..*|events\[BackOff\]",
        "How often the container had been started when its back-off was seen.",
    ),
    Known(
        "beside-fails|before-fails-again",
        r"initContainerStatuses\[first\]\.state\..*",
        "It ends, waits and runs again: at which of these it was looked at.",
    ),
    Known(
        "again-.*|before-.*|beside-.*|grace-none|stop-signal|probe-.*|start-.*|live-.*|deadline-.*|.*-limit-exceeded",
        r"events|events\[(Unhealthy|Failed|BackOff|FailedPreStopHook)\]",
        "Which events of those that come again, or are on their way, were there when the pod was looked at.",
    ),
)


def reason_of(mutation: str, difference: Difference) -> str:
    """Return the reason of a difference; empty when there is none, so that it is a defect, as a hang always is."""
    if difference.path == LATE:
        return ""
    for each in KNOWN_OF_MUTATIONS:
        if re.fullmatch(each.cases, mutation) and re.fullmatch(each.fields, difference.path):
            return each.reason
    return ""
