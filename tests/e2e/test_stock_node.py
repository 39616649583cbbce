"""`zonelet up --with-stock-node`: an upstream kubelet beside the virtual nodes, and nothing of it after `down`."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from provider.cluster.local_up import up_local
from provider.cluster.overview import look_at
from provider.cluster.steps import Steps
from provider.cluster.stock_layout import KUBELET, STOCK_NODE, STOCK_TAINT, StockLayout
from provider.cluster.stock_node import StockNode
from tests.support.argo import Terminal
from tests.support.host_state import host_state
from tests.support.installation import Lab, installed
from tests.support.names import own_name
from tests.support.pods import PODS, is_running, pod_gone, pod_that, shell_pod

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from provider.kube.client import HttpKubeApi, Json

NAME = own_name("stock")
CONFIG = {
    "zones": [{"name": "zone-a", "vSwitches": [{"cidr": "10.219.4.0/22"}]}],
    "node": {"taint": "none"},
}
THERE = {
    "nodeSelector": {STOCK_TAINT: ""},
    "tolerations": [{"key": STOCK_TAINT, "operator": "Exists", "effect": "NoSchedule"}],
}
SERVE = "while true; do echo served by $(hostname) | nc -l -p 8080; done"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A cluster with one virtual and one stock node, without Argo; afterwards the machine is as it was."""
    before = host_state(StockLayout(NAME, Path("/nothing/there")))
    with installed(NAME, argo=False, stock=True, config=CONFIG) as made:
        layout = StockNode(made.installation).layout
        yield made
    assert host_state(layout) == before


@pytest.fixture
async def api(lab: Lab) -> AsyncIterator[HttpKubeApi]:
    async with lab.api() as client:
        yield client


@pytest.fixture
def terminal(lab: Lab) -> Terminal:
    return Terminal(lab)


def address(pod: Json) -> str:
    return str(pod["status"]["podIP"])


def test_down_removes_pods_even_of_a_kubelet_that_was_killed() -> None:
    name = own_name("stock-killed")
    config = {**CONFIG, "zones": [{"name": "zone-a", "vSwitches": [{"cidr": "10.219.8.0/22"}]}]}
    before = host_state(StockLayout(name, Path("/nothing/there")))
    with installed(name, argo=False, stock=True, config=config) as made:
        node = StockNode(made.installation)
        asyncio.run(_run_one_with_a_volume_and_a_port(made))
        assert any("--dport 18080" in rule for rule in host_state(node.layout)["rules"])
        pid = node.process(KUBELET).pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert host_state(node.layout)["mounts"]
    assert host_state(node.layout) == before


async def _run_one_with_a_volume_and_a_port(lab: Lab) -> None:
    volumes = [{"name": "memory", "emptyDir": {"medium": "Memory"}}]
    container = {
        "ports": [{"containerPort": 8080, "hostPort": 18080}],
        "volumeMounts": [{"name": "memory", "mountPath": "/memory"}],
    }
    async with lab.api() as api:
        await api.create(PODS, shell_pod("stays", SERVE, container=container, volumes=volumes, **THERE))
        await pod_that(api, "stays", is_running)


async def test_the_node_joins_as_any_kubelet_does(lab: Lab, api: HttpKubeApi) -> None:
    node = await api.get(f"/api/v1/nodes/{STOCK_NODE}")
    assert [each["key"] for each in node["spec"]["taints"]] == [STOCK_TAINT]
    assert node["status"]["nodeInfo"]["kubeletVersion"] == "v1.37.2"
    assert node["status"]["nodeInfo"]["containerRuntimeVersion"].startswith("containerd://")
    requests = (await api.list("/apis/certificates.k8s.io/v1/certificatesigningrequests"))["items"]
    signers = {
        each["spec"]["signerName"].rpartition("/")[2]: each["spec"]["username"]
        for each in requests
        if each["spec"]["username"] in {"zonelet-stock-bootstrap", f"system:node:{STOCK_NODE}"}
    }
    assert signers == {
        "kube-apiserver-client-kubelet": "zonelet-stock-bootstrap",
        "kubelet-serving": f"system:node:{STOCK_NODE}",
    }
    seen = await look_at(lab.installation)
    assert {row["component"] for row in seen.components if row["running"]} >= {"stock-containerd", "stock-kubelet"}
    assert [row["status"] for row in seen.nodes if row["node"] == STOCK_NODE] == ["Ready"]


async def test_a_pod_runs_there_and_logs_and_exec_work(api: HttpKubeApi, terminal: Terminal) -> None:
    await api.create(PODS, shell_pod("there", "echo hello from $(hostname); sleep 600", **THERE))
    pod = await pod_that(api, "there", is_running)
    assert pod["spec"]["nodeName"] == STOCK_NODE
    assert (await terminal.kubectl("logs", "there")).text == "hello from there"
    assert (await terminal.kubectl("exec", "there", "--", "cat", "/etc/hostname")).text == "there"
    ask = r"printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 5 10.96.0.1 443"
    answer = (await terminal.kubectl("exec", "there", "--", "sh", "-c", ask)).text
    assert "400 Bad Request" in answer  # an API server that is asked without TLS
    await api.delete(f"{PODS}/there")
    await pod_gone(api, "there")


async def test_nothing_lands_there_that_does_not_ask(api: HttpKubeApi) -> None:
    await api.create(PODS, shell_pod("elsewhere", "true", nodeSelector={STOCK_TAINT: ""}))
    pod = await pod_that(api, "elsewhere", lambda pod: pod["status"].get("conditions"))
    (told,) = [each for each in pod["status"]["conditions"] if each["type"] == "PodScheduled"]
    assert (told["status"], told["reason"]) == ("False", "Unschedulable")
    assert "untolerated taint" in told["message"]
    await api.delete(f"{PODS}/elsewhere")


async def test_pods_of_zones_and_of_the_stock_node_reach_each_other(api: HttpKubeApi, terminal: Terminal) -> None:
    await api.create(PODS, shell_pod("on-stock", SERVE, **THERE))
    await api.create(PODS, shell_pod("in-zone", SERVE))
    stock, zone = [await pod_that(api, name, is_running) for name in ("on-stock", "in-zone")]
    assert zone["spec"]["nodeName"] != STOCK_NODE
    asked = await terminal.kubectl("exec", "on-stock", "--", "nc", "-w", "5", address(zone), "8080")
    assert asked.text == "served by in-zone"
    asked = await terminal.kubectl("exec", "in-zone", "--", "nc", "-w", "5", address(stock), "8080")
    assert asked.text == "served by on-stock"
    for name in ("on-stock", "in-zone"):
        await api.delete(f"{PODS}/{name}")
        await pod_gone(api, name)


async def test_a_second_up_changes_nothing(lab: Lab) -> None:
    before = StockNode(lab.installation).status()
    await up_local(lab.installation, Steps(), config=lab.installation.state.parent / "config.yaml", argo=False)
    assert StockNode(lab.installation).status() == before
