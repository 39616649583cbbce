"""kubectl of the same release, through a real API server, to a kubelet port of this project."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import pty
import ssl
import tempfile
import time
from typing import Any

import aiohttp
import pytest
import yaml
from yarl import URL

pytestmark = [pytest.mark.integration, pytest.mark.slow]

BIG = bytes(range(256)) * 40_960  # 10 MiB
WEBSOCKET_FEATURE = "ExtendWebSocketsToKubelet"


async def test_logs(on_node: Any) -> None:
    async with on_node("logs") as node:
        now = time.time()  # noqa: TID251 - kubectl's clock
        node.cloud.lines = [(now - 3600, b"one\n"), (now, b"two\n"), (now, b"three\n")]
        node.cloud.previous = [(now - 9000, b"before\n")]
        every = b"one\ntwo\nthree\n"
        assert await node.kubectl("logs", "p") == (0, every, "")
        assert await node.kubectl("logs", "p", "-c", "main", "--tail=2") == (0, b"two\nthree\n", "")
        assert await node.kubectl("logs", "p", "--tail=0") == (0, b"", "")
        assert await node.kubectl("logs", "p", "--since=60s") == (0, b"two\nthree\n", "")
        assert await node.kubectl("logs", "p", "--since-time=2020-01-01T00:00:00Z") == (0, every, "")
        assert await node.kubectl("logs", "p", "--limit-bytes=5") == (0, b"one\nt", "")
        assert (await node.kubectl("logs", "p", "--timestamps", "--tail=1"))[1] == b"%.3f three\n" % now
        code, _, text = await node.kubectl("logs", "p", "--previous")
        assert (code, text) == (
            1,
            'Error from server (BadRequest): previous terminated container "main" in pod "p" not found\n',
        )
        await node.set_status({"containerStatuses": [_status({"running": {}}, _ended())]})
        assert await node.kubectl("logs", "p", "--previous") == (0, b"before\n", "")


async def test_logs_of_a_container_that_waits(on_node: Any) -> None:
    async with on_node("waits") as node:
        for reason, text in (
            ("ContainerCreating", "ContainerCreating"),
            ("ImagePullBackOff", "trying and failing to pull image"),
        ):
            await node.set_status({"containerStatuses": [_status({"running": None, "waiting": {"reason": reason}})]})
            assert await node.kubectl("logs", "p") == (
                1,
                b"",
                f'Error from server (BadRequest): container "main" in pod "p" is waiting to start: {text}\n',
            )


async def test_following_logs(on_node: Any) -> None:
    async with on_node("follow") as node:
        process = await node.start("logs", "-f", "p")
        async with asyncio.timeout(30):
            await node.cloud.write_log(b"one\n", 0)
            assert await process.stdout.readline() == b"one\n"
            await node.cloud.write_log(b"two\n", 0)
            assert await process.stdout.readline() == b"two\n"
            assert node.cloud.followers == 1
            await node.cloud.end_log()
            assert await process.wait() == 0
        assert node.cloud.followers == 0


async def test_a_follower_that_is_interrupted_is_noticed(on_node: Any) -> None:
    async with on_node("interrupted") as node:
        process = await node.start("logs", "-f", "p")
        async with asyncio.timeout(30):
            await _until(lambda: node.cloud.followers == 1)
            process.terminate()
            await process.wait()
            await _until(lambda: node.cloud.followers == 0)


@pytest.fixture(params=["spdy", "websocket-translated", "websocket-straight"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _features(way: str) -> tuple[str, ...]:
    return (WEBSOCKET_FEATURE,) if way == "websocket-straight" else ()


async def test_exec(on_node: Any, way: str) -> None:
    websockets = way != "spdy"
    async with on_node(f"exec-{way}", *_features(way)) as node:

        async def run(*arguments: str, stdin: bytes = b"") -> tuple[int, bytes, str]:
            result: tuple[int, bytes, str] = await node.kubectl("exec", *arguments, stdin=stdin, websockets=websockets)
            return result

        assert await run("p", "--", "echo", "hello  world") == (0, b"hello  world\n", "")
        assert await run("p", "-c", "main", "--", "sh", "-c", "echo out; echo err >&2") == (0, b"out\n", "err\n")
        code, _, text = await run("p", "--", "sh", "-c", "exit 42")
        assert (code, text) == (42, "command terminated with exit code 42\n")
        assert await run("-i", "p", "--", "cat", stdin=b"from here") == (0, b"from here", "")
        code, out, text = await run("-i", "p", "--", "true", stdin=BIG)  # a command that reads none of it
        assert (code, out) == (0, b"")
        assert all("Copying stdin failed" in line for line in text.splitlines())  # client-go may say so, or not
        code, _, text = await run("p", "--", "nothing-of-that-name")
        assert code == 1
        assert "error executing command in container: no such program: nothing-of-that-name" in text
        async with asyncio.timeout(10):
            for command in node.cloud.commands:
                await command.closed.wait()


async def test_ten_megabytes_each_way(on_node: Any, way: str) -> None:
    async with on_node(f"big-{way}", *_features(way)) as node:
        began = time.monotonic()  # noqa: TID251
        code, out, text = await node.kubectl("exec", "-i", "p", "--", "cat", stdin=BIG, websockets=way != "spdy")
        print(f"{way}: 10 MiB each way in {time.monotonic() - began:.2f} s")  # noqa: T201, TID251
        assert (code, text) == (0, "")
        assert hashlib.sha256(out).digest() == hashlib.sha256(BIG).digest()


async def test_a_client_that_is_killed_ends_its_command(on_node: Any, way: str) -> None:
    async with on_node(f"killed-{way}", *_features(way)) as node:
        process = await node.start("exec", "p", "--", "sleep", "600", websockets=way != "spdy")
        async with asyncio.timeout(30):
            await _until(lambda: node.cloud.commands)
            assert node.cloud.commands[0].process.returncode is None
            process.kill()
            await process.wait()
            await node.cloud.commands[0].closed.wait()
        assert node.cloud.commands[0].process.returncode == -9


async def test_a_terminal_with_its_size(on_node: Any, way: str) -> None:
    async with on_node(f"tty-{way}", *_features(way)) as node:
        ours, theirs = pty.openpty()
        os.set_blocking(ours, False)
        import fcntl
        import struct
        import termios

        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 101, 0, 0))
        process = await node.start(
            "exec", "-it", "p", "--", "cat", websockets=way != "spdy", stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        async with asyncio.timeout(30):
            await _until(lambda: node.cloud.commands and node.cloud.commands[0].sizes)
            assert node.cloud.commands[0].sizes[0] == (101, 33)
            os.write(ours, b"typed")
            await _until(lambda: b"typed" in _read(ours))
            process.terminate()
            await process.wait()
            await node.cloud.commands[0].closed.wait()
        os.close(ours)


async def test_what_is_refused(on_node: Any) -> None:
    async with on_node("refused") as node:
        node.pods.clear()
        assert "pod does not exist" in (await node.kubectl("exec", "p", "--", "true"))[2]
        assert "NotFound" in (await node.kubectl("logs", "p"))[2]


async def test_the_node_proxy_and_who_may_use_it(on_node: Any) -> None:
    async with on_node("proxy") as node:
        assert await node.kubectl("get", "--raw", "/api/v1/nodes/proxy/proxy/healthz") == (0, b"ok", "")
        code, out, _ = await node.kubectl("get", "--raw", "/api/v1/nodes/proxy/proxy/runningpods/")
        assert (code, b'"name":"main"' in out) == (0, True)
        code, out, _ = await node.kubectl("get", "--raw", "/api/v1/nodes/proxy/proxy/pods")
        assert (code, b'"phase":"Running"' in out) == (0, True)


async def test_service_accounts_on_the_port_itself(on_node: Any) -> None:
    """TokenReview and SubjectAccessReview with the provider's own role, as a metrics scraper meets them."""
    async with on_node("direct") as node, aiohttp.ClientSession() as session:

        async def token(name: str) -> dict[str, str]:
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
            await node.api.create("/api/v1/namespaces/direct/serviceaccounts", account)
            request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
            path = f"/api/v1/namespaces/direct/serviceaccounts/{name}/token"
            return {"Authorization": "Bearer " + (await node.api.create(path, request))["status"]["token"]}

        async def get(path: str, headers: dict[str, str]) -> tuple[int, str]:
            async with session.get(node.port + path, headers=headers, ssl=False) as response:
                return response.status, await response.text()

        nobody, viewer = await token("nobody"), await token("viewer")
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "viewer"}}
        rule = {"apiGroups": [""], "resources": ["nodes/pods"], "verbs": ["get"]}
        await node.api.create("/apis/rbac.authorization.k8s.io/v1/clusterroles", {**role, "rules": [rule]})
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "viewer"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "viewer"},
            "subjects": [{"kind": "ServiceAccount", "name": "viewer", "namespace": "direct"}],
        }
        await node.api.create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
        forbidden = "Forbidden (user=system:serviceaccount:direct:{}, verb=get, resource=nodes, subresource(s)=[{}])\n"
        assert await get("/pods", {}) == (401, "Unauthorized")
        assert await get("/pods", {"Authorization": "Bearer x.y.z"}) == (401, "Unauthorized")
        assert await get("/pods", nobody) == (403, forbidden.format("nobody", "pods proxy"))
        assert (await get("/pods", viewer))[0] == 200
        assert await get("/containerLogs/direct/p/main", viewer) == (403, forbidden.format("viewer", "proxy"))


@pytest.mark.parametrize("protocol", ["v4.channel.k8s.io", "channel.k8s.io", "v4.base64.channel.k8s.io"])
async def test_older_websocket_clients(on_node: Any, protocol: str) -> None:
    """What the Python and JavaScript clients speak; the API server hands it on as it is."""
    async with (
        on_node("older-" + protocol.split(".", maxsplit=1)[0] + str(len(protocol))) as node,
        aiohttp.ClientSession() as session,
    ):
        config = yaml.safe_load(node.kubeconfig.read_text())
        server = config["clusters"][0]["cluster"]["server"]
        user = config["users"][0]["user"]
        context = ssl.create_default_context(
            cadata=base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
        )
        with tempfile.NamedTemporaryFile() as pair:
            pair.write(base64.b64decode(user["client-certificate-data"]))
            pair.write(base64.b64decode(user["client-key-data"]))
            pair.flush()
            context.load_cert_chain(pair.name)
        command = [("command", word) for word in ("sh", "-c", "read x && echo $x && exit 3")]
        streams = [(name, "true") for name in ("stdin", "stdout", "stderr")]
        url = URL(f"{server}/api/v1/namespaces/{node.name}/pods/p/exec").with_query(command + streams)
        out = status = b""
        async with session.ws_connect(url, ssl=context, protocols=(protocol,)) as socket:
            assert socket.protocol == protocol
            text = "base64" in protocol
            await (socket.send_str("0aGkK") if text else socket.send_bytes(b"\x00hi\n"))
            async for message in socket:
                data = bytes((int(message.data[0]),)) + base64.b64decode(message.data[1:]) if text else message.data
                out += data[1:] if data[0] == 1 else b""
                status += data[1:] if data[0] == 3 else b""
        assert out == b"hi\n"
        assert b"3" in status


def _status(state: dict[str, Any], last: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "name": "main", "image": "busybox", "imageID": "", "ready": False, "restartCount": 1,
        "containerID": "docker://1", "state": state, "lastState": last or {},
    }  # fmt: skip


def _ended() -> dict[str, Any]:
    return {"terminated": {"exitCode": 1, "containerID": "docker://0"}}


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 4096)
    except OSError:
        return b""


async def _until(condition: Any) -> None:
    from provider.clock import SystemClock

    while not condition():
        await SystemClock().sleep(0.01)
