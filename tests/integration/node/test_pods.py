"""The pods of one node on a real API server, from their binding to their end."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import aclosing
from datetime import datetime
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from provider.cluster.build import build_all, cache_root
from provider.cluster.steps import Steps
from provider.kube.client import HttpKubeApi, KubeError
from tests.integration.node.pod_lab import CLOCK, HOST_IP, PodLab, pod_lab
from tests.support.cloud_worlds import ZONE
from tests.support.control_plane import add_node, client, node_kubeconfig, until
from tests.support.relay import tcp_proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from provider.cluster.local import LocalCluster

Json = dict[str, Any]
NODE = "node-pods"


@pytest.fixture
async def lab(cluster: LocalCluster, admin: HttpKubeApi, tmp_path: Path) -> AsyncIterator[PodLab]:
    async with client(node_kubeconfig(cluster, NODE)) as own, pod_lab(NODE, tmp_path, admin, own) as made:
        yield made


def phase(*phases: str) -> Any:
    return lambda status: status["phase"] in phases


def conditions(status: Json) -> dict[str, str]:
    return {each["type"]: each["status"] for each in status["conditions"]}


def waiting(status: Json) -> Json:
    states = [each["state"].get("waiting") or {} for each in status.get("containerStatuses", ())]
    return states[0] if states else {}


# ------------------------------------------------------------------ a pod's life


async def test_a_bound_pod_runs_and_succeeds_with_its_whole_status(lab: PodLab) -> None:
    phases: list[str] = []
    start = (await lab.admin.list(lab.pods))["metadata"]["resourceVersion"]

    async def follow() -> None:
        query = {"resourceVersion": start, "timeoutSeconds": "60", "fieldSelector": "metadata.name=whole"}
        async with aclosing(lab.admin.watch(lab.pods, query, 90)) as lines:
            async for line in lines:
                now = line["object"]["status"]["phase"]
                if now not in phases[-1:]:
                    phases.append(now)
                if now == "Succeeded":
                    return

    async with asyncio.TaskGroup() as group:
        following = group.create_task(follow())
        await lab.pod(
            "whole",
            simulate={"duration": "1.5"},
            initContainers=[{"name": "first", "image": "busybox:1.36"}],
            containers=[{"name": "b", "image": "busybox:1.36"}, {"name": "a", "image": "alpine"}],
        )
        running = (await lab.becomes("whole", phase("Running")))["status"]
        async with asyncio.timeout(30):
            await following
    assert phases == ["Pending", "Running", "Succeeded"]
    status = (await lab.becomes("whole", phase("Succeeded")))["status"]
    assert any(ip_address(running["podIP"]) in ip_network(each.cidr) for each in ZONE.vswitches)
    assert running["podIPs"] == [{"ip": running["podIP"]}]
    assert (running["hostIP"], running["hostIPs"]) == (HOST_IP, [{"ip": HOST_IP}])
    assert running["qosClass"] == "BestEffort"
    assert conditions(running) == {
        "PodReadyToStartContainers": "True",
        "Initialized": "True",
        "Ready": "True",
        "ContainersReady": "True",
        "PodScheduled": "True",
    }
    (first,) = running["initContainerStatuses"]
    assert (first["state"]["terminated"]["exitCode"], first["state"]["terminated"]["reason"]) == (0, "Completed")
    assert [each["name"] for each in running["containerStatuses"]] == ["a", "b"]
    for each in running["containerStatuses"]:
        assert (each["ready"], each["started"], each["restartCount"]) == (True, True, 0)
        assert each["state"]["running"]["startedAt"] >= status["startTime"]
    assert conditions(status)["Ready"] == "False"
    for each in status["containerStatuses"]:
        ended = each["state"]["terminated"]
        assert (ended["exitCode"], ended["reason"]) == (0, "Completed")
        assert datetime.fromisoformat(ended["startedAt"]) <= datetime.fromisoformat(ended["finishedAt"])
        assert ended["containerID"] == each["containerID"]
        assert each["containerID"].startswith("simulated://")
        assert each["imageID"]
        assert (each["ready"], each["restartCount"]) == (False, 0)
    assert status["podIP"] == running["podIP"]


async def test_a_failing_pod_has_its_exit_code(lab: PodLab) -> None:
    await lab.pod("fails", simulate={"duration": "0.1", "exit-code": "3"})
    (only,) = (await lab.becomes("fails", phase("Failed")))["status"]["containerStatuses"]
    assert (only["state"]["terminated"]["exitCode"], only["state"]["terminated"]["reason"]) == (3, "Error")


async def test_a_pod_that_restarts_counts(lab: PodLab) -> None:
    await lab.pod("again", simulate={"duration": "0.2", "exit-code": "1"}, restartPolicy="OnFailure")
    pod = await lab.becomes("again", lambda status: waiting(status).get("reason") == "CrashLoopBackOff")
    (only,) = pod["status"]["containerStatuses"]
    assert only["restartCount"] >= 1
    assert only["lastState"]["terminated"]["exitCode"] == 1
    assert pod["status"]["phase"] == "Running"


async def test_a_deleted_pod_leaves_with_all_that_it_had(lab: PodLab) -> None:
    uid = (await lab.pod("leaves"))["metadata"]["uid"]
    await lab.becomes("leaves", phase("Running"))
    assert await lab.left() == [uid]
    await lab.admin.delete(f"{lab.pods}/leaves", grace_seconds=300)
    await lab.gone("leaves")  # long before its grace is over: its containers have ended

    async def nothing() -> bool:
        return not await lab.left()

    assert await until(nothing)
    again = (await lab.pod("leaves"))["metadata"]["uid"]
    await lab.becomes("leaves", phase("Running"))
    assert await lab.left() == [again]


async def test_a_pod_that_is_deleted_by_force_costs_nothing_any_more(lab: PodLab) -> None:
    await lab.pod("forced")
    await lab.becomes("forced", phase("Running"))
    await lab.admin.delete(f"{lab.pods}/forced", grace_seconds=0)

    async def nothing() -> bool:
        return not await lab.left()

    assert await until(nothing)


# ------------------------------------------------------------------ what it names


async def test_a_missing_config_map_is_waited_for(lab: PodLab) -> None:
    source = [{"configMapRef": {"name": "late"}}]
    pod = await lab.pod("waits", containers=[{"name": "main", "image": "busybox:1.36", "envFrom": source}])
    held = await lab.becomes("waits", lambda status: waiting(status).get("reason") == "CreateContainerConfigError")
    assert waiting(held["status"])["message"] == 'configmap "late" not found'
    assert held["status"]["phase"] == "Pending"
    assert not lab.runtime.starts
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "late"}, "data": {"KEY": "value"}}
    await lab.admin.create(f"/api/v1/namespaces/{lab.namespace}/configmaps", body)
    await lab.becomes("waits", phase("Running"), 60)
    assert dict(lab.runtime.starts) == {(pod["metadata"]["uid"], "main", 0): 1}


async def test_a_node_reads_the_secrets_of_its_own_pods_only(
    lab: PodLab, cluster: LocalCluster, admin: HttpKubeApi
) -> None:
    secrets = f"/api/v1/namespaces/{lab.namespace}/secrets"
    for name in ("ours", "theirs"):
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"key": "value"}}
        await admin.create(secrets, body)
    await add_node(admin, "node-other")
    try:
        for name, node in (("ours", lab.node), ("theirs", "node-other")):
            volume = {"name": "files", "secret": {"secretName": name}}
            main = {"name": "main", "image": "busybox:1.36", "volumeMounts": [{"name": "files", "mountPath": "/files"}]}
            await lab.pod(name, node=node, containers=[main], volumes=[volume])
        await lab.becomes("ours", phase("Running"))
        assert (await lab.own.get(f"{secrets}/ours"))["data"]
        for refused in (lab.own.get(f"{secrets}/theirs"), lab.own.list(secrets), lab.own.delete(f"{lab.pods}/theirs")):
            with pytest.raises(KubeError) as caught:
                await refused
            assert caught.value.code == 403
        async with client(node_kubeconfig(cluster, "node-other")) as other:

            async def read() -> Json | None:
                try:
                    return await other.get(f"{secrets}/theirs")
                except KubeError as error:
                    if error.code != 403:  # the authorizer learns of the binding a moment later
                        raise
                    return None

            assert (await until(read))["data"]
    finally:
        await admin.delete("/api/v1/nodes/node-other")


# ------------------------------------------------------------------ what comes between


async def test_controllers_that_begin_anew_run_nothing_twice(lab: PodLab) -> None:
    made = [await lab.pod(f"once-{number}", simulate={"duration": "3"}) for number in range(8)]
    for number in range(4):
        await lab.becomes(f"once-{number}", phase("Running"))
    await lab.kill()
    late = await lab.pod("meanwhile", simulate={"duration": "0.5"})
    await lab.admin.delete(f"{lab.pods}/once-7", grace_seconds=0)
    await lab.start()
    for name in ("meanwhile", *(f"once-{number}" for number in range(7))):
        await lab.becomes(name, phase("Succeeded"))
    expected = {(each["metadata"]["uid"], "main", 0): 1 for each in (*made, late)}
    started = dict(lab.runtime.starts)
    gone = (made[7]["metadata"]["uid"], "main", 0)
    assert started.pop(gone, 1) == 1
    assert started == {key: 1 for key in expected if key != gone}

    async def kept() -> bool:
        return gone[0] not in await lab.left()

    assert await until(kept)


async def test_controllers_that_end_and_begin_all_the_time_run_nothing_twice(lab: PodLab) -> None:
    made = [await lab.pod(f"often-{number}", simulate={"duration": "1"}) for number in range(10)]
    for _ in range(12):
        await lab.kill()
        await lab.start()
        seen = sum(lab.runtime.starts.values())

        async def one_more(before: int = seen) -> bool:
            ended = [await lab.find(f"often-{number}") for number in range(10)]
            return sum(lab.runtime.starts.values()) > before or all(
                each is not None and each["status"]["phase"] == "Succeeded" for each in ended
            )

        await until(one_more)
    for number in range(10):
        await lab.becomes(f"often-{number}", phase("Succeeded"))
    assert dict(lab.runtime.starts) == {(each["metadata"]["uid"], "main", 0): 1 for each in made}


async def end_at_once(cluster: LocalCluster, component: str) -> None:
    pid = cluster.status()[component]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)  # by itself it waits for requests under way
    await cluster._process(component).stop(CLOCK)


async def test_a_version_that_the_server_has_forgotten_lists_again(
    cluster: LocalCluster, admin: HttpKubeApi, tmp_path: Path
) -> None:
    """An API server that begins anew has no history: a watch from before is answered by 410."""
    name = "node-gone"
    kubeconfig = node_kubeconfig(cluster, name)
    port = cluster._ports()["kube-apiserver"]
    with tcp_proxy(port) as proxy:
        kubeconfig.write_text(kubeconfig.read_text().replace(f":{port}", f":{proxy.port}"))
        async with client(kubeconfig) as own, pod_lab(name, tmp_path, admin, own) as lab:
            old = await lab.pod("old")
            stays = await lab.pod("stays")
            for each in ("old", "stays"):
                await lab.becomes(each, phase("Running"))
            with structlog.testing.capture_logs() as logs:
                proxy.cut()
                await admin.delete(f"{lab.pods}/old", grace_seconds=0)
                new = await lab.pod("new")
                await end_at_once(cluster, "kube-apiserver")
                await cluster.start(build_all(cache_root(), print), Steps())
                proxy.restore()
                await lab.becomes("new", phase("Running"), 60)
            assert [each["path"] for each in logs if each["event"] == "watch.expired"] == ["/api/v1/pods"]

            async def only() -> bool:
                return set(await lab.left()) == {stays["metadata"]["uid"], new["metadata"]["uid"]}

            assert await until(only)
            assert dict(lab.runtime.starts) == {(each["metadata"]["uid"], "main", 0): 1 for each in (old, stays, new)}
