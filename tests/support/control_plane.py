"""A real control plane for tests of pods: the cluster, clients of it, and a node's own credential."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from provider.clock import SystemClock
from provider.cluster.build import build_all, cache_root
from provider.cluster.local import LocalCluster
from provider.cluster.pki import Pki, write_kubeconfig
from provider.cluster.steps import Steps
from provider.kube.client import HttpKubeApi, KubeError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator
    from pathlib import Path

CLOCK = SystemClock()


@contextlib.contextmanager
def control_plane(name: str, state: Path) -> Iterator[LocalCluster]:
    """Start a control plane of the test's own, and take it down."""
    cluster = LocalCluster(name, state, CLOCK)
    binaries = build_all(cache_root(), print)
    try:
        finish(cluster.start(binaries, Steps()))
        yield cluster
    finally:
        finish(cluster.stop())


def finish(work: Coroutine[Any, Any, object]) -> None:
    """Run `work` to its end on a loop of its own, in a thread: a fixture may be made while a test's loop runs."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


def node_kubeconfig(cluster: LocalCluster, node: str) -> Path:
    """Write the kubeconfig of `system:node:<node>`, whose certificate the cluster's CA has signed."""
    pki = Pki(cluster.state / "pki", CLOCK)
    ca = pki.authority("ca")
    pair = pki.client(ca, f"node-{node}", f"system:node:{node}", ["system:nodes"])
    path = cluster.state / f"node-{node}.kubeconfig"
    server = next(line.split()[-1] for line in cluster.kubeconfig.read_text().splitlines() if "server:" in line)
    write_kubeconfig(path, server, ca, pair, cluster.name)
    return path


@contextlib.asynccontextmanager
async def client(kubeconfig: Path) -> AsyncIterator[HttpKubeApi]:
    """Open a client and close it."""
    api = await HttpKubeApi.from_kubeconfig(str(kubeconfig))
    try:
        yield api
    finally:
        await api.close()


async def add_node(admin: HttpKubeApi, name: str) -> None:
    """Make a Node by hand; nobody looks after it."""
    await admin.create("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})


async def add_namespace(admin: HttpKubeApi, name: str) -> None:
    """Make a namespace with its default account and the CA's ConfigMap, without waiting for the controllers."""
    made: list[tuple[str, str, str, dict[str, Any]]] = [
        ("/api/v1/namespaces", "Namespace", name, {}),
        (f"/api/v1/namespaces/{name}/serviceaccounts", "ServiceAccount", "default", {}),
        (f"/api/v1/namespaces/{name}/configmaps", "ConfigMap", "kube-root-ca.crt", {"data": {"ca.crt": "x"}}),
    ]
    for path, kind, item, fields in made:
        body = {"apiVersion": "v1", "kind": kind, "metadata": {"name": item}, **fields}
        with contextlib.suppress(KubeError):  # the controllers may have been quicker
            await admin.create(path, body)


async def until(condition: Any, seconds: float = 30) -> Any:
    """Wait until an async condition gives something true, and return that."""
    async with asyncio.timeout(seconds):
        while not (found := await condition()):
            await CLOCK.sleep(0.05)
        return found
