"""The subset of the v1 Pod that we read (k8s.io/api/core/v1, v1.37). Names are the API's, in snake case.

A field that has no place here is found by `translate.admission` in the raw JSON and refused by name; it is never
ignored. Lists and maps are None where the API leaves them out. Quantities stay text (`model.quantity` reads them).
"""

from __future__ import annotations

from typing import Any

from msgspec import convert, field

from provider.model.api_object import ApiObject
from provider.model.pod_status import PodStatus


class KeySelector(ApiObject, frozen=True):
    """ConfigMapKeySelector and SecretKeySelector."""

    name: str = ""
    key: str = ""
    optional: bool | None = None


class FieldSelector(ApiObject, frozen=True):
    """ObjectFieldSelector."""

    api_version: str = "v1"
    field_path: str = ""


class ResourceSelector(ApiObject, frozen=True):
    """ResourceFieldSelector; `divisor` a quantity."""

    container_name: str = ""
    resource: str = ""
    divisor: str | int | float = "0"


class EnvVarSource(ApiObject, frozen=True):
    """Exactly one source is set."""

    field_ref: FieldSelector | None = None
    resource_field_ref: ResourceSelector | None = None
    config_map_key_ref: KeySelector | None = None
    secret_key_ref: KeySelector | None = None


class EnvEntry(ApiObject, frozen=True):
    """EnvVar of the API."""

    name: str
    value: str = ""
    value_from: EnvVarSource | None = None


class ObjectReference(ApiObject, frozen=True):
    """A name in the pod's namespace."""

    name: str = ""
    optional: bool | None = None


class EnvFromSource(ApiObject, frozen=True):
    """All keys of a ConfigMap or Secret, with a prefix."""

    prefix: str = ""
    config_map_ref: ObjectReference | None = None
    secret_ref: ObjectReference | None = None


class Resources(ApiObject, frozen=True):
    """ResourceRequirements: quantities by resource name."""

    requests: dict[str, str | int | float] | None = None
    limits: dict[str, str | int | float] | None = None


class Mount(ApiObject, frozen=True):
    """VolumeMount of the API."""

    name: str
    mount_path: str
    sub_path: str = ""
    sub_path_expr: str = ""
    read_only: bool = False


class KeyToPath(ApiObject, frozen=True):
    """One key of a ConfigMap or Secret as a file."""

    key: str
    path: str
    mode: int | None = None


class EmptyDirSource(ApiObject, frozen=True):
    """emptyDir; `medium` is "" or "Memory"."""

    medium: str = ""
    size_limit: str | int | float | None = None


class HostPathSource(ApiObject, frozen=True):
    """hostPath; `type` empty: not checked."""

    path: str = ""
    type: str | None = None


class ConfigMapSource(ApiObject, frozen=True):
    """configMap, as a volume or a projection."""

    name: str = ""
    items: list[KeyToPath] | None = None
    default_mode: int | None = None
    optional: bool | None = None


class SecretSource(ApiObject, frozen=True):
    """secret, as a volume; a projection writes `name` and is a ConfigMapSource in shape."""

    secret_name: str = ""
    items: list[KeyToPath] | None = None
    default_mode: int | None = None
    optional: bool | None = None


class DownwardFile(ApiObject, frozen=True):
    """One file of the downward API."""

    path: str
    field_ref: FieldSelector | None = None
    resource_field_ref: ResourceSelector | None = None
    mode: int | None = None


class DownwardSource(ApiObject, frozen=True):
    """downwardAPI, as a volume or a projection."""

    items: list[DownwardFile] | None = None
    default_mode: int | None = None


class TokenSource(ApiObject, frozen=True):
    """serviceAccountToken of a projection; seconds."""

    path: str
    audience: str = ""
    expiration_seconds: int = 3600


class Projection(ApiObject, frozen=True):
    """One source of a projected volume."""

    secret: ConfigMapSource | None = None
    config_map: ConfigMapSource | None = None
    downward_api: DownwardSource | None = field(name="downwardAPI", default=None)
    service_account_token: TokenSource | None = None


class ProjectedSource(ApiObject, frozen=True):
    """projected."""

    sources: list[Projection] | None = None
    default_mode: int | None = None


class VolumeEntry(ApiObject, frozen=True):
    """Volume of the API; one source is set, none means emptyDir."""

    name: str
    empty_dir: EmptyDirSource | None = None
    host_path: HostPathSource | None = None
    config_map: ConfigMapSource | None = None
    secret: SecretSource | None = None
    projected: ProjectedSource | None = None
    downward_api: DownwardSource | None = field(name="downwardAPI", default=None)


class HttpHeader(ApiObject, frozen=True):
    """HTTPHeader."""

    name: str
    value: str = ""


class ExecHandler(ApiObject, frozen=True):
    """ExecAction."""

    command: list[str] | None = None


class HttpHandler(ApiObject, frozen=True):
    """HTTPGetAction; `port` may be the name of a port of the container."""

    port: int | str
    path: str = "/"
    host: str = ""
    scheme: str = "HTTP"
    http_headers: list[HttpHeader] | None = None


class TcpHandler(ApiObject, frozen=True):
    """TCPSocketAction."""

    port: int | str
    host: str = ""


class GrpcHandler(ApiObject, frozen=True):
    """GRPCAction; `service` of a grpc.health.v1.HealthCheckRequest."""

    port: int
    service: str | None = None


class ProbeEntry(ApiObject, frozen=True):
    """Probe of the API; seconds."""

    exec: ExecHandler | None = None
    http_get: HttpHandler | None = None
    tcp_socket: TcpHandler | None = None
    grpc: GrpcHandler | None = None
    initial_delay_seconds: int = 0
    timeout_seconds: int = 1
    period_seconds: int = 10
    success_threshold: int = 1
    failure_threshold: int = 3
    termination_grace_period_seconds: int | None = None


class SleepHandler(ApiObject, frozen=True):
    """SleepAction."""

    seconds: int = 0


class HookEntry(ApiObject, frozen=True):
    """LifecycleHandler: one of them is set."""

    exec: ExecHandler | None = None
    http_get: HttpHandler | None = None
    tcp_socket: TcpHandler | None = None
    sleep: SleepHandler | None = None


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


class Metadata(ApiObject, frozen=True):
    """ObjectMeta; times are RFC 3339 texts."""

    name: str
    namespace: str = "default"
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
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
