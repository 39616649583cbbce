"""kubectl's streams to pods of virtual nodes, by WebSocket and by SPDY, and what `kubectl top` reads."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.argo import ended
from tests.support.pods import CLOCK, PODS, is_running, pod_gone, pod_that, shell_pod

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from provider.kube.client import HttpKubeApi, Json
    from tests.support.argo import Terminal

FOREVER = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
BIG = bytes(range(256)) * 4096  # 1 MiB
BOTH = pytest.mark.parametrize("websockets", ["true", "false"])


def switches(websockets: str) -> dict[str, str]:
    return dict.fromkeys(("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "KUBECTL_PORT_FORWARD_WEBSOCKETS"), websockets)


@asynccontextmanager
async def running(api: HttpKubeApi, name: str, script: str = FOREVER, **container: Any) -> AsyncIterator[Json]:
    await api.create(PODS, shell_pod(name, script, container=container))
    yield await pod_that(api, name, is_running)
    await api.delete(f"{PODS}/{name}")
    await pod_gone(api, name)


@BOTH
async def test_cp(terminal: Terminal, api: HttpKubeApi, websockets: str, tmp_path: Path) -> None:
    name = f"cp-{websockets}"
    async with running(api, name):
        (tmp_path / "tree" / "below").mkdir(parents=True)
        (tmp_path / "tree" / "big").write_bytes(BIG)
        (tmp_path / "tree" / "below" / "small").write_text("small\n")
        await terminal.run("kubectl", "cp", str(tmp_path / "tree"), f"{name}:/tmp/tree", **switches(websockets))
        sums = await terminal.kubectl(
            "exec", name, "--", "sh", "-c", "cat /tmp/tree/below/small; wc -c < /tmp/tree/big"
        )
        assert sums.out.split() == [b"small", str(len(BIG)).encode()]
        await terminal.run("kubectl", "cp", f"{name}:/tmp/tree", str(tmp_path / "back"), **switches(websockets))
        assert (tmp_path / "back" / "big").read_bytes() == BIG
        assert (tmp_path / "back" / "below" / "small").read_text() == "small\n"


@BOTH
async def test_attach_and_the_log_goes_on(terminal: Terminal, api: HttpKubeApi, websockets: str) -> None:
    name = f"attach-{websockets}"
    script = "while read line; do echo heard $line; echo err >&2; done; echo end; " + FOREVER
    async with running(api, name, script, stdin=True, stdinOnce=True):
        pipe = asyncio.subprocess.PIPE
        client = await terminal.start("kubectl", "attach", "-i", name, stdin=pipe, **switches(websockets))
        try:
            assert client.stdin
            assert client.stdout
            async with asyncio.timeout(60):
                client.stdin.write(b"one\n")
                while (line := await client.stdout.readline()) != b"heard one\n":
                    assert line
                client.stdin.write_eof()
                assert await client.stdout.readline() == b"end\n"
        finally:
            await ended(client)
        assert is_running(await api.get(f"{PODS}/{name}"))
        async with asyncio.timeout(20):  # two pipes: no order across, and the log may lag behind the stream
            while sorted((await terminal.kubectl("logs", name)).text.splitlines()) != ["end", "err", "heard one"]:
                await CLOCK.sleep(0.1)


@BOTH
async def test_a_terminal_that_is_attached(terminal: Terminal, api: HttpKubeApi, websockets: str) -> None:
    name = f"attach-tty-{websockets}"
    async with running(api, name, "while read line; do echo heard $line; done", stdin=True, tty=True):
        ours, theirs = pty.openpty()
        client = await terminal.start("kubectl", "attach", "-it", name, stdin=theirs, **switches(websockets))
        try:
            assert client.stdout
            async with asyncio.timeout(60):
                os.write(ours, b"typed\r")
                while b"heard typed" not in await client.stdout.readline():
                    pass
        finally:
            await ended(client)
            os.close(theirs)
            os.close(ours)


@BOTH
async def test_a_shell_in_a_terminal(terminal: Terminal, api: HttpKubeApi, websockets: str) -> None:
    name = f"shell-{websockets}"
    async with running(api, name):
        ours, theirs = pty.openpty()
        client = await terminal.start("kubectl", "exec", "-it", name, "--", "sh", stdin=theirs, **switches(websockets))
        try:
            assert client.stdout
            async with asyncio.timeout(60):
                os.write(ours, b"tty; exit 3\r")
                said = await client.stdout.read()
                assert b"/dev/pts/0" in said
                assert await client.wait() == 3
        finally:
            await ended(client)
            os.close(theirs)
            os.close(ours)


@BOTH
async def test_port_forward_to_the_loopback(terminal: Terminal, api: HttpKubeApi, websockets: str) -> None:
    name = f"forward-{websockets}"
    script = "mkdir /www; echo inside > /www/index.html; exec httpd -f -p 127.0.0.1:8080 -h /www"
    async with running(api, name, script):
        listens = "until grep -q :1F90 /proc/net/tcp; do sleep 0.1; done"
        await terminal.kubectl("exec", name, "--", "sh", "-c", listens)
        client = await terminal.start("kubectl", "port-forward", name, ":8080", **switches(websockets))
        try:
            assert client.stdout
            async with asyncio.timeout(60):
                line = (await client.stdout.readline()).decode()
                found = re.search(r":(\d+) -> 8080", line)
                assert found, line
                for _ in range(3):
                    assert b"inside\n" in await _got(int(found[1]))
        finally:
            await ended(client)


async def _got(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /index.html HTTP/1.0\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer


@BOTH
async def test_a_dropped_exec_leaves_nothing(terminal: Terminal, api: HttpKubeApi, websockets: str) -> None:
    name = f"dropped-{websockets}"
    async with running(api, name):

        async def sleepers() -> int:
            done = await terminal.kubectl("exec", name, "--", "sh", "-c", "ps -o args | grep '^sleep 55[5]' | wc -l")
            return int(done.out)

        script = "sleep 555 & setsid sleep 555 & wait"
        client = await terminal.start("kubectl", "exec", name, "--", "sh", "-c", script, **switches(websockets))
        try:
            async with asyncio.timeout(60):
                while await sleepers() < 2:
                    await CLOCK.sleep(0.1)
        finally:
            await ended(client)
        async with asyncio.timeout(60):
            while await sleepers():
                await CLOCK.sleep(0.1)


async def test_what_a_pod_uses_is_told_through_the_node(terminal: Terminal, api: HttpKubeApi) -> None:
    async with running(api, "busy", "while :; do :; done", resources={"limits": {"memory": "64Mi"}}) as pod:
        path = f"/api/v1/nodes/{pod['spec']['nodeName']}/proxy"

        async def found() -> Json | None:
            summary = json.loads((await terminal.kubectl("get", "--raw", f"{path}/stats/summary")).out)
            mine = [one for one in summary["pods"] if one["podRef"]["name"] == "busy"]
            return mine[0] if mine else None

        async with asyncio.timeout(60):
            while not (told := await found()) or told["cpu"].get("usageNanoCores", 0) < 10**8:
                await CLOCK.sleep(0.5)
        (container,) = told["containers"]
        assert container["name"] == "main"
        assert 0 < container["memory"]["workingSetBytes"] < 64 << 20
        assert told["network"]["name"] == "eth0"
        metrics = (await terminal.kubectl("get", "--raw", f"{path}/metrics/resource")).text
        assert 'container_cpu_usage_seconds_total{container="main",namespace="default",pod="busy"} ' in metrics
        assert metrics.endswith("resource_scrape_error 0")
