"""The subset of the v1 Pod that we read (k8s.io/api/core/v1, v1.37). Names are the API's, in snake case.

A field that has no place here is found by `translate.admission` in the raw JSON and refused by name; it is never
ignored. Lists and maps are None where the API leaves them out. Quantities stay text (`model.quantity` reads them).
"""

from __future__ import annotations

from typing import Any

from msgspec import convert, field

from provider.model.api_object import ApiObject
from provider.model.pod_environment import EnvEntry, EnvFromSource, ObjectReference
from provider.model.pod_probes import HookEntry, ProbeEntry
from provider.model.pod_security import ContainerSecurity, PodSecurity
from provider.model.pod_status import PodStatus
from provider.model.pod_volumes import Mount, VolumeEntry


class Resources(ApiObject, frozen=True):
    """ResourceRequirements: quantities by resource name."""

    requests: dict[str, str | int | float] | None = None
    limits: dict[str, str | int | float] | None = None


class ContainerPort(ApiObject, frozen=True):
    """A port is information, and a name for probes."""

    container_port: int
    name: str = ""
    protocol: str = "TCP"


class Lifecycle(ApiObject, frozen=True):
    """Lifecycle of the API; `stop_signal` is a name such as SIGTERM."""

    post_start: HookEntry | None = None
    pre_stop: HookEntry | None = None
    stop_signal: str | None = None


class ExitCodes(ApiObject, frozen=True):
    """ContainerRestartRuleOnExitCodes; `operator` is In or NotIn."""

    operator: str = ""
    values: list[int] | None = None


class RestartRuleEntry(ApiObject, frozen=True):
    """ContainerRestartRule; the one action here is Restart."""

    action: str = ""
    exit_codes: ExitCodes | None = None


class Container(ApiObject, frozen=True):
    """Container of the API; `restart_policy` Always on an init container makes a sidecar."""

    name: str
    image: str = ""
    command: list[str] | None = None
    args: list[str] | None = None
    working_dir: str = ""
    ports: list[ContainerPort] | None = None
    env_from: list[EnvFromSource] | None = None
    env: list[EnvEntry] | None = None
    resources: Resources | None = None
    restart_policy: str | None = None
    restart_policy_rules: list[RestartRuleEntry] | None = None
    volume_mounts: list[Mount] | None = None
    liveness_probe: ProbeEntry | None = None
    readiness_probe: ProbeEntry | None = None
    startup_probe: ProbeEntry | None = None
    lifecycle: Lifecycle | None = None
    termination_message_path: str = "/dev/termination-log"
    termination_message_policy: str = "File"
    image_pull_policy: str = "IfNotPresent"
    security_context: ContainerSecurity | None = None
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False


class HostAliasEntry(ApiObject, frozen=True):
    """HostAlias."""

    ip: str
    hostnames: list[str] | None = None


class DnsOption(ApiObject, frozen=True):
    """PodDNSConfigOption."""

    name: str = ""
    value: str | None = None


class PodDnsConfig(ApiObject, frozen=True):
    """PodDNSConfig."""

    nameservers: list[str] | None = None
    searches: list[str] | None = None
    options: list[DnsOption] | None = None


class ReadinessGate(ApiObject, frozen=True):
    """A condition that somebody else sets and that Ready waits for."""

    condition_type: str


class PodSpec(ApiObject, frozen=True):
    """What the provider acts on; what other components own is listed in translate.admission."""

    containers: list[Container]
    init_containers: list[Container] | None = None
    volumes: list[VolumeEntry] | None = None
    restart_policy: str = "Always"
    termination_grace_period_seconds: int | None = None
    active_deadline_seconds: int | None = None
    dns_policy: str = "ClusterFirst"
    dns_config: PodDnsConfig | None = None
    node_name: str = ""
    service_account_name: str = ""
    security_context: PodSecurity | None = None
    image_pull_secrets: list[ObjectReference] | None = None
    hostname: str = ""
    hostname_override: str | None = None
    subdomain: str = ""
    set_hostname_as_fqdn: bool | None = field(name="setHostnameAsFQDN", default=None)
    share_process_namespace: bool | None = None
    host_aliases: list[HostAliasEntry] | None = None
    enable_service_links: bool | None = None
    overhead: dict[str, str | int | float] | None = None
    readiness_gates: list[ReadinessGate] | None = None
    priority: int | None = None


class OwnerReference(ApiObject, frozen=True):
    """OwnerReference; at most one of an object's is its controller."""

    kind: str = ""
    name: str = ""
    controller: bool | None = None


class Metadata(ApiObject, frozen=True):
    """ObjectMeta; times are RFC 3339 texts."""

    name: str
    namespace: str = "default"
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[OwnerReference] | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None


class Pod(ApiObject, frozen=True):
    """A pod as the API server sends it."""

    metadata: Metadata
    spec: PodSpec
    status: PodStatus = PodStatus()


def pod_from_json(raw: dict[str, Any]) -> Pod:
    """Return the typed pod of decoded JSON. Raises msgspec.ValidationError where a type is not the API's."""
    return convert(raw, Pod)
