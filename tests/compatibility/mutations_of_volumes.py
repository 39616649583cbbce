"""What a container mounts, and where the files come from."""

from __future__ import annotations

from tests.compatibility import cases
from tests.compatibility.mutation import Mutation, tells, volume

_M = Mutation

PROJECTED = "spec/volumes/3/projected/sources"
_NO_CLAIM = {"persistentVolumeClaim": {"claimName": "nothing"}}

MOUNTS: tuple[Mutation, ...] = (
    _M("sub-path-upwards", {"main/volumeMounts/0/subPath": "../up"}),
    _M("sub-path-expands-upwards", {"main/volumeMounts/0/subPathExpr": "$(UP)/up"}),
    _M(
        "sub-path-expands-absolute",
        {"main/env/0": {"name": "PLAIN", "value": "/etc"}, "main/volumeMounts/0/subPathExpr": "$(PLAIN)"},
    ),
    _M("sub-path-expands-nothing", {"main/volumeMounts/0/subPathExpr": "$(NOTHING)/up"}),
    _M("sub-path-absent", {"main/volumeMounts/0/subPath": "a/b", **tells("ls -ld /scratch | cut -c1-10")}),
    _M("sub-path-absent-in-map", {"main/volumeMounts/1/subPath": "nothing", **tells("ls -ld /config | cut -c1-10")}),
    _M("sub-path-of-a-key", {"main/volumeMounts/1/subPath": "sub/key", **tells("cat /config")}),
    _M("mount-over-a-file", {"main/volumeMounts/0/mountPath": "/etc/passwd"}, until=cases.ended_or_refused),
    _M(
        "mount-file-over-a-directory",
        {"main/volumeMounts/1/mountPath": "/tmp", "main/volumeMounts/1/subPath": "sub/key"},
        until=cases.ended_or_refused,
    ),
    _M("mount-relative", {"main/volumeMounts/0/mountPath": "relative", **tells("ls -ld /relative | cut -c1-10")}),
    _M("mount-over-root", {"main/volumeMounts/0/mountPath": "/"}, until=cases.ended_or_refused),
    _M(
        "mount-over-etc-hosts",
        {
            "main/volumeMounts/1/mountPath": "/etc/hosts",
            "main/volumeMounts/1/subPath": "sub/key",
            **tells("cat /etc/hosts"),
        },
    ),
    _M("mount-over-proc", {"main/volumeMounts/0/mountPath": "/proc"}, until=cases.ended_or_refused),
    _M(
        "mount-over-the-message",
        {"main/volumeMounts/0/mountPath": "/dev/termination-log"},
    ),
    _M("mount-below-another", {"main/volumeMounts/0/mountPath": "/config/sub"}),
    _M("mount-read-only-written", {"main/volumeMounts/0/readOnly": True, **tells("touch /scratch/x")}),
    _M("mount-config-written", tells("touch /config/x; touch /secret/x; echo tried")),
    _M("mount-same-path", {"main/volumeMounts/0/mountPath": "/config"}),
    _M("mount-of-nothing", {"main/volumeMounts/0/name": "nothing"}),
    _M(
        "mount-propagated",
        {"main/volumeMounts/0/mountPropagation": "HostToContainer"},
        refused="spec.containers[0].volumeMounts[0].mountPropagation",
    ),
    _M(
        "mount-read-only-below",
        {"main/volumeMounts/0/readOnly": True, "main/volumeMounts/0/recursiveReadOnly": "Enabled"},
        refused="spec.containers[0].volumeMounts[0].recursiveReadOnly",
    ),
    _M(
        "mount-read-only-below-if-possible",
        {"main/volumeMounts/0/readOnly": True, "main/volumeMounts/0/recursiveReadOnly": "IfPossible"},
    ),
    _M(
        "device-absent",
        {
            "main/volumeDevices": [{"name": "block", "devicePath": "/dev/x"}],
            "spec/volumes/+": {"name": "block", **_NO_CLAIM},
        },
        refused="persistentVolumeClaim",
        lasts=5,
    ),
)

VOLUMES: tuple[Mutation, ...] = (
    _M("map-absent", {"spec/volumes/1/configMap/name": "nothing"}, lasts=6),
    _M(
        "map-optional",
        {"spec/volumes/1/configMap/name": "nothing", "spec/volumes/1/configMap/optional": True, **tells("ls /config")},
    ),
    _M("map-key-absent", {"spec/volumes/1/configMap/items/0/key": "nothing"}, lasts=6),
    _M(
        "map-key-optional",
        {
            "spec/volumes/1/configMap/items/0/key": "nothing",
            "spec/volumes/1/configMap/optional": True,
            **tells("ls /config"),
        },
    ),
    _M("map-path-upwards", {"spec/volumes/1/configMap/items/0/path": "../key"}),
    _M("map-path-dots", {"spec/volumes/1/configMap/items/0/path": "..key"}),
    _M("map-mode-none", {"spec/volumes/1/configMap/defaultMode": 0, **tells("ls -lL /config/sub/key | cut -c1-10")}),
    _M(
        "map-mode-all", {"spec/volumes/1/configMap/items/0/mode": 0o777, **tells("ls -lL /config/sub/key | cut -c1-10")}
    ),
    _M(
        "map-items-on-one-path",
        {"spec/volumes/1/configMap/items/+": {"key": "1-odd.key", "path": "sub/key"}, **tells("cat /config/sub/key")},
    ),
    _M(
        "map-items-below-another",
        {"spec/volumes/1/configMap/items/+": {"key": "1-odd.key", "path": "sub/key/x"}},
        lasts=6,
    ),
    _M("secret-absent", {"spec/volumes/2/secret/secretName": "nothing"}, lasts=6),
    _M(
        "secret-optional",
        {"spec/volumes/2/secret/secretName": "nothing", "spec/volumes/2/secret/optional": True, **tells("ls /secret")},
    ),
    _M("secret-key-absent", {"spec/volumes/2/secret/items": [{"key": "nothing", "path": "x"}]}, lasts=6),
    _M("secret-mode", {"spec/volumes/2/secret/defaultMode": 0o111, **tells("ls -lnL /secret/key | cut -c1-40")}),
    _M("token-too-short", {f"{PROJECTED}/0/serviceAccountToken/expirationSeconds": 10}),
    _M(
        "token-audience",
        {f"{PROJECTED}/0/serviceAccountToken/audience": "nobody", **tells("test -s /all/token && echo yes")},
    ),
    _M("token-longest", {f"{PROJECTED}/0/serviceAccountToken/expirationSeconds": 1 << 32}),
    _M("token-path-taken", {f"{PROJECTED}/0/serviceAccountToken/path": "labels"}),
    _M(
        "trust-bundle-absent",
        {f"{PROJECTED}/+": {"clusterTrustBundle": {"name": "nothing", "path": "x"}}},
        refused="spec.volumes[3].projected.sources[2].clusterTrustBundle",
        lasts=6,
    ),
    _M("projected-map-absent", {f"{PROJECTED}/+": {"configMap": {"name": "nothing"}}}, lasts=6),
    _M("projected-nothing", {PROJECTED: [], **tells("ls /all")}),
    _M(
        "downward-of-nobody",
        volume(
            downwardAPI={
                "items": [{"path": "cpu", "resourceFieldRef": {"containerName": "nobody", "resource": "limits.cpu"}}]
            }
        ),
        lasts=6,
    ),
    _M(
        "downward-resource",
        {
            **volume(
                downwardAPI={
                    "items": [
                        {
                            "path": "m",
                            "resourceFieldRef": {
                                "containerName": "main",
                                "resource": "limits.memory",
                                "divisor": "1Mi",
                            },
                        }
                    ]
                }
            ),
            **tells("cat /scratch/m"),
        },
    ),
    _M(
        "downward-annotation-absent",
        {
            **volume(
                downwardAPI={"items": [{"path": "a", "fieldRef": {"fieldPath": "metadata.annotations['nothing']"}}]}
            ),
            **tells("ls -s /scratch/a"),
        },
    ),
    _M(
        "scratch-medium-unknown",
        volume(emptyDir={"medium": "Paper"}),
        refused="spec.volumes[0].emptyDir.medium",
        lasts=6,
    ),
    _M(
        "scratch-huge-pages",
        volume(emptyDir={"medium": "HugePages"}),
        refused="spec.volumes[0].emptyDir.medium",
        lasts=6,
    ),
    _M(
        "scratch-memory-exceeded",
        {
            **volume(emptyDir={"medium": "Memory", "sizeLimit": "1Mi"}),
            **tells("head -c 2000000 /dev/zero > /scratch/x"),
        },
    ),
    _M(
        "scratch-limit-exceeded",
        {**volume(emptyDir={"sizeLimit": "1Mi"}), "main/args": ["head -c 9000000 /dev/zero > /scratch/x; sleep 3600"]},
        until=cases.ended,
    ),
    _M(
        "storage-limit-exceeded",
        {
            "main/resources/limits/ephemeral-storage": "1Mi",
            "main/args": ["head -c 9000000 /dev/zero > /tmp/x; sleep 3600"],
        },
        until=cases.ended,
    ),
    _M("host-path", volume(hostPath={"path": "/tmp"}), refused="spec.volumes[0].hostPath"),
    _M(
        "host-path-absent",
        volume(hostPath={"path": "/no/such", "type": "Directory"}),
        refused="spec.volumes[0].hostPath",
        lasts=6,
    ),
    _M("claim-absent", volume(**_NO_CLAIM), refused="spec.volumes[0].persistentVolumeClaim", lasts=6),
    _M(
        "claim-of-its-own",
        volume(
            ephemeral={
                "volumeClaimTemplate": {
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
                }
            }
        ),
        refused="spec.volumes[0].ephemeral",
        lasts=6,
    ),
    _M("driver-unknown", volume(csi={"driver": "nothing.example.com"}), refused="spec.volumes[0].csi", lasts=6),
    _M("nfs-nowhere", volume(nfs={"server": "192.0.2.1", "path": "/x"}), refused="spec.volumes[0].nfs", lasts=6),
    _M(
        "iscsi-nowhere",
        volume(iscsi={"targetPortal": "192.0.2.1:3260", "iqn": "iqn.2001-04.com.example:x", "lun": 0}),
        refused="spec.volumes[0].iscsi",
        lasts=6,
    ),
    _M(
        "image-volume",
        volume(image={"reference": "nothing:1", "pullPolicy": "Never"}),
        refused="spec.volumes[0].image",
        lasts=6,
    ),
    _M(
        "repository",
        volume(gitRepo={"repository": "https://repository.invalid/x"}),
        refused="spec.volumes[0].gitRepo",
        lasts=6,
    ),
)
