"""The pods that are compared: small ones over all that a pod's status can tell.

Each is a pod spec without a node, and the moment at which its status is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Json = dict[str, Any]

IMAGE = "busybox:1.36"
SLEEP = ["sleep", "3600"]
TRAPS = "trap 'exit 0' TERM; while true; do sleep 0.1; done"
DEAF = "trap '' TERM; while true; do sleep 0.1; done"


@dataclass(frozen=True)
class Case:
    """One pod. `until`: when its status is taken; `settles`: whether it stays so; `deletes`: take what is left of it."""

    name: str
    shows: str
    spec: Json
    until: Callable[[Json], bool]
    settles: bool = True
    deletes: bool = False
    bound: bool = False
    """The pod names its node itself, past the scheduler."""
    annotations: Mapping[str, str] = field(default_factory=dict)


# ---- moments


def ended(pod: Json) -> bool:
    """Whether the pod has ended."""
    return pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}


def ended_or_refused(pod: Json) -> bool:
    """Whether the pod has ended, or its container cannot be made."""
    return ended(pod) or waits("CreateContainerError")(pod)


def ready(pod: Json) -> bool:
    """Whether the pod is Ready."""
    return _condition(pod, "Ready") == "True"


def running(pod: Json) -> bool:
    """Whether every container runs."""
    states = [each["state"] for each in pod.get("status", {}).get("containerStatuses") or ()]
    return bool(states) and all("running" in each for each in states)


def pending(pod: Json) -> bool:
    """Whether the node has said that the containers are not there yet."""
    return bool(pod.get("status", {}).get("containerStatuses"))


def waits(reason: str, restarts: int = 0, kind: str = "containerStatuses") -> Callable[[Json], bool]:
    """Whether a container waits for this reason, after so many restarts or more (a kubelet may not tell of each)."""
    return lambda pod: any(
        each["state"].get("waiting", {}).get("reason") == reason and each["restartCount"] >= restarts
        for each in pod.get("status", {}).get(kind) or ()
    )


def restarted(pod: Json) -> bool:
    """Whether a container runs for the second time."""
    return any(
        each["restartCount"] == 1 and "running" in each["state"]
        for each in pod.get("status", {}).get("containerStatuses") or ()
    )


def init_runs(pod: Json) -> bool:
    """Whether an init container runs."""
    return any("running" in each["state"] for each in pod.get("status", {}).get("initContainerStatuses") or ())


def one_ended(pod: Json) -> bool:
    """Whether one container has ended and another runs."""
    states = [each["state"] for each in pod.get("status", {}).get("containerStatuses") or ()]
    return any("terminated" in each for each in states) and any("running" in each for each in states)


def _condition(pod: Json, kind: str) -> str:
    for each in pod.get("status", {}).get("conditions") or ():
        if each["type"] == kind:
            return str(each["status"])
    return ""


# ---- specs


def shell(script: str, name: str = "main", **more: Any) -> Json:
    """A container that runs a script."""
    return {"name": name, "image": IMAGE, "command": ["sh", "-c", script], **more}


def pod(*containers: Json, restart: str = "Never", **more: Any) -> Json:
    """A pod spec."""
    return {
        "restartPolicy": restart,
        "containers": list(containers),
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        **more,
    }


def probe(command: Sequence[str] = ("true",), **more: Any) -> Json:
    """An exec probe that is quick."""
    return {"exec": {"command": list(command)}, "periodSeconds": 1, "failureThreshold": 1, **more}


def env_from(kind: str, name: str, key: str) -> list[Json]:
    """One variable from a ConfigMap or Secret."""
    return [{"name": "VALUE", "valueFrom": {f"{kind}KeyRef": {"name": name, "key": key}}}]


def field_env(**paths: str) -> list[Json]:
    """Variables from the pod's own fields."""
    return [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in paths.items()]


def resource_env(**resources: str) -> list[Json]:
    """Variables from the container's own resources."""
    return [{"name": name, "valueFrom": {"resourceFieldRef": {"resource": each}}} for name, each in resources.items()]


_MARKED = "test -e /marks/seen && exit 0; touch /marks/seen; exit 1"
_MARKS: Json = {"volumes": [{"name": "marks", "emptyDir": {}}]}
_MARKS_MOUNT = {"volumeMounts": [{"name": "marks", "mountPath": "/marks"}]}
_MOUNT = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
_SIDECAR = {"restartPolicy": "Always"}
_TELL = "echo -n $NAME $NAMESPACE ${IP:+address} ${HOST:+address} $CPU $MEMORY > /dev/termination-log"
_AT_42 = {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}
_SMALL = {"cpu": "100m", "memory": "32Mi"}

CASES: tuple[Case, ...] = (
    # ---- ends
    Case("exit-zero", "a container ends with 0", pod(shell("exit 0")), ended),
    Case("exit-three", "a container ends with 3", pod(shell("exit 3")), ended),
    Case("exit-137", "a container ends as one that SIGKILL ended", pod(shell("exit 137")), ended),
    Case("two-one-fails", "one of two containers fails", pod(shell("exit 0"), shell("exit 2", "second")), ended),
    Case("two-one-ended", "one of two containers has ended", pod(shell("exit 0"), shell("sleep 3600", "second")), one_ended),
    Case("no-such-program", "the program is not in the image",
         pod({"name": "main", "image": IMAGE, "command": ["/no/such"]}), ended),
    Case("no-such-directory", "the working directory is a file",
         pod(shell("true", workingDir="/bin/busybox")), ended_or_refused),
    # ---- restarts
    Case("runs", "a container runs", pod(shell("sleep 3600"), restart="Always"), running),
    Case("on-failure", "a failed container is started again, and succeeds",
         pod(shell(_MARKED, **_MARKS_MOUNT), restart="OnFailure", **_MARKS), ended),
    Case("crash-loop", "a container that fails is held back", pod(shell("exit 1"), restart="Always"),
         waits("CrashLoopBackOff", 1), settles=False),
    Case("complete-loop", "a container that ends well is held back too", pod(shell("exit 0"), restart="Always"),
         waits("CrashLoopBackOff", 1), settles=False),
    # ---- what is missing
    Case("image-bad-registry", "the image's registry does not exist",
         pod({"name": "main", "image": "registry.invalid/nothing:1", "command": SLEEP}), waits("ImagePullBackOff")),
    Case("image-never", "the image is missing and must not be pulled",
         pod(shell("true", image="nothing:1", imagePullPolicy="Never")), waits("ErrImageNeverPull")),
    Case("image-bad-name", "the image's name is none", pod(shell("true", image="Nothing::1")), waits("InvalidImageName")),
    Case("no-config-map", "a variable's ConfigMap is missing",
         pod(shell("true", env=env_from("configMap", "nothing", "key"))), waits("CreateContainerConfigError")),
    Case("no-secret-key", "a variable's Secret has no such key",
         pod(shell("true", env=env_from("secret", "present", "nothing"))), waits("CreateContainerConfigError")),
    Case("no-config-volume", "a volume's ConfigMap is missing",
         pod(shell("true", **_MOUNT), volumes=[{"name": "v", "configMap": {"name": "nothing"}}]), pending),
    Case("unused-volume", "the ConfigMap of a volume that no container mounts is missing",
         pod(shell("true"), volumes=[{"name": "v", "configMap": {"name": "nothing"}}]), ended),
    Case("optional-config", "an optional ConfigMap is missing",
         pod(shell("true", **_MOUNT), volumes=[{"name": "v", "configMap": {"name": "nothing", "optional": True}}]), ended),
    Case("not-root", "root's image must not run as root",
         pod(shell("true", securityContext={"runAsNonRoot": True})), waits("CreateContainerConfigError")),
    # ---- init containers and sidecars
    Case("init-two", "two init containers, then a container",
         pod(shell("exit 0"), initContainers=[shell("exit 0", "first"), shell("exit 0", "then")]), ended),
    Case("init-fails", "an init container fails for good",
         pod(shell("exit 0"), initContainers=[shell("exit 4", "first"), shell("exit 0", "then")]), ended),
    Case("init-loops", "an init container that fails is held back",
         pod(shell("exit 0"), initContainers=[shell("exit 4", "first")], restart="Always"),
         waits("CrashLoopBackOff", 1, "initContainerStatuses"), settles=False),
    Case("init-runs", "an init container runs",
         pod(shell("exit 0"), initContainers=[shell("sleep 3600", "first"), shell("exit 0", "then")]), init_runs),
    Case("sidecar-runs", "a sidecar beside a container",
         pod(shell("sleep 3600"), initContainers=[shell("sleep 3600", "side", **_SIDECAR)]), running),
    Case("sidecar-ended", "a sidecar is ended after the container",
         pod(shell("exit 0"), initContainers=[shell(TRAPS, "side", **_SIDECAR)]), ended),
    Case("sidecar-not-started", "a sidecar's startup probe holds the container back",
         pod(shell("exit 0"),
             initContainers=[shell("sleep 3600", "side", startupProbe=probe(["false"], failureThreshold=900), **_SIDECAR)]),
         init_runs),
    # ---- probes, gates, hooks
    Case("ready", "a readiness probe passes", pod(shell("sleep 3600", readinessProbe=probe())), ready),
    Case("not-ready", "a readiness probe fails", pod(shell("sleep 3600", readinessProbe=probe(["false"]))), running),
    Case("not-live", "a liveness probe fails", pod(
        shell(TRAPS, livenessProbe=probe(["test", "-e", "/marks/seen"], initialDelaySeconds=2), **_MARKS_MOUNT),
        restart="Always", **_MARKS), restarted, settles=False),
    Case("not-started", "a startup probe fails", pod(shell(TRAPS, startupProbe=probe(["false"]))), ended),
    Case("gate-closed", "a readiness gate is closed",
         pod(shell("sleep 3600"), readinessGates=[{"conditionType": "example.com/gate"}]), running),
    Case("post-start-fails", "a postStart hook fails",
         pod(shell(TRAPS, lifecycle={"postStart": {"exec": {"command": ["false"]}}})), ended),
    Case("post-start-done", "a postStart hook ends well", pod(
        shell("sleep 3600", lifecycle={"postStart": {"exec": {"command": ["true"]}}})), running),
    Case("grpc-not-ready", "a gRPC readiness probe finds nobody", pod(
        shell("sleep 3600", readinessProbe={"grpc": {"port": 9}, "periodSeconds": 1})), running),
    Case("probe-no-port", "a readiness probe names a port that there is not", pod(
        shell("sleep 3600", readinessProbe={"tcpSocket": {"port": "web"}, "periodSeconds": 1})), running),
    Case("rule-restarts", "a rule of its own starts a container again", pod(
        shell(_MARKED.replace("exit 1", "exit 42"), restartPolicy="Never", restartPolicyRules=[_AT_42], **_MARKS_MOUNT),
        **_MARKS), ended),
    Case("own-policy", "a container's own policy starts it no more", pod(
        shell("exit 1", restartPolicy="Never"), shell("sleep 3600", "second"), restart="Always"), one_ended),
    # ---- messages, variables, limits
    Case("deadline", "activeDeadlineSeconds pass", pod(shell(TRAPS), activeDeadlineSeconds=12), ended),
    Case("message-file", "a termination message from its file",
         pod(shell("echo done > /dev/termination-log")), ended),
    Case("message-long", "a termination message above 4096 bytes", pod(
        shell("(head -c 5000 /dev/zero | tr '\\0' x; echo -n end) > /dev/termination-log")), ended),
    Case("message-own-path", "a termination message from a path of its own",
         pod(shell("echo there > /tmp/said; exit 1", terminationMessagePath="/tmp/said")), ended),
    Case("message-logs", "a termination message from the log",
         pod(shell("echo the last words; exit 1", terminationMessagePolicy="FallbackToLogsOnError")), ended),
    Case("variables", "variables from fields and resources", pod(
        shell(_TELL, resources={"limits": _SMALL},
              env=[*field_env(NAME="metadata.name", NAMESPACE="metadata.namespace", IP="status.podIP",
                              HOST="status.hostIP"),
                   *resource_env(CPU="limits.cpu", MEMORY="limits.memory")])), ended),
    Case("guaranteed", "limits, therefore requests", pod(shell("sleep 3600", resources={"limits": _SMALL})), running),
    Case("burstable", "a request only", pod(shell("sleep 3600", resources={"requests": {"cpu": "50m"}})), running),
    Case("out-of-memory", "a container takes more memory than its limit",
         pod({"name": "main", "image": IMAGE, "command": ["tail", "/dev/zero"], "resources": {"limits": {"memory": "32Mi"}}}),
         ended),
    Case("user", "a user of its own, groups and a volume",
         pod(shell("sleep 3600", volumeMounts=[{"name": "v", "mountPath": "/v", "readOnly": True}]),
             securityContext={"runAsUser": 1000, "runAsGroup": 1001, "fsGroup": 1002},
             volumes=[{"name": "v", "emptyDir": {}}]), running),
    # ---- what the node itself refuses
    Case("too-big", "more CPU than the node has", pod(shell("true", resources={"requests": {"cpu": "9000"}})), ended,
         bound=True),
    Case("wrong-node", "a node selector that the node does not have",
         pod(shell("true"), nodeSelector={"example.com/nothing": "here"}), ended, bound=True),
    # ---- deletion
    Case("deleted", "deleted, it ends when asked", pod(shell(TRAPS), terminationGracePeriodSeconds=10), running,
         deletes=True),
    Case("deleted-hook", "deleted, its preStop hook takes longer than the grace", pod(
        shell(TRAPS, lifecycle={"preStop": {"exec": {"command": SLEEP}}}), terminationGracePeriodSeconds=3), running,
        deletes=True),
    Case("deleted-deaf", "deleted, it does not hear", pod(shell(DEAF), terminationGracePeriodSeconds=1), running,
         deletes=True),
)  # fmt: skip
