"""kubectl through a real API server and our port to a container of the real engine, which has no network."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import termios
import uuid
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from provider.clock import SystemClock
from provider.cloud.port_connection import SocketConnection, open_connection
from provider.cloud.refusals import RefusingExec, as_cloud_errors
from provider.cloud.runtime.docker_engine.attach_session import start_attach
from provider.cloud.runtime.docker_engine.client import open_client
from provider.cloud.runtime.docker_engine.engine import Engine
from provider.cloud.runtime.docker_engine.exec_session import start_exec
from provider.cloud.runtime.docker_engine.inside import connect_inside
from provider.cloud.runtime.docker_engine.logs import read_logs
from provider.model.ids import InstanceId, PodUid, ZoneId
from provider.model.instance import ContainerPhase, ContainerState, ContainerStatus, Instance

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncGenerator, AsyncIterator

    from aiodocker import Docker

    from provider.cloud.backend import AttachRequest, ExecRequest, LogOptions

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

    async def attach(self, uid: PodUid, request: AttachRequest) -> RefusingExec:
        with as_cloud_errors():
            return RefusingExec(await start_attach(Engine(self.client, ""), self.container, request))

    async def connect_inside(self, uid: PodUid, port: int, seconds: float) -> socket.socket:
        return await connect_inside(Engine(self.client, ""), self.container, port, seconds)

    async def forward(self, uid: PodUid, port: int) -> SocketConnection:
        return await open_connection(self, uid, port)  # type: ignore[arg-type]

    async def processes(self) -> str:
        listed = await self.client.containers.container(self.container).top(ps_args="axo pid,args")
        return "\n".join(row[-1] for row in listed["Processes"])


@asynccontextmanager
async def running(script: str, **more: Any) -> AsyncIterator[DockerCloud]:
    async with open_client("unix:///var/run/docker.sock") as client:
        config = {
            "Image": "busybox:latest",
            "Cmd": ["sh", "-c", script],
            "NetworkDisabled": True,
            "HostConfig": {"NetworkMode": "none"},
            **more,
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
        script = "sleep 555 & setsid sleep 556 & sleep 557; true"
        client = await node.start("exec", "p", "--", "sh", "-c", script, websockets=websockets)
        async with asyncio.timeout(60):
            while (await cloud.processes()).count("sleep 55") < 6:  # the words of the shell hold three
                await SystemClock().sleep(0.02)
            client.kill()
            await client.wait()
            while "sleep 55" in await cloud.processes():
                await SystemClock().sleep(0.02)


@pytest.mark.parametrize("way", ["spdy", "translated", "straight"])
async def test_forwarding_a_port(on_node: Any, way: str) -> None:
    features = ("ExtendWebSocketsToKubelet",) if way == "straight" else ()
    script = "nc -ll -p 8080 -e cat"
    async with running(script) as cloud, on_node(f"docker-port-{way}", *features, cloud=cloud) as node:
        client = await node.start("port-forward", "p", ":8080", ":81", websockets=way != "spdy")
        async with asyncio.timeout(60):
            numbers = {}
            while len(numbers) < 2:
                line = (await client.stdout.readline()).decode()
                assert line, await client.stderr.read()
                if found := re.fullmatch(r"Forwarding from 127\.0\.0\.1:(\d+) -> (\d+)\n", line):
                    numbers[found[2]] = int(found[1])
            await asyncio.gather(*(_echoed(numbers["8080"], BIG[: 1 << 20]) for _ in range(3)))
            reader, writer = await asyncio.open_connection("127.0.0.1", numbers["81"])
            assert await reader.read() == b""
            writer.close()
            said = b""
            while b"connection refused" not in said:
                line = await client.stderr.readline()
                assert line, said
                said += line
            assert b"error forwarding port 81 to pod p, uid " in said
        if client.returncode is None:
            client.terminate()
        await client.communicate()


async def _echoed(number: int, data: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", number)
    try:
        writer.write(data)
        assert await reader.readexactly(len(data)) == data
    finally:
        writer.close()


@WAYS
async def test_attaching_to_a_container(on_node: Any, websockets: bool) -> None:
    script = "while read line; do echo heard $line; echo err >&2; done; echo end; exec sleep 600"
    more = {"OpenStdin": True, "StdinOnce": True}
    name = f"docker-attach-{websockets}".lower()
    async with running(script, **more) as cloud, on_node(name, cloud=cloud) as node:
        client = await node.start("attach", "-i", "p", websockets=websockets)
        async with asyncio.timeout(60):
            client.stdin.write(b"one\n")
            while (line := await client.stdout.readline()) != b"heard one\n":
                assert line, await client.stderr.read()
            client.stdin.write(b"two\n")
            client.stdin.close()
            assert await client.stdout.readline() == b"heard two\n"
            assert await client.stdout.readline() == b"end\n"
        client.kill()
        await client.communicate()
        assert "sleep 600" in await cloud.processes()
        assert (await node.kubectl("logs", "p", "--tail=1"))[1] == b"end\n"


@WAYS
async def test_a_terminal_in_a_container(on_node: Any, websockets: bool) -> None:
    name = f"docker-tty-{websockets}".lower()
    async with running("sleep 600") as cloud, on_node(name, cloud=cloud) as node:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 101, 0, 0))
        client = await node.start(
            "exec", "-it", "p", "--", "sh", websockets=websockets, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        os.set_blocking(ours, False)
        said = b""

        async def until(text: bytes) -> None:
            nonlocal said
            while text not in said:
                try:
                    said += os.read(ours, 4096)
                except BlockingIOError:
                    await SystemClock().sleep(0.02)

        async with asyncio.timeout(60):
            os.write(ours, b"until stty size | grep -q 33.101; do :; done; echo si''ze\n")
            await until(b"size\r\n")
            fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 44, 55, 0, 0))
            os.kill(client.pid, signal.SIGWINCH)
            os.write(ours, b"until stty size | grep -q 44.55; do :; done; echo aga''in\n")
            await until(b"again\r\n")
            os.write(ours, b"exit 3\n")
            assert await client.wait() == 3
        os.close(ours)
