"""What `zonelet status` tells: components, nodes, zones, Argo. It changes nothing and waits for nothing long."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from provider.cluster.argo import DEPLOYMENTS, NAMESPACE
from provider.cluster.elastic_api import ask
from provider.cluster.local import COMPONENTS
from provider.cluster.manifests import is_available
from provider.cluster.processes import Process
from provider.cluster.stock_layout import PROCESSES, STOCK_NODE
from provider.cluster.stock_node import StockNode
from provider.config.load import ConfigError, load, node_name
from provider.config.profiles import load_profile
from provider.exclusive import is_held
from provider.kube.client import HttpKubeApi, KubeError
from provider.kube.connection import KubeConfigError
from provider.model.errors import CloudError
from provider.model.quantity import bytes_text, cpu_text, milli, whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from provider.cluster.installation import Installation
    from provider.config.schema import ProviderConfig, ZoneConfig
    from provider.kube.client import Json, KubeApi
    from provider.model.stock import StockStatus

__all__ = ["Overview", "look_at"]

Row = dict[str, object]
_ENDED = ("Succeeded", "Failed")
_CLOUD_SECONDS = 3.0


@dataclass
class Overview:
    """Rows of four tables; `problems` says in a line each what could not be looked at."""

    components: list[Row] = field(default_factory=list)
    nodes: list[Row] = field(default_factory=list)
    zones: list[Row] = field(default_factory=list)
    argo: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


async def look_at(installation: Installation) -> Overview:
    """Look at everything of an installation; what is not there or does not answer is told in `problems`."""
    record = installation.record()
    seen = Overview()
    local = record is None or record.cluster == "local"
    names = [*(COMPONENTS if local else ()), "provider"]
    if local and StockNode(installation).exists():
        names += PROCESSES
    seen.components = [_component(name, installation.state / "run") for name in names]
    provider = next(row for row in seen.components if row["component"] == "provider")
    if not provider["running"] and is_held(installation.name):
        provider |= {"running": True, "log": "not started by `zonelet up`: see docker logs, kubectl logs"}
    if record is None:
        seen.problems.append(f"the installation {installation.name} is not up (nothing in {installation.state})")
        return seen
    try:
        config = load(installation.provider_config)
    except ConfigError as error:
        seen.problems += [f"{installation.provider_config}: {each}" for each in error.mistakes]
        return seen
    try:
        if record.cluster == "local":
            api = await HttpKubeApi.from_kubeconfig(str(installation.local.kubeconfig))
        else:
            api = await HttpKubeApi.from_environment(record.kubeconfig or None, record.context)
        try:
            holds = await _stock(installation, seen, running=bool(provider["running"]))
            await _ask(api, seen, config, holds, argo=local, stock=StockNode(installation).exists())
        finally:
            await api.close()
    except (KubeError, KubeConfigError) as error:
        seen.problems.append(f"the API server does not answer: {error}")
    return seen


async def _stock(installation: Installation, seen: Overview, *, running: bool) -> dict[str, StockStatus]:
    """Return the pool that holds in each zone, by the provider's word; nothing when it does not run or answer."""
    if not running:
        return {}
    try:
        found = await ask(installation, "", lambda cloud: cloud.describe_zones(), _CLOUD_SECONDS)
    except CloudError as error:
        seen.problems.append(f"the cloud does not tell its stock: {error.message}")
        return {}
    return {status.zone.id: status.stock[0] for status in found if status.stock}


async def _ask(
    api: KubeApi,
    seen: Overview,
    config: ProviderConfig,
    holds: Mapping[str, StockStatus],
    *,
    argo: bool,
    stock: bool,
) -> None:
    nodes = {each["metadata"]["name"]: each for each in (await api.list("/api/v1/nodes"))["items"]}
    pods: dict[str, list[Json]] = {}
    for each in (await api.list("/api/v1/pods"))["items"]:
        if each.get("status", {}).get("phase") not in _ENDED:
            pods.setdefault(each["spec"].get("nodeName", ""), []).append(each)
    profile = load_profile(config.profile).name
    for zone in config.zones:
        name = node_name(zone)
        seen.nodes.append(_node(name, nodes.get(name)))
        seen.zones.append(_zone(zone, profile, pods.get(name, []), holds.get(zone.name)))
    if stock:
        seen.nodes.append(_node(STOCK_NODE, nodes.get(STOCK_NODE)))
    if not argo:
        return
    for name in DEPLOYMENTS:
        try:
            found = await api.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{name}")
        except KubeError as error:
            seen.argo.append({"deployment": name, "available": False, "image": error.reason})
        else:
            image = found["spec"]["template"]["spec"]["containers"][0]["image"]
            seen.argo.append({"deployment": name, "available": is_available(found), "image": image})


def _component(name: str, directory: Path) -> Row:
    process = Process(name, directory)
    pid, started = process.pid(), process.started()
    since = None if started is None else _rfc3339(started)
    return {"component": name, "running": pid is not None, "pid": pid, "since": since, "log": str(process.log)}


def _node(name: str, node: Json | None) -> Row:
    if node is None:
        return {"node": name, "status": "not registered", "address": None, "version": None, "runtime": None}
    status = node["status"]
    ready: Json = next((each for each in status.get("conditions") or () if each["type"] == "Ready"), {})
    told = "Ready" if ready.get("status") == "True" else f"NotReady ({ready.get('reason', 'no condition')})"
    address = next((each["address"] for each in status.get("addresses") or () if each["type"] == "InternalIP"), None)
    return {
        "node": name,
        "status": told,
        "address": address,
        "version": status["nodeInfo"]["kubeletVersion"],
        "runtime": status["nodeInfo"]["containerRuntimeVersion"],
    }


def _zone(zone: ZoneConfig, profile: str, pods: list[Json], pool: StockStatus | None) -> Row:
    """Return what is asked for by the pods that run, against the stock that holds; host-network pods have no address.

    Without the cloud's word the configured stock is shown, and no word.
    """
    cpu = zone.stock.cpu if pool is None else cpu_text(pool.holds.cpu)
    memory = zone.stock.memory if pool is None else bytes_text(pool.holds.memory)
    return {
        "zone": zone.name,
        "profile": profile,
        "stock": None if pool is None else pool.word.value,
        "set by": None if pool is None else "operator" if pool.overridden else "configuration",
        "pods": len(pods),
        "cpu": f"{sum(_asked(each, 'cpu') for each in pods) / 1000:g}/{cpu}",
        "memory": f"{sum(_asked(each, 'memory') for each in pods) // 2**20}Mi/{memory}",
        "addresses": sum(1 for each in pods if each.get("status", {}).get("podIP")),
        "blocks": ", ".join(each.cidr for each in zone.v_switches),
    }


def _asked(pod: Json, resource: str) -> int:
    """Return the containers' requests together: milli-cores, or bytes."""
    read: Any = milli if resource == "cpu" else whole
    asked = (each.get("resources", {}).get("requests", {}).get(resource, "0") for each in pod["spec"]["containers"])
    return sum(read(each) for each in asked)


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
