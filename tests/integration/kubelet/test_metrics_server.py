"""`kubectl top` through upstream's metrics-server, which scrapes our port with a ServiceAccount and upstream's role."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from provider.clock import SystemClock
from provider.cloud.runtime.docker_engine.cgroup_use import read_use
from provider.cloud.runtime.docker_engine.cgroups import host_hierarchies
from provider.cluster.build import cache_root
from provider.cluster.metrics_server import MetricsServer, build_metrics_server
from provider.model.capacity import Zone, ZoneStatus
from provider.model.ids import ZoneId
from provider.model.usage import ContainerUsage, InstanceUsage
from tests.integration.kubelet.test_docker_streams import DockerCloud, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

from contextlib import asynccontextmanager

pytestmark = [pytest.mark.integration, pytest.mark.slow]

CLOCK = SystemClock()
SPACE = ("--namespace", "kube-system")


@pytest.fixture(scope="module")
def built() -> MetricsServer:
    return build_metrics_server(cache_root(), print)


def usage_of(cloud: DockerCloud) -> Any:
    began = CLOCK.now()

    async def describe(zone: ZoneId | None = None) -> list[InstanceUsage]:
        found = read_use(host_hierarchies(), f"docker/{cloud.container}", CLOCK.now())
        assert found is not None
        container = ContainerUsage("main", began, found.use)
        return [InstanceUsage(cloud.uid, ZoneId("z"), found.use, 0, (container,))]

    return describe


async def zones() -> list[ZoneStatus]:
    return [ZoneStatus(zone=Zone(id=ZoneId("z"), cpu=2000, memory=1 << 30))]


@asynccontextmanager
async def serving(node: Any, built: MetricsServer, directory: Path) -> AsyncIterator[None]:
    """Register upstream's manifests, and run the program on this host behind an ExternalName service."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "metrics-server", "namespace": "kube-system"},
        "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"name": "https", "port": port}]},
    }
    (registration,) = yaml.safe_load_all((built.manifests / "apiservice.yaml").read_text())
    registration["spec"]["service"]["port"] = port
    documents = [*yaml.safe_load_all((built.manifests / "rbac.yaml").read_text()), service, registration]
    given = yaml.safe_dump_all(documents).encode()
    code, _, text = await node.kubectl(*SPACE, "apply", "-f", "-", stdin=given)
    assert code == 0, text
    kubeconfig = directory / "metrics-server.kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(await as_service_account(node)))
    authority = node.kubeconfig.parent / "pki" / "ca.crt"
    words = [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--cert-dir={directory}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--kubelet-certificate-authority={authority}",
        "--metric-resolution=10s",  # the least it takes
        "--kubelet-request-timeout=5s",
        "--kubelet-use-node-status-port",
        "--v=2",
    ]
    with (directory / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(str(built.program), *words, stdout=log, stderr=log)
        try:
            yield
        except (AssertionError, TimeoutError):
            print((directory / "log").read_text()[-5000:])  # noqa: T201 - why it failed
            raise
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            await node.kubectl(*SPACE, "delete", "--wait=false", "-f", "-", stdin=given)


async def as_service_account(node: Any) -> dict[str, Any]:
    """Return a kubeconfig with the token of upstream's ServiceAccount, and nothing else."""
    code, token, text = await node.kubectl(*SPACE, "create", "token", "metrics-server")
    assert code == 0, text
    config: dict[str, Any] = yaml.safe_load(node.kubeconfig.read_text())
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token.decode().strip()}}]
    return config


@pytest.mark.timeout(1800)
async def test_top(on_node: Any, built: MetricsServer, tmp_path: Path) -> None:
    async with running("while :; do :; done", HostConfig={"NetworkMode": "none", "NanoCpus": 500_000_000}) as cloud:
        cloud.describe_usage, cloud.describe_zones = usage_of(cloud), zones  # type: ignore[attr-defined]
        async with on_node("top", cloud=cloud) as node:
            size = {"cpu": "2", "memory": "1Gi", "pods": "10"}
            ready = [{"type": "Ready", "status": "True"}]  # of one that is not, no failure is told
            status = {"status": {"capacity": size, "allocatable": size, "conditions": ready}}
            await node.api.patch("/api/v1/nodes/top/status", status, "merge")
            async with serving(node, built, tmp_path), asyncio.timeout(300):
                cpu, memory = await top(node, "pod", "p", "--containers")
                assert 200 <= cpu <= 700
                assert 0 <= memory < 100
                cpu, _ = await top(node, "node", "top")
                assert 200 <= cpu <= 700
                raw = f"/apis/metrics.k8s.io/v1beta1/namespaces/{node.name}/pods/p"
                found = json.loads((await node.kubectl("get", "--raw", raw))[1])
                assert [one["name"] for one in found["containers"]] == ["main"]


async def top(node: Any, *words: str) -> tuple[int, int]:
    """Return milli-cores and MiB, once metrics-server has two samples."""
    deadline = CLOCK.now() + 100
    while True:
        code, out, text = await node.kubectl("top", *words, "--no-headers")
        if code == 0 and out:
            columns = out.decode().split()
            cpu = next(word for word in columns if word.endswith("m"))
            memory = next(word for word in columns if word.endswith("Mi"))
            return int(cpu[:-1]), int(memory[:-2])
        if CLOCK.now() > deadline:
            service = await node.kubectl("get", "apiservice", "v1beta1.metrics.k8s.io", "-o", "yaml")
            raise AssertionError(f"kubectl top {words}: {text}\n{service[1].decode()}")
        await CLOCK.sleep(1)
