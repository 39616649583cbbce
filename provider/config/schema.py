"""The configuration: one YAML document, `apiVersion: zonelet.dev/v1alpha1`, `kind: ProviderConfig`.

Everything has a default; no file is needed. `load.py` reads a file into these structs and reports every mistake with
its path. Quantities are Kubernetes' own (`200`, `500m`, `800Gi`).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from msgspec import Struct


class VSwitchConfig(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """A vSwitch: its CIDR (mask /16 to /29), and a name (default `vsw-<zone>-<index>`)."""

    cidr: str
    id: str = ""


class StockConfig(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Physical pool of a zone; `instances` caps the count (default: the addresses)."""

    QUANTITIES: ClassVar = True

    cpu: str = "200"
    memory: str = "800Gi"
    ephemeral_storage: str = "10Ti"
    instances: int | None = None
    spot_reserve: float = 0.2
    """share of the pool, 0 to 1, that spot and best-effort instances must leave free."""


class ZoneConfig(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """One zone: one virtual node. Without `vSwitches` it gets one free /22."""

    name: str
    node_name: str = ""
    """default `virtual-kubelet-<zone>`."""
    stock: StockConfig = StockConfig()
    v_switches: tuple[VSwitchConfig, ...] = ()
    labels: dict[str, str] = {}


class NodeConfig(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """What every node has in common."""

    taint: Literal["none", "NoSchedule"] = "NoSchedule"
    taint_key: str = "virtual-kubelet.io/provider"
    taint_value: str = "zonelet"
    kubelet_port: int = 10250
    lease_seconds: int = 40
    status_interval_seconds: int = 300
    max_pods: int | None = None
    daemon_sets: Literal["withoutHost", "all"] = "withoutHost"
    """whose pods are started: DaemonSets that ask nothing of a host, or all; the others' pods stay Pending."""


class DockerConfig(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """The Docker engine behind the zones."""

    host: str = ""
    """empty: DOCKER_HOST, else the local socket."""
    network: str = ""
    """the cluster's Docker network that routers attach to (`kind`, `k3d-...`); empty: one of our own."""
    starts_in_flight: int = 4
    memory_share: float = 0.8
    cpu_reserve: float = 0.5
    pause_image: str = "zonelet/pause:1"
    gateway_image: str = "zonelet/gateway:1"


class SimulatedConfig(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """The runtime without containers: how long things take unless a pod's annotation says otherwise (seconds)."""

    start_seconds: float = 0.0
    duration_seconds: float | None = None
    """None: app containers run until they are deleted."""


class RuntimeConfig(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Which runtime runs the instances."""

    kind: Literal["docker", "simulated"] = "docker"
    docker: DockerConfig = DockerConfig()
    simulated: SimulatedConfig = SimulatedConfig()
    image_pull: Literal["byPolicy", "preferLocal"] = "byPolicy"


class ClusterConfig(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """How pods find the cluster."""

    domain: str = "cluster.local"
    dns: tuple[str, ...] = ()
    """addresses of the cluster's DNS; empty: the kubelet's fall-back to dnsPolicy Default, with its event."""
    api_server: str = ""
    """host:port that pods' traffic to the `kubernetes` service is sent to; empty: the service's EndpointSlice."""


class TlsConfig(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """PEM files of one end of mutual TLS: its own certificate and key, and the authority of the other end's."""

    certificate_file: str
    key_file: str
    authority_file: str


class HostPathConfig(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """hostPath volumes: off unless paths are named. A pod may mount these, and everything below them."""

    allowed_paths: tuple[str, ...] = ()


class PodsConfig(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """What pods may do here that they may not everywhere."""

    host_path: HostPathConfig = HostPathConfig()


class ProviderConfig(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """The whole document. Paths may be relative to the working directory."""

    api_version: Literal["zonelet.dev/v1alpha1"] = "zonelet.dev/v1alpha1"
    kind: Literal["ProviderConfig"] = "ProviderConfig"
    name: str = "zonelet"
    """of this installation: part of every Docker name and label; two installations share an engine by it."""
    region: str = "local"
    profile: str = "plain"
    """what the cloud sells: `plain`, `eci`, `acs`, `fargate`, `aci`, or the path of a profile's file."""
    zones: tuple[ZoneConfig, ...] = (
        ZoneConfig(name="zone-a"),
        ZoneConfig(name="zone-b"),
        ZoneConfig(name="zone-c"),
    )
    node: NodeConfig = NodeConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    cluster: ClusterConfig = ClusterConfig()
    pods: PodsConfig = PodsConfig()
    state_dir: str = ""
    """empty: $ZONELET_STATE_DIR, else /var/lib/zonelet/<name>."""
    grpc_listen: str = ""
    """address of the elastic API; empty: a Unix socket in the state directory. TCP beyond loopback needs `grpcTls`."""
    grpc_tls: TlsConfig | None = None
    """of the elastic API, served here or used elsewhere (`zonelet run --backend`)."""
