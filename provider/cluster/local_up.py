"""`zonelet up --cluster local`: from a bare machine to stock Argo Workflows on virtual nodes.

Every step finds what an earlier call made, so a second `up` changes nothing and takes seconds. When a step fails, an
installation that was not there before is removed again whole; of one that was, the processes started now are ended.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provider.cloud.runtime.docker_engine.client import open_client
from provider.cloud.runtime.docker_engine.naming import cluster_network_name
from provider.cluster.argo import install_argo
from provider.cluster.blocks import choose_blocks_for, host_address, make_cluster_network
from provider.cluster.build import Binaries, build_all, cache_root
from provider.cluster.build_cache import exclusive
from provider.cluster.engine import ensure_engine, open_engine
from provider.cluster.images import ensure_images
from provider.cluster.installation import Record
from provider.cluster.local import SERVICE_CIDR
from provider.cluster.provider_config import LOCAL_DEFAULTS, config_text, given_config, write_config
from provider.cluster.provider_daemon import start_provider, wait_for_nodes
from provider.cluster.steps import SetupError
from provider.cluster.stock_node import StockNode
from provider.cluster.stock_up import up_stock
from provider.cluster.undo import undoing_up
from provider.config.load import load, node_name
from provider.kube.client import HttpKubeApi

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aiodocker import Docker

    from provider.cluster.installation import Installation
    from provider.cluster.steps import Steps
    from provider.config.schema import ProviderConfig

__all__ = ["Running", "up_local"]


@dataclass(frozen=True)
class Running:
    """What is up: the programs to go on with, and the names of the nodes."""

    binaries: Binaries
    nodes: tuple[str, ...]


async def up_local(
    installation: Installation,
    steps: Steps,
    *,
    config: Path | None = None,
    user_kubeconfig: Path | None = None,
    argo: bool = True,
    stock: bool = False,
) -> Running:
    """Bring everything up. `config`: the user's own; `user_kubeconfig`: the file that gets a context, None for none.

    Without `argo` the cluster stays empty (tests that need no workflow). `stock` adds a stock node, which is brought
    up again by every later call until `down`.

    ConfigError for a bad configuration, before anything is started; SetupError when a step fails.
    """
    chosen, given = given_config(config, installation.name)
    if chosen.runtime.kind != "docker":
        raise SetupError(
            f"the local cluster cannot run on the {chosen.runtime.kind} runtime",
            "Argo's own controller and server are pods of its nodes, and have to really run",
            "leave runtime.kind out, or start the provider alone: zonelet run --config FILE",
        )
    with exclusive(cache_root(), f"up-{installation.name}", steps.note):
        before = installation.record()
        if before is not None and before.cluster != "local":
            raise SetupError(
                f"the installation {installation.name} is there already, in the cluster of context {before.context}",
                "one installation is in one cluster",
                f"run: zonelet down --name {installation.name}, or: zonelet up --name OTHER",
            )
        await installation.require_unserved()
        async with undoing_up(installation, steps):
            up = await _bring_up(installation, steps, chosen, given)
            if argo:
                await _install_argo(installation, up, steps)
            if stock or StockNode(installation).exists():
                await up_stock(installation, steps)
            if user_kubeconfig is not None:
                with steps.step(f"set the kube context {installation.context.name} in {user_kubeconfig}"):
                    installation.context.add(installation.local.kubeconfig, user_kubeconfig)
    return up


async def _bring_up(
    installation: Installation, steps: Steps, chosen: ProviderConfig, given: dict[str, object]
) -> Running:
    cache, clock = cache_root(), installation.clock
    with steps.step("find a Docker engine, or install and start one") as report:
        await ensure_engine(cache / "engine", clock, report, chosen.runtime.docker.host)
    with steps.step("build Kubernetes, etcd and Argo, or take them from the cache") as report:
        binaries = build_all(cache, report)
    host = chosen.runtime.docker.host
    with steps.step("make the images, or find them in the engine") as report, closing(open_engine(host)) as engine:
        ensure_images(engine, binaries, cache, report)
    with steps.step("choose address blocks, make the cluster's network") as report:
        installation.write_record(Record("local", engine=host))
        async with open_client(host) as client:
            changed, address = await _choose_addresses(installation, client, chosen, given, report)
    config = load(installation.provider_config)
    await installation.local.start(binaries, steps, advertise=address)
    api = await HttpKubeApi.from_kubeconfig(str(installation.local.kubeconfig))
    try:
        names = tuple(node_name(zone) for zone in config.zones)
        with steps.step(f"start the provider, wait for {len(names)} nodes") as report:
            if changed:
                await installation.provider.stop(clock)
            start_provider(installation)
            await wait_for_nodes(installation, api, names, report)
    finally:
        await api.close()
    return Running(binaries, names)


async def _install_argo(installation: Installation, up: Running, steps: Steps) -> None:
    node = load(installation.provider_config).node
    taint = node.taint_key if node.taint != "none" else ""
    api = await HttpKubeApi.from_kubeconfig(str(installation.local.kubeconfig))
    try:
        with steps.step("install Argo Workflows, wait until it is available") as report:
            await install_argo(api, up.binaries, installation.clock, report, taint_key=taint)
    finally:
        await api.close()


async def _choose_addresses(
    installation: Installation,
    client: Docker,
    chosen: ProviderConfig,
    given: dict[str, object],
    report: Callable[[str], None],
) -> tuple[bool, str]:
    """Write the provider's configuration, make the network; return whether that changed, and the host's address."""
    joined = chosen.runtime.docker.network
    services = [(SERVICE_CIDR, "the local cluster's services")]
    blocks = await choose_blocks_for(client, installation, chosen, services, own=not joined)
    if not joined:
        await make_cluster_network(client, installation, blocks.cluster)
    network = joined or cluster_network_name(installation.name)
    told = [f"{zone} {cidr}" for zone, cidr in blocks.zones.items()]
    report(", ".join([*told, f"network {network} {blocks.cluster}".rstrip()]))
    text = config_text(installation, chosen, given, LOCAL_DEFAULTS, blocks.zones)
    return write_config(installation, text), await host_address(client, network)
