"""deploy/kustomize/provider on a real node: the stock kubelet runs the provider's image as a Deployment, which serves a
zone of its own beside the lab's, with the account and the role of the base and nothing else.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from provider.clock import SystemClock
from provider.cloud.runtime.docker_engine.host_mounts import mounts_below
from provider.cluster.build import cache_root, local_sources
from provider.cluster.down import take_down
from provider.cluster.engine import open_engine
from provider.cluster.installation import Installation
from provider.cluster.manifests import Manifests, documents, is_available, wait_for
from provider.cluster.provider_daemon import is_ready
from provider.cluster.provider_image import PROVIDER_IMAGE, ensure_provider_image
from provider.cluster.steps import Steps
from provider.cluster.stock_layout import STOCK_NODE, STOCK_TAINT
from provider.cluster.stock_up import give_images
from tests.support.argo import Terminal
from tests.support.engine import objects_on_engine
from tests.support.installation import installed
from tests.support.leftovers import STATES
from tests.support.names import own_name
from tests.support.pods import CLOCK, PODS, is_running, pod_gone, pod_that, shell_pod

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provider.kube.client import Json
    from tests.support.installation import Lab

LAB = own_name("network-lab")
NODE = "virtual-kubelet-deployed-a"
CONFIG = {"zones": [{"name": "lab-a", "vSwitches": [{"cidr": "10.218.16.0/22"}]}], "node": {"taint": "none"}}
TAINT = "virtual-kubelet.io/provider"
THERE = {
    "nodeSelector": {"kubernetes.io/hostname": NODE},
    "tolerations": [{"key": TAINT, "operator": "Exists", "effect": "NoSchedule"}],
}
_SECONDS = 150.0


@dataclass(frozen=True)
class Deployed:
    """The Deployment's objects, and the installation that it serves."""

    name: str
    state: Path
    objects: list[Json]

    @property
    def path(self) -> str:
        return f"/apis/apps/v1/namespaces/zonelet-system/deployments/zonelet-provider-{self.name}"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A cluster with a stock node, which is given the provider's image."""
    with closing(open_engine()) as engine:
        ensure_provider_image(engine, cache_root(), lambda _: None)
    with installed(LAB, argo=False, stock=True, config=CONFIG) as made:
        give_images(made.installation, [PROVIDER_IMAGE], lambda _: None)
        yield made


@pytest.fixture(scope="module")
def terminal(lab: Lab) -> Terminal:
    return Terminal(lab)


@pytest.fixture(scope="module")
def deployed(lab: Lab, terminal: Terminal) -> Iterator[Deployed]:
    """Applied, as kustomize renders it; afterwards nothing of it is left on engine and host."""
    name = own_name("network")
    shared = Path(tempfile.mkdtemp(prefix=f"zl-{name}-", dir=STATES))
    made = Deployed(name, shared / "state", asyncio.run(_rendered(terminal, name, shared)))
    for arguments in (("--bind", str(shared), str(shared)), ("--make-shared", str(shared))):
        subprocess.run(["mount", *arguments], check=True)
    try:
        try:
            asyncio.run(_apply(lab, made))
            yield made
        finally:
            asyncio.run(_remove(lab, made))
            asyncio.run(take_down(Installation(name, made.state, SystemClock()), Steps()))
        assert objects_on_engine(name) == ([], [])
        assert mounts_below(made.state) == []
    finally:
        subprocess.run(["umount", "-l", str(shared)], check=True)
        shutil.rmtree(shared)


async def _rendered(terminal: Terminal, name: str, shared: Path) -> list[Json]:
    """Return the objects with this test's name, paths and zone: two providers share this machine."""
    text = (await terminal.kubectl("kustomize", str(local_sources().parent / "kustomize" / "provider"))).text
    text = text.replace("zonelet-provider", f"zonelet-provider-{name}")
    text = text.replace("/var/lib/zonelet/zonelet", f"{shared}/state").replace("/var/lib/zonelet", str(shared))
    objects = documents(text)
    for each in objects:
        if each["kind"] == "ConfigMap":
            config = yaml.safe_load(each["data"]["provider.yaml"])
            zones = [{"name": "deployed-a", "vSwitches": [{"cidr": "10.218.20.0/22"}]}]
            config |= {"name": name, "stateDir": f"{shared}/state", "zones": zones}
            each["data"]["provider.yaml"] = yaml.safe_dump(config)
        if each["kind"] == "Deployment":
            tolerated = {"key": STOCK_TAINT, "operator": "Exists", "effect": "NoSchedule"}
            each["spec"]["template"]["spec"]["tolerations"].append(tolerated)
    return objects


async def _apply(lab: Lab, deployed: Deployed) -> None:
    async with lab.api() as api:
        await api.patch(
            f"/api/v1/nodes/{STOCK_NODE}", {"metadata": {"labels": {"zonelet.dev/engine": "docker"}}}, "merge"
        )
        await Manifests(api).apply(deployed.objects)
        try:
            await wait_for(api, deployed.path, is_available, clock=CLOCK, seconds=_SECONDS)
            await wait_for(api, f"/api/v1/nodes/{NODE}", is_ready, clock=CLOCK, seconds=60)
        except TimeoutError:
            raise AssertionError(await _said(lab, deployed)) from None


async def _said(lab: Lab, deployed: Deployed) -> str:
    """What the Deployment's pod and its events say, for a test that fails."""
    terminal, where = Terminal(lab), ("--namespace", "zonelet-system")
    told = [
        (await terminal.kubectl(*where, *arguments, code=None)).out.decode()
        for arguments in (("describe", "pods"), ("logs", f"deployment/zonelet-provider-{deployed.name}", "--tail=60"))
    ]
    return "\n".join(told)


async def _remove(lab: Lab, deployed: Deployed) -> None:
    async with lab.api() as api:
        await Manifests(api).remove([each for each in deployed.objects if each["kind"] == "Deployment"])
        deadline = CLOCK.now() + 60
        while (await api.list("/api/v1/namespaces/zonelet-system/pods"))["items"]:
            assert CLOCK.now() < deadline, await _said(lab, deployed)
            await CLOCK.sleep(0.3)
        await Manifests(api).remove([each for each in deployed.objects if each["kind"] != "Deployment"])


async def test_the_stock_kubelet_runs_it_and_finds_it_ready(lab: Lab, deployed: Deployed) -> None:
    async with lab.api() as api:
        (pod,) = (await api.list("/api/v1/namespaces/zonelet-system/pods"))["items"]
        assert pod["spec"]["nodeName"] == STOCK_NODE
        (status,) = pod["status"]["containerStatuses"]
        assert (status["ready"], status["restartCount"]) == (True, 0)
        assert status["image"].endswith(PROVIDER_IMAGE)
    containers, networks = objects_on_engine(deployed.name)
    assert (len(containers), len(networks)) == (1, 2)  # the zone's router; its vSwitch, the cluster's network


async def test_a_pod_of_its_zone_has_volumes_logs_and_exec(lab: Lab, terminal: Terminal, deployed: Deployed) -> None:
    """A volume in memory is a mount that the provider made: the host's engine has to see it."""
    container = {"volumeMounts": [{"name": "memory", "mountPath": "/mem"}], "imagePullPolicy": "IfNotPresent"}
    volumes = [{"name": "memory", "emptyDir": {"medium": "Memory"}}]
    async with lab.api() as api:
        await api.create(
            PODS, shell_pod("on-it", "echo hello; exec sleep 600", container=container, volumes=volumes, **THERE)
        )
        await pod_that(api, "on-it", is_running)

        async def logs() -> str:
            return (await terminal.kubectl("logs", "on-it", code=None)).out.decode()

        async with asyncio.timeout(60):  # its port opens when its certificate is approved
            while await logs() != "hello\n":
                await CLOCK.sleep(0.3)
        said = (await terminal.kubectl("exec", "on-it", "--", "grep", " /mem ", "/proc/mounts")).text
        assert said.startswith("tmpfs /mem tmpfs ")
        await api.delete(f"{PODS}/on-it")
        await pod_gone(api, "on-it")


async def test_a_provider_that_is_made_anew_takes_over_what_runs(lab: Lab, deployed: Deployed) -> None:
    async with lab.api() as api:
        await api.create(
            PODS, shell_pod("stays", "exec sleep 600", container={"imagePullPolicy": "IfNotPresent"}, **THERE)
        )
        before = await pod_that(api, "stays", is_running)
        containers = objects_on_engine(deployed.name)[0]
        (old,) = (await api.list("/api/v1/namespaces/zonelet-system/pods"))["items"]
        await api.delete(f"/api/v1/namespaces/zonelet-system/pods/{old['metadata']['name']}")

        async with asyncio.timeout(_SECONDS):
            while True:
                found = (await api.list("/api/v1/namespaces/zonelet-system/pods"))["items"]
                fresh = [each for each in found if each["metadata"]["uid"] != old["metadata"]["uid"]]
                if len(found) == 1 and fresh and (fresh[0]["status"].get("containerStatuses") or [{}])[0].get("ready"):
                    break
                await CLOCK.sleep(0.3)
        assert objects_on_engine(deployed.name)[0] == containers
        await api.delete(f"{PODS}/stays")  # which only a provider that knows it can bring to its end
        await pod_gone(api, "stays")
        assert before["spec"]["nodeName"] == NODE
