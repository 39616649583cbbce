"""What the system needs goes away and comes back: it waits, says so once, and goes on; no pod pays for it."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from provider.clock import SystemClock
from provider.cloud.runtime.docker_engine.client import open_client
from provider.cloud.runtime.docker_engine.labels import INSTALLATION
from provider.cloud.runtime.docker_engine.naming import container_name, gateway_name
from provider.cloud.runtime.docker_engine.network_namespace import listening_socket
from provider.cluster.local_up import up_local
from provider.cluster.manifests import wait_for
from provider.cluster.processes import Process
from provider.cluster.provider_daemon import start_provider
from provider.cluster.steps import Steps
from tests.support.engine_events import recorded
from tests.support.installation import installed
from tests.support.names import own_name
from tests.support.pods import PODS, exec_in, is_running, main_state, phase_is, pod_gone, pod_that, restarts, shell_pod
from tests.support.provider_log import ProviderLog, cpu_seconds
from tests.support.relay import engine_proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from provider.kube.client import HttpKubeApi, Json
    from tests.support.installation import Lab
    from tests.support.relay import Relay

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(240)]

CLOCK = SystemClock()
NAME = own_name("robust")
NODES = "/api/v1/nodes"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
WAITS = "until test -e /go; do sleep 0.2; done; "
"""the beginning of a script that goes on when the test says so"""


@pytest.fixture(scope="module")
def proxy() -> Iterator[Relay]:
    with (
        tempfile.TemporaryDirectory(prefix="zl-proxy-", dir="/tmp") as directory,
        engine_proxy(Path(directory) / "docker.sock") as relay,
    ):
        yield relay


@pytest.fixture(scope="module")
def lab(proxy: Relay) -> Iterator[Lab]:
    config = {"name": NAME, "runtime": {"docker": {"host": proxy.host}}}
    with installed(NAME, argo=False, config=config) as up:
        yield up


@pytest.fixture
async def api(lab: Lab) -> AsyncIterator[HttpKubeApi]:
    async with lab.api() as opened:
        yield opened
        for pod in (await opened.list(PODS))["items"]:
            await opened.delete(f"{PODS}/{pod['metadata']['name']}")
        for pod in (await opened.list(PODS))["items"]:
            await pod_gone(opened, pod["metadata"]["name"])


def pid_of(lab: Lab, process: str) -> int:
    pid = Process(process, lab.installation.state / "run").pid()
    assert pid is not None, f"{process} does not run"
    return pid


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """The process is there, and does nothing."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def started(api: HttpKubeApi, *pods: Json) -> dict[str, Json]:
    """Create the pods and wait until they run; by name."""
    for pod in pods:
        await api.create(PODS, pod)
    names = [pod["metadata"]["name"] for pod in pods]
    return {name: await pod_that(api, name, is_running) for name in names}


async def let_go(pod: Json) -> None:
    """Let the pod's script go on."""
    async with open_client() as client:
        await exec_in(client, container_name(NAME, pod["metadata"]["uid"], "main", 0), "touch", "/go")


def ready(node: Json) -> Json:
    return next(each for each in node["status"]["conditions"] if each["type"] == "Ready")


async def nodes_that(api: HttpKubeApi, lab: Lab, status: str, seconds: float = 90) -> list[Json]:
    """Wait until Ready of every node has this status."""
    wanted = status.split("|")
    return [
        await wait_for(
            api, f"{NODES}/{name}", lambda node: ready(node)["status"] in wanted, clock=CLOCK, seconds=seconds
        )
        for name in lab.running.nodes
    ]


def said_once(log: ProviderLog) -> None:
    """No error, no traceback, and nobody has said the same more than once."""
    assert log.errors() == []
    keys = ("worker", "node", "path", "fieldSelector", "labelSelector", "uid")
    told = Counter(
        (line["event"], *(line.get(key) for key in keys)) for line in log.lines() if line["level"] == "warning"
    )
    assert {what: times for what, times in told.items() if times > 1} == {}


async def test_pods_go_on_while_the_api_server_hangs_for_a_minute(lab: Lab, api: HttpKubeApi) -> None:
    pods = await started(api, shell_pod("stays", "exec sleep 1000"), shell_pod("ends", WAITS + "exit 3"))
    log, provider = ProviderLog.of(lab), pid_of(lab, "provider")
    async with recorded(NAME) as events:
        with frozen(pid_of(lab, "kube-apiserver")):
            used = cpu_seconds(provider)
            await let_go(pods["ends"])
            await events.until("die", container_name(NAME, pods["ends"]["metadata"]["uid"], "main", 0), 20)
            await CLOCK.sleep(60)
            used = cpu_seconds(provider) - used
        ended = await pod_that(api, "ends", phase_is("Failed"))
    assert main_state(ended)["terminated"]["exitCode"] == 3
    stayed = await api.get(f"{PODS}/stays")
    assert main_state(stayed) == main_state(pods["stays"])
    assert restarts(stayed) == 0
    await nodes_that(api, lab, "True")
    assert {line["node"] for line in log.lines("lease.failed")} == set(lab.running.nodes)
    said_once(log)
    assert used < 3, f"{used} s of CPU in a minute of waiting"


async def test_a_provider_that_starts_while_the_api_server_is_away_waits_and_goes_on(
    lab: Lab, api: HttpKubeApi
) -> None:
    pods = await started(api, shell_pod("stays", "exec sleep 1000"), shell_pod("ends", WAITS + "exit 3"))
    log, begun = ProviderLog.of(lab), CLOCK.now()
    server = Process("kube-apiserver", lab.installation.state / "run")
    await server.stop(CLOCK, grace=0)  # asked politely it would wait for its watches
    await lab.installation.provider.stop(CLOCK)
    await let_go(pods["ends"])
    start_provider(lab.installation)
    await log.says("worker.waits", worker="nodes")
    used = cpu_seconds(pid_of(lab, "provider"))
    await CLOCK.sleep(15)
    used = cpu_seconds(pid_of(lab, "provider")) - used

    await up_local(lab.installation, Steps(), config=lab.installation.provider_config, argo=False)
    ended = await pod_that(api, "ends", phase_is("Failed"))
    assert main_state(ended)["terminated"]["exitCode"] == 3
    stayed = await api.get(f"{PODS}/stays")
    assert main_state(stayed) == main_state(pods["stays"])
    for name in lab.running.nodes:
        await wait_for(api, f"{LEASES}/{name}", lambda lease: renewed(lease) > begun, clock=CLOCK, seconds=30)
    said_once(log)
    assert used < 1, f"{used} s of CPU in 15 s of waiting"


def renewed(lease: Json) -> float:
    from datetime import datetime

    return datetime.fromisoformat(lease["spec"]["renewTime"]).timestamp()


async def test_a_kubelet_port_in_use_is_waited_for(lab: Lab, api: HttpKubeApi) -> None:
    node = lab.running.nodes[0]
    await lab.installation.provider.stop(CLOCK)
    async with open_client() as client:
        router = await client.containers.container(gateway_name(NAME, "zone-a")).show()
    address = next(
        each["address"]
        for each in (await api.get(f"{NODES}/{node}"))["status"]["addresses"]
        if each["type"] == "InternalIP"
    )
    log = ProviderLog.of(lab)
    with listening_socket(router["State"]["Pid"], address, 10250):
        start_provider(lab.installation)
        await log.says("kubelet.port_waits", node=node)
        for other in lab.running.nodes[1:]:
            await log.says("kubelet.listening", node=other)
        await started(api, shell_pod("here", "echo hello; exec sleep 1000", nodeName=node))
        await CLOCK.sleep(6)  # longer than one pause: it tries again, and says nothing new
    await log.says("kubelet.listening", node=node)
    said_once(log)
    async with asyncio.timeout(10):
        assert await pod_log(lab, "here") == "hello\n"


async def pod_log(lab: Lab, name: str) -> str:
    command = [str(lab.running.binaries.kubectl), f"--kubeconfig={lab.kubeconfig}", "logs", name]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    return (await process.communicate())[0].decode()


async def test_an_engine_that_is_away_fails_no_pod(lab: Lab, api: HttpKubeApi, proxy: Relay) -> None:
    pods = await started(
        api,
        shell_pod("stays", "exec sleep 1000"),
        shell_pod("ends", WAITS + "exit 3"),
        shell_pod("restarts", "test -e /seen/it && exec sleep 1000; touch /seen/it; " + WAITS + "exit 1",
                  restart="OnFailure", container={"volumeMounts": [{"name": "seen", "mountPath": "/seen"}]},
                  volumes=[{"name": "seen", "emptyDir": {}}]),
        shell_pod("deleted", "exec sleep 1000"),
    )  # fmt: skip
    log = ProviderLog.of(lab)
    async with recorded(NAME) as events:
        proxy.cut()
        begun = CLOCK.now()
        try:
            used = cpu_seconds(pid_of(lab, "provider"))
            for name in ("ends", "restarts"):
                await let_go(pods[name])
                await events.until("die", container_name(NAME, pods[name]["metadata"]["uid"], "main", 0), 20)
            await api.delete(f"{PODS}/deleted")
            await api.create(PODS, shell_pod("new", "exec sleep 1000", nodeName=lab.running.nodes[0]))
            nodes = await nodes_that(api, lab, "False|Unknown")
            await CLOCK.sleep(max(0.0, begun + 30 - CLOCK.now()))
            used = cpu_seconds(pid_of(lab, "provider")) - used
            for name in ("stays", "ends", "restarts"):
                assert is_running(await api.get(f"{PODS}/{name}")), f"{name} is still what was known last"
            assert (await api.get(f"{PODS}/new"))["status"]["phase"] == "Pending"
        finally:
            proxy.restore()
        assert all("Docker" in ready(node)["message"] for node in nodes), [ready(node) for node in nodes]

        ended = await pod_that(api, "ends", phase_is("Failed"))
        assert main_state(ended)["terminated"]["exitCode"] == 3
        await pod_that(api, "restarts", lambda pod: is_running(pod) and restarts(pod) == 1)
        new = await pod_that(api, "new", is_running)
        await pod_gone(api, "deleted")
        await nodes_that(api, lab, "True")
        stayed = await api.get(f"{PODS}/stays")
        assert main_state(stayed) == main_state(pods["stays"])
        assert restarts(stayed) == 0
        assert events.count("create", uids={new["metadata"]["uid"]}).total() == 2, "one sandbox, one container"
        assert events.count("create", uids={pods["restarts"]["metadata"]["uid"]}).total() == 1, "its second attempt"
    said_once(log)
    assert used < 3, f"{used} s of CPU in 30 s of waiting"


async def test_a_router_that_is_removed_is_made_again_and_serves(lab: Lab, api: HttpKubeApi) -> None:
    node = lab.running.nodes[0]
    pods = await started(api, shell_pod("here", "echo hello; exec sleep 1000", nodeName=node))
    log = ProviderLog.of(lab)
    async with open_client() as client:
        await client.containers.container(gateway_name(NAME, "zone-a")).delete(force=True)
    await log.says("kubelet.listening", node=node)
    assert await pod_log(lab, "here") == "hello\n"
    stayed = await api.get(f"{PODS}/here")
    assert main_state(stayed) == main_state(pods["here"])
    assert log.errors() == []


async def test_a_second_provider_of_the_installation_is_refused(lab: Lab) -> None:
    code, text = await run_command(lab, lab.installation.provider_config)
    assert code == 1
    assert text.count("\n") == 1
    assert "another provider serves this installation already" in text
    assert pid_of(lab, "provider")


async def test_a_block_that_is_on_another_network_of_the_engine_is_refused(lab: Lab, tmp_path: Path) -> None:
    async with open_client() as client:
        foreign = await client.networks.create({"Name": f"{NAME}-foreign", "CheckDuplicate": True})
        try:
            subnet = (await foreign.show())["IPAM"]["Config"][0]["Subnet"]
            config = tmp_path / "clash.yaml"
            zone = {"name": "zone-a", "vSwitches": [{"cidr": subnet}]}
            config.write_text(
                yaml.safe_dump({"name": f"{NAME}-2", "stateDir": str(tmp_path / "state"), "zones": [zone]})
            )
            code, text = await run_command(lab, config)
            assert code == 1
            assert f"{subnet} clashes with {subnet} of " in text
            assert f"{NAME}-foreign" in text
            assert "Traceback" not in text
            rows = await client.networks.list(filters={"label": [f"{INSTALLATION}={NAME}-2"]})
            assert rows == [], "nothing was made"
        finally:
            await foreign.delete()


async def run_command(lab: Lab, config: Path) -> tuple[int, str]:
    """`zonelet run`; its exit code and what it said."""
    from provider.cluster.processes import python_module

    argv, environment = python_module("provider.cli.main", "run", "--config", str(config))
    environment["KUBECONFIG"] = str(lab.installation.provider_kubeconfig)
    process = await asyncio.create_subprocess_exec(
        *argv, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(30):
            text = (await process.communicate())[0].decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, text
