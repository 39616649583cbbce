"""The Node object of one zone, as plain JSON values; no I/O and no clock of its own.

Sources: upstream `pkg/kubelet/nodestatus/setters.go` (conditions, addresses, capacity) and
`plugin/pkg/admission/noderestriction/admission.go` (what a node may not change of itself).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from provider.config.schema import ProviderConfig, ZoneConfig
from provider.model.capacity import BackendHealth, EngineInfo, ZoneStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


Json = dict[str, Any]

DECLARED_FEATURES: tuple[str, ...] = ("ExtendWebSocketsToKubelet",)
"""node.status.declaredFeatures (KEP-5328): a feature is named here by the change that implements it."""

VERSION_MARK = "-zonelet-"
"""Stands in every kubeletVersion of ours."""

KUBELET_LABELS = frozenset(
    {
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "kubernetes.io/arch",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "node.kubernetes.io/instance-type",
    },
)
"""Labels in Kubernetes' domains that NodeRestriction lets a node set on itself, besides two whole namespaces."""

KUBELET_NAMESPACES = ("kubelet.kubernetes.io", "node.kubernetes.io")


class NodeFacts(Struct, frozen=True, kw_only=True):
    """What a Node is made of: configuration, the zone's state, its engine, and the provider's version."""

    config: ProviderConfig
    zone_config: ZoneConfig
    status: ZoneStatus
    engine: EngineInfo
    health: BackendHealth
    version: str
    """kubeletVersion, for example `v1.37.2-zonelet-0.1.0`."""
    allocatable: dict[str, str] | None = None
    """what the scheduler may bind beside what is bound; None: the zone as a whole, fixed."""


def provider_id(config: ProviderConfig, zone: ZoneConfig) -> str:
    """Return spec.providerID, which names installation and zone: `zonelet://<region>/<installation>/<zone>`."""
    return f"zonelet://{config.region}/{config.name}/{zone.name}"


def installation_of(node: Mapping[str, Any]) -> str:
    """Return the installation that a Node's providerID names; empty for a Node that is no zone's."""
    scheme, _, rest = str(node["spec"].get("providerID", "")).partition("://")
    parts = rest.rsplit("/", 2)
    return parts[1] if scheme == "zonelet" and len(parts) == 3 else ""  # noqa: PLR2004 - region, installation, zone


def node_name(zone: ZoneConfig) -> str:
    """Return the name of the zone's node: the configured one, else `virtual-kubelet-<zone>`."""
    return zone.node_name or f"virtual-kubelet-{zone.name}"


def rfc3339(seconds: float) -> str:
    """Return seconds since the epoch as metav1.Time writes them (UTC, whole seconds)."""
    return datetime.fromtimestamp(int(seconds), tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def node_labels(facts: NodeFacts) -> dict[str, str]:
    """Return all labels; the zone's configured ones never replace those that name the node and its place."""
    return {
        "kubernetes.io/role": "agent",
        "type": "virtual-kubelet",
        "node.kubernetes.io/exclude-from-external-load-balancers": "true",
        **facts.zone_config.labels,
        "kubernetes.io/hostname": node_name(facts.zone_config),
        "kubernetes.io/os": facts.engine.operating_system,
        "kubernetes.io/arch": facts.engine.architecture,
        "topology.kubernetes.io/zone": facts.zone_config.name,
        "topology.kubernetes.io/region": facts.config.region,
    }


def node_taints(facts: NodeFacts) -> list[Json]:
    """Return the taint that keeps pods away unless they tolerate it; empty for `taint: none`."""
    node = facts.config.node
    if node.taint == "none":
        return []
    return [{"key": node.taint_key, "value": node.taint_value, "effect": node.taint}]


def node_allows_label(label: str) -> bool:
    """Say whether NodeRestriction lets a node set this label on itself."""
    namespace, slash, _ = label.partition("/")
    if not slash:
        return True
    if _within(namespace, ("node-restriction.kubernetes.io",)):
        return False
    if not _within(namespace, ("kubernetes.io", "k8s.io")):
        return True
    return label in KUBELET_LABELS or _within(namespace, KUBELET_NAMESPACES)


def node_part(facts: NodeFacts, now: float, previous: Iterable[Mapping[str, Any]] = ()) -> Json:
    """Return the Node that the node's own credential may write; `previous` are the conditions now on the server."""
    labels = {key: value for key, value in node_labels(facts).items() if node_allows_label(key)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node_name(facts.zone_config), "labels": labels},
        "spec": {"providerID": provider_id(facts.config, facts.zone_config)},
        "status": node_status(facts, now, previous),
    }


def privileged_part(facts: NodeFacts) -> Json:
    """Return the patch that only the provider's own credential may write: forbidden labels, and the taints."""
    labels = {key: value for key, value in node_labels(facts).items() if not node_allows_label(key)}
    return {"metadata": {"labels": labels}, "spec": {"taints": node_taints(facts)}}


def node_status(facts: NodeFacts, now: float, previous: Iterable[Mapping[str, Any]] = ()) -> Json:
    """Return node.status; times in seconds since the epoch come in, RFC 3339 goes out."""
    resources = node_resources(facts)
    status: Json = {
        "capacity": resources,
        "allocatable": dict(resources if facts.allocatable is None else facts.allocatable),
        "conditions": node_conditions(facts.health, now, previous),
        "addresses": _addresses(facts),
        "daemonEndpoints": {"kubeletEndpoint": {"Port": facts.config.node.kubelet_port}},
        "nodeInfo": _node_info(facts),
    }
    if DECLARED_FEATURES:
        status["declaredFeatures"] = sorted(DECLARED_FEATURES)
    return status


def node_conditions(health: BackendHealth, now: float, previous: Iterable[Mapping[str, Any]] = ()) -> list[Json]:
    """Return the five conditions; a transition time moves only when the condition's status does."""
    before = {condition["type"]: condition for condition in previous}
    ready_reason = "KubeletReady" if health.healthy else health.reason or "BackendUnhealthy"
    ready_message = health.message or ("zone accepts instances" if health.healthy else "zone accepts no instances")
    wanted = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "zone has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "zone has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "zone has sufficient PIDs available"),
        ("NetworkUnavailable", "False", "RouteCreated", "the zone's router is configured"),
        ("Ready", "True" if health.healthy else "False", ready_reason, ready_message),
    ]
    heartbeat = rfc3339(now)
    return [
        {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "lastHeartbeatTime": heartbeat,
            "lastTransitionTime": _transition(before.get(kind), status, heartbeat),
        }
        for kind, status, reason, message in wanted
    ]


def _transition(before: Mapping[str, Any] | None, status: str, now: str) -> str:
    if before is None or before.get("status") != status:
        return now
    return str(before.get("lastTransitionTime") or now)


def _within(namespace: str, domains: Iterable[str]) -> bool:
    return any(namespace == domain or namespace.endswith(f".{domain}") for domain in domains)


def _addresses(facts: NodeFacts) -> list[Json]:
    addresses = [{"type": "Hostname", "address": node_name(facts.zone_config)}]
    if facts.status.node_address is not None:
        addresses.insert(0, {"type": "InternalIP", "address": facts.status.node_address})
    return addresses


def node_resources(facts: NodeFacts) -> dict[str, str]:
    """Return what the zone offers in whole: capacity, and allocatable as long as nothing is kept back."""
    zone = facts.status.zone
    return {
        "cpu": f"{zone.cpu // 1000}" if zone.cpu % 1000 == 0 else f"{zone.cpu}m",
        "memory": f"{zone.memory // 1024}Ki",
        "ephemeral-storage": f"{zone.ephemeral_storage // 1024}Ki",
        "pods": str(_pods(facts)),
    }


def _pods(facts: NodeFacts) -> int:
    """As many pods as the zone has addresses, unless the zone or the configuration caps them lower."""
    caps = [sum(vswitch.usable for vswitch in facts.status.vswitches)]
    caps += [cap for cap in (facts.status.zone.instances, facts.config.node.max_pods) if cap is not None]
    return min(caps)


def _node_info(facts: NodeFacts) -> dict[str, str]:
    engine = facts.engine
    return {
        "architecture": engine.architecture,
        "bootID": engine.boot_id,
        "containerRuntimeVersion": engine.runtime,
        "kernelVersion": engine.kernel,
        "kubeProxyVersion": "",
        "kubeletVersion": facts.version,
        "machineID": engine.machine_id,
        "operatingSystem": engine.operating_system,
        "osImage": engine.os_image,
        "systemUUID": engine.machine_id,
    }
