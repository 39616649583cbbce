"""/stats/summary and /metrics/resource: what the node's pods use, in the kubelet's two shapes.

Sources: k8s.io/kubelet/pkg/apis/stats/v1alpha1 (the summary), pkg/kubelet/metrics/collectors/resource_metrics.go
(names, help texts, stability). A virtual node is the sum of its pods: it has no system containers and no file systems
of its own, so those parts are left out, as the kubelet leaves out what it does not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from provider.kubelet.usage_rates import CpuRates, Key, NodeCpu, summed
from provider.model.timestamps import EPOCH, rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from provider.clock import Clock
    from provider.cloud.backend import ElasticBackend
    from provider.kube.client import Json
    from provider.model.ids import ZoneId
    from provider.model.usage import ContainerUsage, InstanceUsage, InterfaceUsage, Use

_NANO: Final = 1e9
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_FAMILIES: Final = (
    ("container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the container in core-seconds"),
    ("container_memory_working_set_bytes", "gauge", "Current working set of the container in bytes"),
    ("container_start_time_seconds", "gauge", "Start time of the container since unix epoch in seconds"),
    ("node_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the node in core-seconds"),
    ("node_memory_working_set_bytes", "gauge", "Current working set of the node in bytes"),
    ("pod_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the pod in core-seconds"),
    ("pod_memory_working_set_bytes", "gauge", "Current working set of the pod in bytes"),
    ("resource_scrape_error", "gauge", "1 if there was an error while getting container metrics, 0 otherwise"),
)


class NodeStats:
    """The figures of one node; keeps samples, from which rates are made."""

    def __init__(
        self, node_name: str, zone: ZoneId, backend: ElasticBackend, pods: Callable[[], list[Json]], clock: Clock
    ) -> None:
        self._node = node_name
        self._zone = zone
        self._backend = backend
        self._pods = pods
        self._clock = clock
        self._since = clock.now()
        self._cpu = NodeCpu()
        self._rates = CpuRates()

    async def summary(self, *, only_cpu_and_memory: bool = False) -> Json:
        """Return /stats/summary. Raises CloudError."""
        node, pods = await self._measure()
        memory = await self._capacity()
        described = [self._pod(pod, usage, brief=only_cpu_and_memory) for pod, usage in pods]
        keys: list[Key] = [(), *((usage.uid,) for _, usage in pods)]
        keys += [(usage.uid, one.name) for _, usage in pods for one in usage.containers]
        self._rates.keep(keys)
        head = {"nodeName": self._node, "startTime": rfc3339(self._since)}
        return {"node": {**head, **self._levels((), node, memory)}, "pods": described}

    async def resource_metrics(self) -> str:
        """Return /metrics/resource in Prometheus' text format. Raises CloudError."""
        node, pods = await self._measure()
        lines: dict[str, list[str]] = {name: [] for name, _, _ in _FAMILIES}
        for pod, usage in pods:
            where = f'namespace="{pod["metadata"]["namespace"]}",pod="{pod["metadata"]["name"]}"'
            for one in usage.containers:
                labels = f'container="{one.name}",{where}'
                _sample(lines, "container", labels, one.use)
                lines["container_start_time_seconds"].append(f"{{{labels}}} {one.started_at!r}")
            _sample(lines, "pod", where, usage.use)
        _sample(lines, "node", "", node)
        return _exposed(lines, failed=False)

    @staticmethod
    def failed_metrics() -> str:
        """Return /metrics/resource for a cloud that cannot be asked."""
        return _exposed({}, failed=True)

    async def _measure(self) -> tuple[Use, list[tuple[Json, InstanceUsage]]]:
        """Return the node's figures, and those of its pods."""
        found = await self._backend.describe_usage(self._zone)
        pods = {pod["metadata"]["uid"]: pod for pod in self._pods()}
        mine = [one for one in found if one.uid in pods]
        node = summed([one.use for one in mine], self._clock.now(), self._cpu.total(mine))
        return node, [(pods[one.uid], one) for one in mine]

    async def _capacity(self) -> int:
        zones = await self._backend.describe_zones()
        return next((one.zone.memory for one in zones if one.zone.id == self._zone), 0)

    def _pod(self, pod: Json, usage: InstanceUsage, *, brief: bool) -> Json:
        metadata = pod["metadata"]
        described: Json = {
            "podRef": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]},
            "startTime": (pod.get("status") or {}).get("startTime") or EPOCH,
            "containers": [self._container(usage, one) for one in usage.containers],
            **self._levels((usage.uid,), usage.use, usage.memory_limit),
        }
        if not brief:
            described["network"] = _network(usage.interfaces, usage.use.at)
            described["process_stats"] = {"process_count": usage.processes}
        return described

    def _container(self, usage: InstanceUsage, one: ContainerUsage) -> Json:
        head = {"name": one.name, "startTime": rfc3339(one.started_at)}
        return {**head, **self._levels((usage.uid, one.name), one.use, one.memory_limit)}

    def _levels(self, key: Key, use: Use, memory_limit: int) -> Json:
        """Return `cpu` and `memory`; without a limit nothing is said of what is available."""
        time = rfc3339(use.at)
        cpu: Json = {"time": time}
        rate = self._rates.rate(key, use.at, use.cpu)
        if rate is not None:
            cpu["usageNanoCores"] = rate
        cpu["usageCoreNanoSeconds"] = use.cpu
        memory: Json = {"time": time}
        if memory_limit:
            memory["availableBytes"] = max(0, memory_limit - use.working_set)
        memory |= {
            "usageBytes": use.memory,
            "workingSetBytes": use.working_set,
            "rssBytes": use.rss,
            "pageFaults": use.page_faults,
            "majorPageFaults": use.major_faults,
        }
        return {"cpu": cpu, "memory": memory}


def _network(interfaces: Sequence[InterfaceUsage], at: float) -> Json:
    every = [
        {
            "name": one.name,
            "rxBytes": one.received_bytes,
            "rxErrors": one.received_errors,
            "txBytes": one.sent_bytes,
            "txErrors": one.sent_errors,
        }
        for one in interfaces
    ]
    first: Json = every[0] if every else {"name": ""}
    return {"time": rfc3339(at), **first, **({"interfaces": every} if every else {})}


def _sample(lines: dict[str, list[str]], what: str, labels: str, use: Use) -> None:
    where, at = f"{{{labels}}}" if labels else "", int(use.at * 1000)
    lines[f"{what}_cpu_usage_seconds_total"].append(f"{where} {use.cpu / _NANO!r} {at}")
    lines[f"{what}_memory_working_set_bytes"].append(f"{where} {use.working_set} {at}")


def _exposed(lines: dict[str, list[str]], *, failed: bool) -> str:
    return "".join(_text(lines | {"resource_scrape_error": [f" {int(failed)}"]}))


def _text(lines: dict[str, list[str]]) -> Iterable[str]:
    for name, kind, help_text in _FAMILIES:
        if samples := lines.get(name):
            yield f"# HELP {name} [STABLE] {help_text}\n# TYPE {name} {kind}\n"
            yield from (f"{name}{sample}\n" for sample in samples)
