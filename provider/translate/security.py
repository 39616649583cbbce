"""securityContext of pod and container as one (pkg/securitycontext, v1.37), and which sysctls a pod may set."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from provider.model.errors import Rejection
from provider.model.pod_security import Capabilities, ContainerSecurity, PodSecurity
from provider.model.request import SecurityContext

if TYPE_CHECKING:
    from provider.model.pod import Container, Pod
    from provider.model.pod_security import SELinuxOptions

SAFE_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_wmem",
        "net.ipv4.tcp_slow_start_after_idle",
        "net.ipv4.tcp_notsent_lowat",
    },
)
"""Those of its own namespaces that disturb no other pod (pkg/kubelet/sysctl/safe_sysctls.go)."""
_APPARMOR = {"RuntimeDefault": "default", "Unconfined": "unconfined"}


def security(pod: Pod, container: Container) -> SecurityContext:
    """Return the container's settings; what it does not say, the pod says."""
    common = pod.spec.security_context or PodSecurity()
    own = container.security_context or ContainerSecurity()
    capabilities = own.capabilities or Capabilities()
    seccomp = own.seccomp_profile or common.seccomp_profile
    apparmor = own.app_armor_profile or common.app_armor_profile
    non_root = common.run_as_non_root if own.run_as_non_root is None else own.run_as_non_root
    return SecurityContext(
        user=common.run_as_user if own.run_as_user is None else own.run_as_user,
        group=common.run_as_group if own.run_as_group is None else own.run_as_group,
        run_as_non_root=bool(non_root),
        supplemental_groups=tuple(common.supplemental_groups or ()),
        privileged=bool(own.privileged),
        allow_privilege_escalation=own.allow_privilege_escalation is not False,
        read_only_root=bool(own.read_only_root_filesystem),
        cap_add=tuple(capabilities.add or ()),
        cap_drop=tuple(capabilities.drop or ()),
        seccomp="unconfined" if seccomp is not None and seccomp.type == "Unconfined" else "",
        apparmor="" if apparmor is None else _APPARMOR.get(apparmor.type, ""),
        selinux=_label(own.se_linux_options or common.se_linux_options),
    )


def wants_apparmor(pod: Pod) -> bool:
    """Return whether a pod needs a node with AppArmor (pkg/security/apparmor isRequired)."""
    common = (pod.spec.security_context or PodSecurity()).app_armor_profile
    containers = (*(pod.spec.init_containers or ()), *pod.spec.containers)
    own = (one.security_context.app_armor_profile for one in containers if one.security_context is not None)
    return any(one is not None and one.type != "Unconfined" for one in (common, *own))


def sysctls(pod: Pod) -> tuple[tuple[str, str], ...]:
    """Return the pod's kernel parameters. Raises Rejection for one that is not safe, as the kubelet refuses the pod."""
    common = pod.spec.security_context or PodSecurity()
    found = []
    for index, one in enumerate(common.sysctls or ()):
        name = _normal(one.name)
        if name not in SAFE_SYSCTLS:
            where = f"spec.securityContext.sysctls[{index}]"
            raise Rejection("SysctlForbidden", f'forbidden sysctl: "{name}" not allowlisted', field=where)
        found.append((name, one.value))
    return tuple(found)


def _normal(name: str) -> str:
    """Return a parameter's name with dots, whichever of its two spellings is used (component-helpers/node/util)."""
    first = re.search(r"[./]", name)
    return name.translate(str.maketrans("/.", "./")) if first is not None and first[0] == "/" else name


def _label(options: SELinuxOptions | None) -> tuple[str, ...]:
    if options is None:
        return ()
    parts = (("user", options.user), ("role", options.role), ("type", options.type), ("level", options.level))
    return tuple(f"{name}:{value}" for name, value in parts if value)
