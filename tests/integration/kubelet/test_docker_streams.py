"""kubectl through a real API server and our port to a container of the real engine, which has no network."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from provider.clock import SystemClock
from provider.cloud.refusals import RefusingExec, as_cloud_errors
from provider.cloud.runtime.docker_engine.client import open_client
from provider.cloud.runtime.docker_engine.exec_session import start_exec
from provider.cloud.runtime.docker_engine.logs import read_logs
from provider.model.ids import InstanceId, PodUid, ZoneId
from provider.model.instance import ContainerPhase, ContainerState, ContainerStatus, Instance

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from aiodocker import Docker

    from provider.cloud.backend import ExecRequest, LogOptions

pytestmark = [pytest.mark.integration, pytest.mark.slow]

BIG = bytes(range(256)) * 40_960  # 10 MiB
WAYS = pytest.mark.parametrize("websockets", [False, True], ids=["spdy", "websocket"])


class DockerCloud:
    """As much of ElasticBackend as the port uses, on one container."""

    def __init__(self, client: Docker, container: str) -> None:
        self.client = client
        self.container = container
        self.uid = PodUid("")

    async def describe_instance(self, uid: PodUid) -> Instance:
        status = ContainerStatus(name="main", state=ContainerState(ContainerPhase.RUNNING))
        return Instance(
            uid=uid, id=InstanceId("eci-1"), zone=ZoneId("z"), name="p", namespace="x", containers=(status,)
        )

    async def logs(self, uid: PodUid, container: str, options: LogOptions) -> AsyncGenerator[bytes, None]:
        with as_cloud_errors():
            async with aclosing(read_logs(self.client, self.container, options, tty=False)) as pieces:
                async for piece in pieces:
                    yield piece

    async def exec(self, uid: PodUid, request: ExecRequest) -> RefusingExec:
        with as_cloud_errors():
            return RefusingExec(await start_exec(self.client, self.container, request, SystemClock()))

    async def processes(self) -> str:
        listed = await self.client.containers.container(self.container).top(ps_args="axo pid,args")
        return "\n".join(row[-1] for row in listed["Processes"])


@asynccontextmanager
async def running(script: str) -> AsyncIterator[DockerCloud]:
    async with open_client("unix:///var/run/docker.sock") as client:
        config = {
            "Image": "busybox:latest",
            "Cmd": ["sh", "-c", script],
            "NetworkDisabled": True,
            "HostConfig": {"NetworkMode": "none"},
        }
        made = await client.containers.create(config, name=f"kubelet-{uuid.uuid4().hex[:8]}")
        try:
            await made.start()
            yield DockerCloud(client, made.id)
        finally:
            await made.delete(force=True)


async def test_logs_of_a_container_to_its_end(on_node: Any) -> None:
    script = "echo one; echo two; until test -e /go; do sleep 0.05; done; echo three; printf four"
    async with running(script) as cloud, on_node("docker-logs", cloud=cloud) as node:
        following = await node.start("logs", "-f", "p")
        async with asyncio.timeout(60):
            assert await following.stdout.readline() == b"one\n"
            assert await following.stdout.readline() == b"two\n"
            assert (await node.kubectl("logs", "p", "--tail=1"))[1] == b"two\n"
            assert (await node.kubectl("logs", "p", "--tail=0"))[1] == b""
            assert (await node.kubectl("logs", "p", "--limit-bytes=2"))[1] == b"on"
            stamp, text = (await node.kubectl("logs", "p", "--timestamps", "--tail=1"))[1].split(b" ")
            assert (stamp[:2], text) == (b"20", b"two\n")
            assert (await node.kubectl("exec", "p", "--", "touch", "/go"))[0] == 0
            assert await following.stdout.read() == b"three\nfour"
            assert await following.wait() == 0
        assert (await node.kubectl("logs", "-f", "p", "--since=1h"))[1] == b"one\ntwo\nthree\nfour"


@WAYS
async def test_exec_in_a_container(on_node: Any, websockets: bool) -> None:
    async with running("sleep 600") as cloud, on_node(f"docker-exec-{websockets}".lower(), cloud=cloud) as node:

        async def run(*arguments: str, stdin: bytes = b"") -> tuple[int, bytes, str]:
            result: tuple[int, bytes, str] = await node.kubectl("exec", *arguments, stdin=stdin, websockets=websockets)
            return result

        assert await run("p", "--", "sh", "-c", "echo out; echo err >&2; exit 7") == (
            7,
            b"out\n",
            "err\ncommand terminated with exit code 7\n",
        )
        assert await run("-i", "p", "--", "wc", "-c", stdin=b"x" * 1000) == (0, b"1000\n", "")
        assert await run("-i", "p", "--", "cat", stdin=BIG) == (0, BIG, "")
        # The API server that translates WebSockets puts "Internal error occurred: " before it once more.
        failed = "Internal error occurred: error executing command in container: OCI runtime exec failed: exec failed: "
        for command, why in (("no-such", "executable file not found in $PATH"), ("/etc/passwd", "permission denied")):
            code, out, text = await run("p", "--", command)
            assert (code, out) == (1, b""), text
            assert failed in text
            assert f'exec: "{command}": {why}' in text
        says = "OCI runtime exec failed: it is only what this command says"
        code, out, _ = await run("p", "--", "sh", "-c", f"echo {says}; exit 127")
        assert (code, out) == (127, f"{says}\n".encode())
        assert await run("-t", "p", "--", "no-such") == (
            1,
            b"",
            text.replace("/etc/passwd", "no-such").replace(why, "executable file not found in $PATH"),
        )


@WAYS
async def test_a_command_in_a_container_ends_with_its_client(on_node: Any, websockets: bool) -> None:
    async with running("sleep 600") as cloud, on_node(f"docker-gone-{websockets}".lower(), cloud=cloud) as node:
        client = await node.start("exec", "p", "--", "sleep", "555", websockets=websockets)
        async with asyncio.timeout(60):
            while "sleep 555" not in await cloud.processes():
                await SystemClock().sleep(0.02)
            client.kill()
            await client.wait()
            while "sleep 555" in await cloud.processes():
                await SystemClock().sleep(0.02)
