"""DaemonSets reach every node whose taints they tolerate, and many tolerate all: kube-proxy, CNI agents, log shippers.

Their pods care for a host: its network, its files, its kernel. A virtual node has none to care for. Such a pod must
not be Failed, as any other that a node refuses: its controller deletes a failed pod and makes it anew, for ever
(k8s.io/kubernetes/pkg/controller/daemon/daemon_controller.go podsShouldBeOnNode). It stays Pending.

A pod is one of them if a DaemonSet is its controller and it asks for the host in one of the ways of `host_wishes`.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

REASON = "DaemonSetNotStarted"
_NAMESPACES = ("hostNetwork", "hostPID", "hostIPC")
_CONTAINERS = ("initContainers", "containers")


def daemon_set_of(raw: Json) -> str:
    """Return the name of the DaemonSet that controls the pod; empty when none does."""
    for owner in raw["metadata"].get("ownerReferences") or ():
        group = str(owner.get("apiVersion", "")).partition("/")[0]
        if owner.get("controller") and owner.get("kind") == "DaemonSet" and group == "apps":
            return str(owner["name"])
    return ""


def host_wishes(spec: Json) -> list[str]:
    """Return the paths of the fields by which the pod asks for the host it is on."""
    found = [f"spec.{key}" for key in _NAMESPACES if spec.get(key)]
    for index, volume in enumerate(spec.get("volumes") or ()):
        if volume.get("hostPath"):
            found.append(f"spec.volumes[{index}].hostPath {volume['hostPath'].get('path', '')}")
    for group in _CONTAINERS:
        for index, container in enumerate(spec.get(group) or ()):
            here = f"spec.{group}[{index}]"
            if (container.get("securityContext") or {}).get("privileged"):
                found.append(f"{here}.securityContext.privileged")
            ports = enumerate(container.get("ports") or ())
            found += [f"{here}.ports[{number}].hostPort" for number, port in ports if port.get("hostPort")]
    return found


def not_started(raw: Json) -> str:
    """Return why the pod is a daemon of a host, and what to do about it; empty when it is none."""
    daemon_set, wishes = daemon_set_of(raw), host_wishes(raw.get("spec") or {})
    if not daemon_set or not wishes:
        return ""
    return (
        f"The DaemonSet {daemon_set} wants the host of its node ({', '.join(wishes)}), and a virtual node has none: "
        "the pod stays Pending, for a failed one would be made anew for ever. Keep the DaemonSet away from nodes with "
        "the label type=virtual-kubelet by a nodeAffinity, or start its pods all the same by node.daemonSets: all"
    )
