"""`zonelet up --cluster current` against kind's topology, with the provider as a process and as a container.

The container is run by the very commands of docs/guides/join-a-cluster.md.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from provider.clock import SystemClock
from provider.cloud.runtime.docker_engine.cgroups import host_hierarchies
from provider.cloud.runtime.docker_engine.host_mounts import mounts_below
from provider.cluster.build import cache_root, local_sources
from provider.cluster.engine import open_engine
from provider.cluster.images import ensure_own_images
from provider.cluster.installation import Installation
from provider.cluster.manifests import wait_for
from provider.cluster.processes import wait_until
from provider.cluster.provider_daemon import is_ready
from provider.cluster.provider_image import ensure_provider_image
from provider.exclusive import is_held
from tests.support.control_plane import client, finish, until
from tests.support.engine import objects_on_engine
from tests.support.kind_cluster import KindCluster, kind_cluster
from tests.support.leftovers import STATES
from tests.support.names import own_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provider.kube.client import HttpKubeApi, Json

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(420)]

CLOCK = SystemClock()
GUIDE = local_sources().parent.parent / "docs" / "guides" / "join-a-cluster.md"
NAMESPACE = "work"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
NODES = ("virtual-kubelet-join-a", "virtual-kubelet-join-b")
KINDS = (
    "nodes,namespaces,clusterroles,clusterrolebindings,roles,rolebindings,serviceaccounts,"
    "mutatingadmissionpolicies,mutatingadmissionpolicybindings"
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KindCluster]:
    with kind_cluster(own_name("network"), tmp_path_factory.mktemp("kind")) as made:
        made.kubectl("create", "namespace", NAMESPACE)
        made.kubectl("label", "namespace", NAMESPACE, "zonelet.dev/virtual-nodes=enabled")
        finish(_has_account(made))
        yield made


async def _has_account(cluster: KindCluster) -> None:
    async with client(cluster.kubeconfig) as api:
        await wait_for(api, f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default", bool, clock=CLOCK, seconds=60)


@dataclass(frozen=True)
class Joined:
    """An installation in that cluster, run in one of the two ways."""

    cluster: KindCluster
    installation: Installation
    config: Path

    def up(self) -> None:
        raise NotImplementedError

    def down(self) -> None:
        raise NotImplementedError


class AsProcess(Joined):
    """The command on this host."""

    def up(self) -> None:
        self._zonelet("up", "--cluster", "current", "--config", str(self.config))

    def down(self) -> None:
        self._zonelet("down")

    def _zonelet(self, *arguments: str) -> None:
        environment = {
            "KUBECONFIG": str(self.cluster.kubeconfig),
            "ZONELET_STATE_DIR": str(self.installation.state),
        }
        command = [sys.executable, "-m", "provider.cli.main", *arguments, "--name", self.installation.name]
        _succeeds(command, {**os.environ, **environment})


class AsContainer(Joined):
    """The commands of the guide, with this test's names and paths in them."""

    def up(self) -> None:
        with closing(open_engine()) as engine:
            ensure_own_images(engine, cache_root(), print)
            ensure_provider_image(engine, cache_root(), print)
        options, run = self._guide("options=(").split("\ndocker run ")
        run = run.splitlines()[0]
        assert run.endswith("--foreground")
        _succeeds(["bash", "-ec", f"{options}\ndocker run {run} --config {self.config} {self._named}"])

    def down(self) -> None:
        options = self._guide("options=(").split("\ndocker run ")[0]
        stop, down = self._guide("docker stop zonelet").splitlines()
        _succeeds(["bash", "-ec", f"{options}\n{stop}\n{down} {self._named}"])

    @property
    def _named(self) -> str:
        return f"--name {self.installation.name}"

    def _guide(self, begins: str) -> str:
        """Return the block of the guide that begins so, as it has to be typed here."""
        text = next(
            block
            for block in re.findall(r"```sh\n(.*?)\n```", GUIDE.read_text(), re.DOTALL)
            if block.startswith(begins)
        )
        state = self.installation.state
        for given, ours in (
            ("~/.kube/config", str(self.cluster.kubeconfig)),
            ("-v /var/lib/zonelet:/var/lib/zonelet:rshared", f"-v {state.parent}:{state.parent}:rshared -e ZONELET_STATE_DIR={state}"),
            ("--name zonelet", f"--name {self.installation.name}-provider"),
            ("docker stop zonelet && docker rm zonelet", f"docker stop {self.installation.name}-provider && docker rm {self.installation.name}-provider"),
        ):  # fmt: skip
            text = text.replace(given, ours)
        return text


def _succeeds(command: list[str], environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="module", params=[AsProcess, AsContainer], ids=["process", "container"])
def joined(request: pytest.FixtureRequest, cluster: KindCluster) -> Iterator[Joined]:
    """Joined, its serving certificates approved; what `down` leaves is looked at in the end."""
    name = own_name("network")
    shared = Path(tempfile.mkdtemp(prefix=f"zl-{name}-", dir=STATES))
    config = shared / "config.yaml"
    zones = [
        {"name": f"join-{key}", "vSwitches": [{"cidr": f"10.218.{4 * index}.0/22"}]} for index, key in enumerate("ab")
    ]
    config.write_text(yaml.safe_dump({"zones": zones, "runtime": {"docker": {"network": cluster.name}}}))
    # A container's mounts reach the host where the directory is a shared mount, as everything is under systemd.
    _succeeds(["mount", "--bind", str(shared), str(shared)])
    _succeeds(["mount", "--make-shared", str(shared)])
    before = _objects(cluster)
    made: Joined = request.param(cluster, Installation(name, shared / "state", CLOCK), config)
    try:
        try:
            made.up()
            finish(_ready(cluster))
            _approve(cluster)
            yield made
        finally:
            sys.stdout.write(_logs(made))  # pytest shows it beside what failed
            made.down()
        _nothing_is_left(made, before)
    finally:
        _succeeds(["umount", "-l", str(shared)])
        shutil.rmtree(shared)


async def _ready(cluster: KindCluster) -> None:
    async with client(cluster.kubeconfig) as api:
        for name in NODES:
            await wait_for(api, f"/api/v1/nodes/{name}", is_ready, clock=CLOCK, seconds=90)


def _approve(cluster: KindCluster) -> None:
    """Do as the guide says, once each node has asked."""
    selector = "spec.signerName=kubernetes.io/kubelet-serving"

    def waiting() -> list[str]:
        listed = json.loads(cluster.kubectl("get", "csr", "--field-selector", selector, "-o", "json"))["items"]
        return [each["metadata"]["name"] for each in listed if not each["status"].get("conditions")]

    finish(wait_until(CLOCK, lambda: len(waiting()) == len(NODES), 60))
    names = waiting()
    assert len(names) == len(NODES)
    cluster.kubectl("certificate", "approve", *names)


def _objects(cluster: KindCluster) -> set[str]:
    found = json.loads(cluster.kubectl("get", KINDS, "-A", "-o", "json"))["items"]
    return {
        f"{each['kind']} {each['metadata'].get('namespace', '')}/{each['metadata']['name']}"
        for each in found
        if each["kind"] != "ServiceAccount"
        or each["metadata"]["name"].startswith("zonelet")  # others come by themselves
    }


def _logs(joined: Joined) -> str:
    """The provider's last words, for a test that fails."""
    log = joined.installation.provider.log
    if log.exists():
        return log.read_text()[-6000:]
    done = subprocess.run(
        ["docker", "logs", "--tail", "60", f"{joined.installation.name}-provider"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def _nothing_is_left(joined: Joined, before: set[str]) -> None:
    name, cluster = joined.installation.name, joined.cluster
    finish(wait_until(CLOCK, lambda: _objects(cluster) == before, 60))  # a namespace takes a moment to end
    assert _objects(cluster) == before
    assert objects_on_engine(name) == ([], [])
    assert not is_held(name)
    assert not joined.installation.state.exists()
    assert mounts_below(joined.installation.state) == []
    assert [path for root in host_hierarchies().all() for path in root.glob(f"zonelet?{name}*")] == []
    with closing(open_engine()) as engine:
        assert engine.containers.list(all=True, filters={"name": f"{name}-provider"}) == []
        members = engine.networks.get(cluster.name).attrs["Containers"].values()
        assert [each["Name"] for each in members] == [cluster.name]  # and it still serves: it has just answered


def _pod(name: str, script: str, image: str = "busybox:1.36", **spec: Any) -> Json:
    main = {"name": "main", "image": image, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script]}
    main["volumeMounts"] = spec.pop("mounts", [])
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [main], **spec},
    }


async def _until_phase(api: HttpKubeApi, name: str, *phases: str) -> Json:
    try:
        return await wait_for(
            api, f"{PODS}/{name}", lambda pod: pod.get("status", {}).get("phase") in phases, clock=CLOCK, seconds=60
        )
    except TimeoutError:
        raise AssertionError((await api.get(f"{PODS}/{name}"))["status"]) from None


async def _gone(api: HttpKubeApi, name: str) -> None:
    await api.delete(f"{PODS}/{name}")

    async def absent() -> bool:
        listed = await api.list(PODS)
        return name not in {each["metadata"]["name"] for each in listed["items"]}

    await until(absent, 60)


def test_the_deployment_is_rendered_and_accepted_by_the_api_server(cluster: KindCluster) -> None:
    provider = str(local_sources().parent / "kustomize" / "provider")
    rendered = [each for each in yaml.safe_load_all(cluster.kubectl("kustomize", provider)) if each]
    assert [each["kind"] for each in rendered].count("Deployment") == 1
    # A dry run makes no namespace for what comes after it.
    cluster.kubectl("create", "namespace", "zonelet-system")
    try:
        said = cluster.kubectl("apply", "--dry-run=server", "--validate=strict", "-k", provider)
        assert len(said.splitlines()) == len(rendered)
        assert "deployment.apps/zonelet-provider created (server dry run)" in said
    finally:
        cluster.kubectl("delete", "namespace", "zonelet-system")


async def test_nodes_are_on_the_clusters_network_at_addresses_of_their_own(joined: Joined) -> None:
    async with client(joined.cluster.kubeconfig) as api:
        found = set()
        for name in NODES:
            node = await api.get(f"/api/v1/nodes/{name}")
            found |= {each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP"}
            assert [each["key"] for each in node["spec"]["taints"]] == ["virtual-kubelet.io/provider"]
    assert len(found) == len(NODES)
    assert all(ipaddress.ip_address(each) in ipaddress.ip_network(joined.cluster.subnet) for each in found)
    assert joined.cluster.address not in found


async def test_a_pod_of_a_labelled_namespace_runs_and_kubectl_reaches_into_it(joined: Joined) -> None:
    cluster = joined.cluster
    mounts = [{"name": "memory", "mountPath": "/mem"}, {"name": "map", "mountPath": "/etc/one", "subPath": "one"}]
    volumes = [{"name": "memory", "emptyDir": {"medium": "Memory"}}, {"name": "map", "configMap": {"name": "map"}}]
    async with client(cluster.kubeconfig) as api:
        await api.create(
            f"/api/v1/namespaces/{NAMESPACE}/configmaps",
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "map"}, "data": {"one": "from the map\n"}},
        )
        try:
            await api.create(PODS, _pod("box", "echo hello; exec sleep 600", mounts=mounts, volumes=volumes))
            pod = await _until_phase(api, "box", "Running")
            assert pod["spec"]["nodeName"] in NODES

            async def said() -> bool:  # the port opens a moment after the approval
                done = await asyncio.to_thread(cluster.run_kubectl, "logs", "-n", NAMESPACE, "box")
                return (done.returncode, done.stdout) == (0, "hello\n")

            await until(said, 30)
            inside = cluster.kubectl(
                "exec", "-n", NAMESPACE, "box", "--", "sh", "-c", "cat /etc/one; grep ' /mem ' /proc/mounts"
            )
            assert inside.startswith("from the map\ntmpfs /mem tmpfs ")
            await _gone(api, "box")
        finally:
            await api.delete(f"/api/v1/namespaces/{NAMESPACE}/configmaps/map")


async def test_a_pod_reaches_the_api_server_at_its_service_address(joined: Joined) -> None:
    ask = (
        "curl -sS --max-time 20 --cacert /var/run/secrets/kubernetes.io/serviceaccount/ca.crt "
        "https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT/version | grep -q gitVersion"
    )
    async with client(joined.cluster.kubeconfig) as api:
        for name in NODES:
            where = {"nodeSelector": {"kubernetes.io/hostname": name}}
            await api.create(PODS, _pod("asks", ask, "curlimages/curl:latest", **where))
            ended = await _until_phase(api, "asks", "Succeeded", "Failed")
            assert ended["status"]["phase"] == "Succeeded", joined.cluster.kubectl("logs", "-n", NAMESPACE, "asks")
            await _gone(api, "asks")


async def test_a_daemonset_that_tolerates_everything_costs_one_event_a_node_and_no_loop(joined: Joined) -> None:
    """The controller manager is the real one; each change of the DaemonSet makes it look at all nodes again."""
    sets = f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets"
    labels = {"app": "agent"}
    daemon = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "agent", "namespace": NAMESPACE},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "hostNetwork": True,
                    "tolerations": [{"operator": "Exists"}],
                    "containers": [{"name": "main", "image": "busybox:1.36", "command": ["sleep", "600"]}],
                },
            },
        },
    }

    async def pods() -> dict[str, Json]:
        listed = await api.list(PODS, {"labelSelector": "app=agent"})
        return {each["metadata"]["uid"]: each for each in listed["items"]}

    async def set_aside() -> list[Json]:
        found = list((await pods()).values())
        waiting = [
            (one["status"].get("containerStatuses") or [{}])[0].get("state", {}).get("waiting", {}) for one in found
        ]
        return found if [one.get("reason") for one in waiting] == ["DaemonSetNotStarted"] * len(NODES) else []

    async with client(joined.cluster.kubeconfig) as api:
        await api.create(sets, daemon)
        first = await until(set_aside, 60)
        assert {each["spec"]["nodeName"] for each in first} == set(NODES)
        assert {each["status"]["phase"] for each in first} == {"Pending"}
        versions = {each["metadata"]["uid"]: each["metadata"]["resourceVersion"] for each in first}
        for look in range(1, 11):
            changed = await api.patch(f"{sets}/agent", {"spec": {"minReadySeconds": look}}, "merge")
            await wait_for(
                api,
                f"{sets}/agent",
                lambda one, wanted=changed["metadata"]["generation"]: one["status"]["observedGeneration"] >= wanted,  # type: ignore[misc]
                clock=CLOCK,
                seconds=30,
            )
        assert {uid: each["metadata"]["resourceVersion"] for uid, each in (await pods()).items()} == versions

        async def events() -> list[Json]:
            listed = (await api.list(f"/api/v1/namespaces/{NAMESPACE}/events"))["items"]
            of_pods = [each for each in listed if each["involvedObject"].get("uid") in versions]
            found = [each for each in of_pods if each["reason"] != "Scheduled"]
            return found if len(found) >= len(NODES) else []

        told = await until(events)
        assert [each["reason"] for each in told] == ["DaemonSetNotStarted"] * len(NODES), told
        assert {each["count"] for each in told} == {1}
        assert "spec.hostNetwork" in told[0]["message"]
        with closing(open_engine()) as engine:
            assert [uid for uid in versions for _ in engine.containers.list(all=True, filters={"name": uid})] == []

        await api.delete(f"{sets}/agent")

        async def left() -> bool:
            return not await pods()

        await until(left, 60)
