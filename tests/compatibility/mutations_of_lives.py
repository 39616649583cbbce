"""How a container is watched, greeted and stopped, and how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compatibility import cases
from tests.compatibility.mutation import DROP, UNPROBED, Mutation, before, probe

if TYPE_CHECKING:
    from tests.compatibility.mutation import Json

_M = Mutation

_HANG = ["sleep", "3600"]
_SIDE = {"restartPolicy": "Always"}
_LOOPS = cases.waits("CrashLoopBackOff", 1)


def _hook(kind: str, **handler: object) -> Json:
    return {"main/lifecycle": {kind: handler}}


def _main_beside_loop(pod: Json) -> bool:
    return cases.running(pod) and cases.waits("CrashLoopBackOff", 1, "initContainerStatuses")(pod)


PROBES: tuple[Mutation, ...] = (
    _M("probe-port-unknown", probe(httpGet={"port": "nothing"}), until=cases.running),
    _M("probe-port-closed", probe(tcpSocket={"port": 9}), until=cases.running, lasts=0),
    _M("probe-program-absent", probe(exec={"command": ["/no/such"]}), until=cases.running),
    _M("probe-fails-with-words", probe(exec={"command": ["sh", "-c", "echo the words; exit 3"]}), until=cases.running),
    _M("probe-too-slow", probe(exec={"command": _HANG}, timeoutSeconds=1), until=cases.running, lasts=8),
    _M("probe-grpc-nobody", probe(grpc={"port": 9, "service": "nothing"}), until=cases.running),
    _M("probe-host-unknown", probe(httpGet={"host": "host.invalid", "port": 80}), until=cases.running),
    _M("probe-path-odd", probe(httpGet={"port": 9, "path": "%zz"}), until=cases.running),
    _M("probe-scheme-https", probe(httpGet={"port": 9, "scheme": "HTTPS"}), until=cases.running),
    _M(
        "probe-header-odd",
        probe(httpGet={"port": 9, "httpHeaders": [{"name": "Host", "value": "a b"}]}),
        until=cases.running,
    ),
    _M(
        "live-program-absent",
        {**UNPROBED, **probe("liveness", exec={"command": ["/no/such"]})},
        until=cases.running,
        lasts=8,
    ),
    _M("live-fails", {**UNPROBED, **probe("liveness", exec={"command": ["false"]})}, until=cases.ended),
    _M("live-port-closed", {**UNPROBED, **probe("liveness", tcpSocket={"port": 9})}, until=cases.ended),
    _M(
        "live-fails-deaf",
        {
            **UNPROBED,
            **probe("liveness", exec={"command": ["false"]}, terminationGracePeriodSeconds=1),
            "main/args": ["trap '' TERM; sleep 3600 & wait; sleep 3600"],
        },
        until=cases.ended,
    ),
    _M("start-fails", {**UNPROBED, **probe("startup", exec={"command": ["false"]})}, until=cases.ended),
    _M(
        "start-waits",
        {**UNPROBED, **probe("startup", exec={"command": ["false"]}, failureThreshold=100)},
        until=cases.running,
        lasts=10,
    ),
)

HOOKS: tuple[Mutation, ...] = (
    _M("after-start-absent", {**UNPROBED, **_hook("postStart", exec={"command": ["/no/such"]})}, until=cases.ended),
    _M("after-start-fails", {**UNPROBED, **_hook("postStart", exec={"command": ["false"]})}, until=cases.ended),
    _M("after-start-nobody", {**UNPROBED, **_hook("postStart", httpGet={"port": 9})}, until=cases.ended),
    _M("after-start-port-unknown", {**UNPROBED, **_hook("postStart", httpGet={"port": "nothing"})}, until=cases.ended),
    _M("after-start-hangs", {**UNPROBED, **_hook("postStart", exec={"command": _HANG})}, lasts=10),
    _M(
        "after-start-hangs-deadline",
        {**UNPROBED, "spec/activeDeadlineSeconds": 5, **_hook("postStart", exec={"command": _HANG})},
        until=cases.ended,
    ),
    _M("before-stop-absent", {**UNPROBED, **_hook("preStop", exec={"command": ["/no/such"]})}, deletes=True),
    _M("before-stop-fails", {**UNPROBED, **_hook("preStop", exec={"command": ["false"]})}, deletes=True),
    _M("before-stop-nobody", {**UNPROBED, **_hook("preStop", httpGet={"port": 9})}, deletes=True),
    _M("before-stop-hangs", {**UNPROBED, **_hook("preStop", exec={"command": _HANG})}, deletes=True),
    _M(
        "grace-none",
        {
            **UNPROBED,
            "spec/terminationGracePeriodSeconds": 0,
            "main/args": ["trap '' TERM; sleep 3600 & wait; sleep 3600"],
        },
        deletes=True,
    ),
    _M(
        "stop-signal",
        {
            **UNPROBED,
            "spec/os": {"name": "linux"},
            "main/lifecycle": {"stopSignal": "SIGUSR1"},
            "main/args": ["trap 'exit 4' USR1; trap 'exit 5' TERM; sleep 3600 & wait"],
        },
        deletes=True,
    ),
)

ENDS: tuple[Mutation, ...] = (
    _M("message-in-a-directory", {"main/terminationMessagePath": "/tmp"}, until=cases.ended_or_refused),
    _M("message-path-relative", {"main/terminationMessagePath": "relative"}),
    _M("message-path-in-proc", {"main/terminationMessagePath": "/proc/nothing"}, until=cases.ended_or_refused),
    _M("message-below-a-file", {"main/terminationMessagePath": "/etc/passwd/x"}, until=cases.ended_or_refused),
    _M(
        "message-of-logs-none",
        {**UNPROBED, "main/terminationMessagePolicy": "FallbackToLogsOnError", "main/args": ["echo words"]},
        until=cases.ended,
    ),
    _M("message-not-text", {**UNPROBED, "main/args": ["printf 'a\\377b' > /dev/termination-log"]}, until=cases.ended),
    _M("deadline-runs", {"spec/activeDeadlineSeconds": 15}, until=cases.ended),
    _M(
        "deadline-image",
        {"spec/activeDeadlineSeconds": 15, "main/image": "registry.invalid/nothing:1"},
        until=cases.ended,
    ),
    _M(
        "deadline-map", {"spec/activeDeadlineSeconds": 4, "spec/volumes/1/configMap/name": "nothing"}, until=cases.ended
    ),
    _M(
        "deadline-variable",
        {"spec/activeDeadlineSeconds": 4, "main/envFrom/0": {"secretRef": {"name": "nothing"}}},
        until=cases.ended,
    ),
    _M(
        "deadline-before",
        {"spec/activeDeadlineSeconds": 15, **before(cases.shell("sleep 3600", "first"))},
        until=cases.ended,
    ),
    _M("before-fails", before(cases.shell("exit 4", "first")), until=cases.ended),
    _M(
        "before-fails-again",
        {"spec/restartPolicy": "OnFailure", **before(cases.shell("exit 4", "first"))},
        until=cases.waits("CrashLoopBackOff", 1, "initContainerStatuses"),
        restless=True,
    ),
    _M("before-image-absent", before(cases.shell("true", "first", image="nothing:1", imagePullPolicy="Never"))),
    _M(
        "before-program-absent",
        before({"name": "first", "image": cases.IMAGE, "command": ["/no/such"]}),
        until=cases.ended,
    ),
    _M(
        "beside-fails",
        before(cases.shell("sleep 2; exit 4", "first", **_SIDE)),
        until=_main_beside_loop,
        restless=True,
    ),
    _M(
        "again-on-failure",
        {**UNPROBED, "spec/restartPolicy": "OnFailure", "main/args": ["exit 4"]},
        until=_LOOPS,
        restless=True,
    ),
    _M(
        "again-always",
        {**UNPROBED, "spec/restartPolicy": "Always", "main/args": ["exit 0"]},
        until=_LOOPS,
        restless=True,
    ),
    _M(
        "again-absent",
        {**UNPROBED, "spec/restartPolicy": "Always", "main/command": ["/no/such"]},
        until=_LOOPS,
        restless=True,
    ),
    _M("terminal-wanted", {**UNPROBED, "main/tty": True, "main/args": ["test -t 1 && exit 3"]}, until=cases.ended),
    _M("input-closed", {**UNPROBED, "main/command": ["cat"], "main/args": DROP}, until=cases.ended),
    _M("input-open", {**UNPROBED, "main/stdin": True, "main/command": ["cat"], "main/args": DROP}, until=cases.running),
)
