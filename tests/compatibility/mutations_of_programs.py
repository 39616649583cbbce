"""What a container runs, and with which variables."""

from __future__ import annotations

from tests.compatibility import cases
from tests.compatibility.mutation import DROP, UNPROBED, Mutation, env, tells

_M = Mutation
_REFUSED = cases.waits("CreateContainerConfigError")
_NO_MAP = {"configMapKeyRef": {"name": "nothing", "key": "key"}}


PROGRAMS: tuple[Mutation, ...] = (
    _M("as-it-is", {}),
    _M("image-malformed", {"main/image": "Nothing::1"}),
    _M("image-unknown", {"main/image": "registry.invalid/nothing:1"}, until=cases.waits("ImagePullBackOff")),
    _M(
        "image-digest-unknown",
        {"main/image": f"registry.invalid/nothing@sha256:{'0' * 64}"},
        until=cases.waits("ImagePullBackOff"),
    ),
    _M("image-digest-malformed", {"main/image": "busybox@sha256:abc"}),
    _M("image-absent-never", {"main/image": "nothing:1", "main/imagePullPolicy": "Never"}),
    _M("pull-secret-absent", {"spec/imagePullSecrets": [{"name": "nothing"}]}),
    _M("pull-secret-of-another-type", {"spec/imagePullSecrets": [{"name": "present"}]}),
    _M("command-absent", {"main/command": ["/no/such"], "main/args": DROP}, until=cases.ended),
    _M("command-not-in-path", {"main/command": ["no-such-program"], "main/args": DROP}, until=cases.ended),
    _M("command-a-directory", {"main/command": ["/tmp"], "main/args": DROP}, until=cases.ended),
    _M("command-not-executable", {"main/command": ["/etc/passwd"], "main/args": DROP}, until=cases.ended),
    _M("command-empty-text", {"main/command": [""], "main/args": DROP}, until=cases.ended),
    _M("command-of-image", {**UNPROBED, "main/command": DROP, "main/args": ["sh", "-c", "exit 7"]}),
    _M("args-fail", {**UNPROBED, "main/args": ["exit 300"]}),
    _M("args-none", {**UNPROBED, "main/args": DROP}),
    _M("args-expanded", tells("echo '$(PLAIN) $$(PLAIN) $(NOTHING) $(PLAIN'")),
    _M("directory-absent", {"main/workingDir": "/no/such/directory", **tells("pwd; ls -ld . | cut -c1-10")}),
    _M("directory-a-file", {"main/workingDir": "/etc/passwd"}, until=cases.ended_or_refused),
    _M("directory-relative", {"main/workingDir": "tmp", **tells("pwd")}),
    _M("killed-by-itself", {**UNPROBED, "main/args": ["kill -SEGV $$"]}, until=cases.ended),
)

VARIABLES: tuple[Mutation, ...] = (
    _M("env-map-absent", env(valueFrom=_NO_MAP), until=_REFUSED),
    _M("env-key-absent", env(valueFrom={"configMapKeyRef": {"name": "present", "key": "nothing"}}), until=_REFUSED),
    _M(
        "env-key-optional",
        {
            **env(valueFrom={"configMapKeyRef": {"name": "present", "key": "nothing", "optional": True}}),
            **tells("echo ${ODD-unset}"),
        },
    ),
    _M(
        "env-map-optional",
        {
            **env(valueFrom={"configMapKeyRef": {"name": "nothing", "key": "key", "optional": True}}),
            **tells("echo ${ODD-unset}"),
        },
    ),
    _M("env-secret-absent", env(valueFrom={"secretKeyRef": {"name": "nothing", "key": "key"}}), until=_REFUSED),
    _M("env-secret-key-absent", env(valueFrom={"secretKeyRef": {"name": "present", "key": "nothing"}}), until=_REFUSED),
    _M("env-binary-key", env(valueFrom={"configMapKeyRef": {"name": "present", "key": "binary"}}), until=_REFUSED),
    _M(
        "env-label-absent",
        {**env(valueFrom={"fieldRef": {"fieldPath": "metadata.labels['nothing']"}}), **tells('echo "<$ODD>"')},
    ),
    _M(
        "env-annotation",
        {**env(valueFrom={"fieldRef": {"fieldPath": "metadata.annotations['note']"}}), **tells('echo "<$ODD>"')},
    ),
    _M(
        "env-account",
        {**env(valueFrom={"fieldRef": {"fieldPath": "spec.serviceAccountName"}}), **tells('echo "<$ODD>"')},
    ),
    _M("env-addresses", {**env(valueFrom={"fieldRef": {"fieldPath": "status.hostIPs"}}), **tells('echo "<$ODD>"')}),
    _M(
        "env-resource-divided",
        {**env(valueFrom={"resourceFieldRef": {"resource": "requests.cpu", "divisor": "1m"}}), **tells("echo $ODD")},
    ),
    _M(
        "env-resource-of-nobody",
        env(valueFrom={"resourceFieldRef": {"containerName": "nobody", "resource": "limits.cpu"}}),
        until=_REFUSED,
    ),
    _M(
        "env-resource-none",
        {
            **env(valueFrom={"resourceFieldRef": {"resource": "limits.ephemeral-storage"}}),
            **tells("test $ODD -gt 1000 && echo much"),
        },
    ),
    _M(
        "env-resource-huge",
        {**env(valueFrom={"resourceFieldRef": {"resource": "requests.hugepages-2Mi"}}), **tells('echo "<$ODD>"')},
        refused="hugepages-2Mi",
    ),
    _M("env-odd-name", {"main/env/+": {"name": "a b.c", "value": "x"}, **tells("env | grep 'a b'")}),
    _M("env-of-itself", {"main/env/+": {"name": "ODD", "value": "$(ODD) $(PLAIN)"}, **tells('echo "<$ODD>"')}),
    _M("env-twice", {"main/env/+": {"name": "PLAIN", "value": "second"}, **tells("echo $PLAIN")}),
    _M(
        "env-file",
        env(valueFrom={"fileKeyRef": {"volumeName": "scratch", "path": "a", "key": "K"}}),
        refused="spec.containers[0].env[6].valueFrom.fileKeyRef",
    ),
    _M("env-from-absent", {"main/envFrom/0": {"configMapRef": {"name": "nothing"}}}, until=_REFUSED),
    _M("env-from-secret-absent", {"main/envFrom/0": {"secretRef": {"name": "nothing"}}}, until=_REFUSED),
    _M("env-from-optional", {"main/envFrom/0": {"configMapRef": {"name": "nothing", "optional": True}}}),
    _M(
        "env-from-odd-keys", {"main/envFrom/0": {"configMapRef": {"name": "present"}}, **tells("env | grep -c odd.key")}
    ),
    _M(
        "env-from-odd-prefix",
        {"main/envFrom/0": {"prefix": "1 a-", "secretRef": {"name": "present"}}, **tells("env | grep '^1 a-'")},
    ),
)
