"""Security settings of a pod and its containers (k8s.io/api/core/v1, v1.37).

Names are the API's, in snake case; the rules of model/pod.py hold here too.
"""

from __future__ import annotations

from provider.model.api_object import ApiObject


class Capabilities(ApiObject, frozen=True):
    """Names without CAP_."""

    add: list[str] | None = None
    drop: list[str] | None = None


class SeccompProfile(ApiObject, frozen=True):
    """`type` RuntimeDefault or Unconfined; Localhost is refused."""

    type: str = ""


class AppArmorProfile(ApiObject, frozen=True):
    """`type` RuntimeDefault or Unconfined; Localhost is refused."""

    type: str = ""


class SELinuxOptions(ApiObject, frozen=True):
    """Parts of an SELinux label; an empty one is the engine's own."""

    user: str = ""
    role: str = ""
    type: str = ""
    level: str = ""


class Sysctl(ApiObject, frozen=True):
    """A kernel parameter of the pod's namespaces."""

    name: str
    value: str


class ContainerSecurity(ApiObject, frozen=True):
    """SecurityContext of a container."""

    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    privileged: bool | None = None
    allow_privilege_escalation: bool | None = None
    read_only_root_filesystem: bool | None = None
    capabilities: Capabilities | None = None
    seccomp_profile: SeccompProfile | None = None
    app_armor_profile: AppArmorProfile | None = None
    se_linux_options: SELinuxOptions | None = None


class PodSecurity(ApiObject, frozen=True):
    """PodSecurityContext."""

    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    supplemental_groups: list[int] | None = None
    fs_group: int | None = None
    seccomp_profile: SeccompProfile | None = None
    app_armor_profile: AppArmorProfile | None = None
    se_linux_options: SELinuxOptions | None = None
    sysctls: list[Sysctl] | None = None
