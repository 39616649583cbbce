"""A real control plane in front of kubelet ports of this project; commands run as processes of this host."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from typing import TYPE_CHECKING, Any

import pytest

from provider.clock import SystemClock
from provider.cloud.backend import STDERR, STDOUT, ExecRequest, LogOptions
from provider.cluster.build import build_all, cache_root
from provider.cluster.local import LocalCluster
from provider.cluster.pki import Pki
from provider.cluster.steps import Steps
from provider.kube.auth_review import AuthReviews, cluster_client_ca
from provider.kube.client import HttpKubeApi, KubeError
from provider.kubelet.access import Access
from provider.kubelet.server import kubelet_app, serving
from provider.kubelet.tls import server_context
from provider.model.capacity import BackendHealth
from provider.model.errors import CloudCode, CloudError
from provider.model.ids import InstanceId, PodUid, ZoneId
from provider.model.instance import ContainerPhase, ContainerState, ContainerStatus, Instance

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
    from pathlib import Path

    from provider.kube.client import Json

CLOCK = SystemClock()
SWITCHES = ("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "KUBECTL_PORT_FORWARD_WEBSOCKETS")


class HostCommand:
    """An exec session that is a process of this host; what it reads and writes are its pipes, of 64 KiB."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.sizes: list[tuple[int, int]] = []
        self.closed = asyncio.Event()

    @classmethod
    async def start(cls, request: ExecRequest) -> HostCommand:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *request.command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
        assert process.stdin
        if not request.stdin:
            process.stdin.close()
        return cls(process)

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        queue: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue(1)

        async def read(source: int, stream: asyncio.StreamReader) -> None:
            while data := await stream.read(1 << 16):
                await queue.put((source, data))
            await queue.put((source, b""))

        assert self.process.stdout
        assert self.process.stderr
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(read(STDOUT, self.process.stdout))
            tasks.create_task(read(STDERR, self.process.stderr))
            ended = 0
            while ended < 2:
                piece = await queue.get()
                ended += not piece[1]
                if piece[1]:
                    yield piece

    async def write(self, data: bytes) -> None:
        assert self.process.stdin
        with contextlib.suppress(ConnectionError):
            self.process.stdin.write(data)
            await self.process.stdin.drain()

    async def close_stdin(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()

    async def resize(self, width: int, height: int) -> None:
        self.sizes.append((width, height))

    async def wait(self) -> int:
        return await self.process.wait()

    async def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()
        self.process._transport.close()  # type: ignore[attr-defined] # its pipes, that nobody reads now
        self.closed.set()


class HostCloud:
    """As much of ElasticBackend as the port uses: logs that the test writes, commands on this host."""

    def __init__(self) -> None:
        self.lines: list[tuple[float, bytes]] = []
        self.previous: list[tuple[float, bytes]] = []
        self.ended = False
        self.changed = asyncio.Condition()
        self.followers = 0
        self.commands: list[HostCommand] = []
        self.uid = PodUid("")

    async def health(self) -> BackendHealth:
        return BackendHealth(healthy=True)

    async def describe_instance(self, uid: PodUid) -> Instance:
        if uid != self.uid:
            raise CloudError(CloudCode.NOT_FOUND, "no such instance")
        container = ContainerStatus(name="main", state=ContainerState(ContainerPhase.RUNNING), image="busybox")
        return Instance(
            uid=uid, id=InstanceId("eci-1"), zone=ZoneId("z"), name="p", namespace="default", containers=(container,)
        )

    async def describe_instances(self, zone: ZoneId | None = None) -> list[Instance]:
        return [await self.describe_instance(self.uid)]

    async def write_log(self, line: bytes, at: float) -> None:
        async with self.changed:
            self.lines.append((at, line))
            self.changed.notify_all()

    async def end_log(self) -> None:
        async with self.changed:
            self.ended = True
            self.changed.notify_all()

    async def logs(self, uid: PodUid, container: str, options: LogOptions) -> AsyncGenerator[bytes, None]:
        assert (uid, container) == (self.uid, "main")
        lines = self.previous if options.previous else self.lines
        kept = [each for each in lines if options.since is None or each[0] >= options.since]
        if options.tail is not None:
            kept = kept[len(kept) - options.tail :] if options.tail else []
        whole = b"".join((b"%.3f " % at if options.timestamps else b"") + line for at, line in kept)
        yield whole[: options.limit_bytes]
        position = len(lines)
        self.followers += 1
        try:
            while options.follow:
                async with self.changed:
                    while len(lines) == position and not self.ended:
                        await self.changed.wait()
                if len(lines) == position:
                    return
                for _, line in lines[position:]:
                    yield line
                position = len(lines)
        finally:
            self.followers -= 1

    async def exec(self, uid: PodUid, request: ExecRequest) -> HostCommand:
        assert uid == self.uid
        try:
            self.commands.append(await HostCommand.start(request))
        except FileNotFoundError as error:
            raise CloudError(CloudCode.INVALID_PARAMETER, f"no such program: {request.command[0]}") from error
        return self.commands[-1]


class Node:
    """One node with one pod `p`, whose kubelet port this process serves."""

    def __init__(self, api: HttpKubeApi, cloud: HostCloud, kubectl: Path, kubeconfig: Path, name: str) -> None:
        self.api = api
        self.cloud = cloud
        self.name = name
        self.pods: list[Json] = []
        self.kubeconfig = kubeconfig
        self.port = ""
        self.base = [str(kubectl), f"--kubeconfig={kubeconfig}", "--namespace", name]

    async def start(self, *arguments: str, websockets: bool = True, **options: Any) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        environment = {**os.environ, **dict.fromkeys(SWITCHES, str(websockets).lower())}
        streams = {"stdin": pipe, "stdout": pipe, "stderr": pipe} | options
        return await asyncio.create_subprocess_exec(*self.base, *arguments, env=environment, **streams)

    async def kubectl(self, *arguments: str, stdin: bytes = b"", websockets: bool = True) -> tuple[int, bytes, str]:
        process = await self.start(*arguments, websockets=websockets)
        async with asyncio.timeout(60):
            out, err = await process.communicate(stdin)
        assert process.returncode is not None
        return process.returncode, out, err.decode()

    async def set_status(self, status: Json) -> None:
        path = f"/api/v1/namespaces/{self.name}/pods/p/status"
        self.pods[:] = [await self.api.patch(path, {"status": status}, "strategic")]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalCluster, Path]]:
    binaries = build_all(cache_root(), print)
    made = LocalCluster("kubelet-test", tmp_path_factory.mktemp("kubelet") / "state", CLOCK)
    try:
        asyncio.run(made.start(binaries, Steps()))
        yield made, binaries.kubectl
    finally:
        asyncio.run(made.stop())


def host_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


@pytest.fixture
def on_node(cluster: tuple[LocalCluster, Path]) -> Callable[..., Any]:
    @contextlib.asynccontextmanager
    async def run(name: str, *features: str, cloud: Any = None) -> AsyncIterator[Node]:
        local, kubectl = cluster
        address = host_address()
        cloud = cloud or HostCloud()
        admin = await HttpKubeApi.from_kubeconfig(str(local.kubeconfig))
        provider = await HttpKubeApi.from_kubeconfig(str(local.provider_kubeconfig))
        node = Node(admin, cloud, kubectl, local.kubeconfig, name)
        pki = Pki(local.state / "pki", CLOCK)
        pair = pki.server(pki.authority("ca"), f"kubelet-{name}", [name], [address])
        context = server_context(pair.certificate, pair.key, await cluster_client_ca(provider))
        access = Access(AuthReviews(provider, clock=CLOCK), name)
        app = kubelet_app(name, ZoneId("z"), cloud, lambda: node.pods, access, CLOCK)  # type: ignore[arg-type]
        try:
            with socket.create_server((address, 0)) as listener:
                async with serving(app, listener, context):
                    node.port = f"https://{address}:{listener.getsockname()[1]}"
                    await _register(node, address, listener.getsockname()[1], features)
                    yield node
        finally:
            with contextlib.suppress(KubeError):
                await admin.delete(f"/api/v1/namespaces/{name}")
            await admin.close()
            await provider.close()

    return run


async def _register(node: Node, address: str, port: int, features: tuple[str, ...]) -> None:
    api, name = node.api, node.name
    await api.create("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    status = {
        "addresses": [{"type": "InternalIP", "address": address}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        "declaredFeatures": list(features),
    }
    await api.patch(f"/api/v1/nodes/{name}/status", {"status": status}, "merge")
    await api.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    with contextlib.suppress(KubeError):  # the controller may have been quicker
        await api.create(f"/api/v1/namespaces/{name}/serviceaccounts", account)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {
            "nodeName": name,
            "automountServiceAccountToken": False,
            "containers": [{"name": "main", "image": "busybox", "stdin": True, "stdinOnce": True}],
        },
    }
    made = await api.create(f"/api/v1/namespaces/{name}/pods", pod)
    node.cloud.uid = made["metadata"]["uid"]
    await node.set_status(
        {
            "phase": "Running",
            "containerStatuses": [container_status({"running": {"startedAt": "2026-01-01T00:00:00Z"}})],
        }
    )


def container_status(state: Json, last: Json | None = None) -> Json:
    return {
        "name": "main", "image": "busybox", "imageID": "", "ready": True, "restartCount": 0,
        "containerID": "docker://1", "state": state, "lastState": last or {},
    }  # fmt: skip
