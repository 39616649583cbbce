"""The steps of `zonelet up --with-stock-node`, and those of `zonelet down` that take the node away again."""

from __future__ import annotations

import shutil
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from provider.cloud.runtime.docker_engine.client import open_client
from provider.cloud.runtime.docker_engine.naming import cluster_network_name
from provider.cluster.blocks import host_address
from provider.cluster.build import cache_root
from provider.cluster.engine import open_engine
from provider.cluster.processes import wait_until
from provider.cluster.steps import SetupError
from provider.cluster.stock_images import default_images, import_images
from provider.cluster.stock_layout import STOCK_NODE
from provider.cluster.stock_network import remove_bridge, remove_port_chains, remove_rules
from provider.cluster.stock_node import StockNode, restore_sysctls
from provider.cluster.stock_programs import built_plugins, find_stock_programs
from provider.cluster.stock_removal import kill_containers, release_addresses, remove_links, shims, unmount_all
from provider.config.load import load, node_name
from provider.kube.client import HttpKubeApi, KubeError
from provider.kube.connection import KubeConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from provider.cluster.installation import Installation
    from provider.cluster.steps import Steps
    from provider.config.schema import ProviderConfig
    from provider.kube.client import Json, KubeApi

__all__ = ["give_images", "remove_stock", "up_stock"]

_DRAIN_SECONDS = 20.0


async def up_stock(installation: Installation, steps: Steps) -> None:
    """Make the stock node or bring it up again; the cluster and its virtual nodes have to be up. SetupError."""
    node, config = StockNode(installation), load(installation.provider_config)
    require_own_name(config)
    with steps.step("build kubelet and CNI plugins, or take them from the cache") as report:
        programs = find_stock_programs(cache_root(), report)
    with steps.step("choose the stock node's addresses, lead them to the API server") as report:
        report(await _prepare(node, config))
    with steps.step("start the stock node's containerd, give it the images") as report:
        await node.start_containerd(programs)
        give_images(installation, default_images(), report)
    api = await HttpKubeApi.from_kubeconfig(str(installation.local.kubeconfig))
    try:
        with steps.step(f"start kubelet, wait for the node {STOCK_NODE}"):
            await node.start_kubelet(programs, api)
            nodes = await api.list("/api/v1/nodes")
            node.connect_zones(nodes["items"], _blocks_by_node(config))
    finally:
        await api.close()


def require_own_name(config: ProviderConfig) -> None:
    """Raise SetupError when a zone's node has the stock node's name."""
    zones = [zone.name for zone in config.zones if node_name(zone) == STOCK_NODE]
    if zones:
        raise SetupError(
            f"the node of the zone {zones[0]} is called {STOCK_NODE}",
            "that is the name of the stock node",
            "give the zone another nodeName in the configuration, or leave --with-stock-node out",
        )


def give_images(installation: Installation, names: Iterable[str], report: Callable[[str], None]) -> None:
    """Give the stock node more of the engine's images; what it has is left alone. SetupError."""
    programs = find_stock_programs(cache_root(), report)
    with closing(open_engine(load(installation.provider_config).runtime.docker.host)) as engine:
        import_images(engine, programs.ctr, StockNode(installation).layout, names, report)


async def remove_stock(installation: Installation) -> None:
    """Remove the node with all that it runs; half of it may be gone. SetupError when something does not go."""
    node = StockNode(installation)
    layout, clock, record = node.layout, installation.clock, node.record()
    await _drain(installation)
    await wait_until(clock, lambda: not shims(layout) or None in node.status().values(), _DRAIN_SECONDS)
    await node.stop_processes()
    for name, pid in node.status().items():
        if pid is not None:
            raise SetupError(f"{name} does not end", f"process {pid} outlives SIGKILL", "see why by ps, run down again")
    await kill_containers(layout, clock)
    try:
        unmount_all(layout)
        release_addresses(layout, built_plugins(cache_root()))
        remove_port_chains()
        remove_bridge(layout.bridge)
        if record is not None:
            remove_rules(record.rules)
            restore_sysctls(record.sysctls)
        shutil.rmtree(layout.root)
        remove_links()
    except OSError as error:
        raise SetupError("a part of the stock node stays", str(error), "see what uses it, run down again") from error


async def _prepare(node: StockNode, config: ProviderConfig) -> str:
    """Prepare the node; return what to tell about it."""
    name = node.installation.name
    zones = [switch.cidr for zone in config.zones for switch in zone.v_switches]
    async with open_client(config.runtime.docker.host) as client:
        address = await host_address(client, config.runtime.docker.network or cluster_network_name(name))
        port = urlsplit(node.server()).port
        record = await node.prepare(client, address, zones, f"{address}:{port}")
    return f"pods {record.pod_cidr}, kubelet {record.address}:{record.port}"


async def _drain(installation: Installation) -> None:
    """Delete the node's pods, so that kubelet takes them down; without an API server they go by force later."""
    try:
        api = await HttpKubeApi.from_kubeconfig(str(installation.local.kubeconfig))
    except KubeConfigError:
        return
    try:
        await api.patch(f"/api/v1/nodes/{STOCK_NODE}", {"spec": {"unschedulable": True}}, "merge")
        for pod in await _pods(api):
            meta = pod["metadata"]
            await api.delete(f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}", grace_seconds=0)
    except KubeError:
        return
    finally:
        await api.close()


async def _pods(api: KubeApi) -> list[Json]:
    listed = await api.list("/api/v1/pods", {"fieldSelector": f"spec.nodeName={STOCK_NODE}"})
    pods: list[Json] = listed["items"]
    return pods


def _blocks_by_node(config: ProviderConfig) -> dict[str, list[str]]:
    return {node_name(zone): [switch.cidr for switch in zone.v_switches] for zone in config.zones}
