"""/exec over both transports, on real sockets, as client-go and browsers drive it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import aiohttp
import pytest

from provider.cloud.backend import ExecRequest
from provider.kubelet.streams import channels as ch
from provider.kubelet.streams.channels import STREAM_TYPE, Channel
from provider.kubelet.streams.spdy import frames as f
from tests.support.spdy_client import SpdyClient

EXEC = "/exec/ns/p/c?command=cat&command=-u&input=1&output=1&error=1"


@pytest.mark.parametrize(
    ("path", "headers", "status", "text"),
    [
        ("/exec/ns/p/c?command=x", {}, 400, "you must specify at least 1 of stdin, stdout, stderr"),
        ("/exec/ns/p/c?output=1", {}, 400, "you must specify the command to run"),
        ("/exec/ns/x/c?command=x&output=1", {}, 404, "pod does not exist"),
        ("/exec/ns/p/w?command=x&output=1", {}, 500, 'container not found ("w")'),
        ("/exec/ns/p/x?command=x&output=1", {}, 500, 'container not found ("x")'),
        ("/exec/ns/p/other-uid/c?command=x&output=1", {}, 500, 'container not found ("c")'),
        (EXEC, {}, 400, "Upgrade request required"),
        (
            EXEC,
            {"Connection": "Upgrade", "Upgrade": "SPDY/3.1"},
            400,
            "unable to upgrade: header X-Stream-Protocol-Version names no protocol",
        ),
        (
            EXEC,
            {"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": "v9"},
            403,
            (
                "unable to upgrade: unable to negotiate protocol: client supports ['v9'], server accepts "
                "[v4.channel.k8s.io v3.channel.k8s.io v2.channel.k8s.io channel.k8s.io]"
            ),
        ),
        (
            EXEC,
            {"Connection": "Upgrade", "Upgrade": "h2c", "X-Stream-Protocol-Version": "v4.channel.k8s.io"},
            400,
            "unable to upgrade: SPDY/3.1 and websocket are spoken here",
        ),
        (
            EXEC,
            {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Protocol": "chat"},
            403,
            "requested protocol(s) are not supported: chat",
        ),
    ],
)
async def test_exec_that_is_refused(listening: Any, path: str, headers: dict[str, str], status: int, text: str) -> None:
    async with listening() as port:
        assert await port.get(path, method="POST", headers=headers) == (status, text)


async def _messages(socket: aiohttp.ClientWebSocketResponse) -> list[Any]:
    return [message.data async for message in socket]


@pytest.mark.parametrize("protocol", [ch.V5, ch.V4, ch.V1, ""])
async def test_exec_over_websocket(listening: Any, cloud: Any, protocol: str) -> None:
    offered = (protocol,) if protocol else ()
    async with listening() as port, aiohttp.ClientSession() as session:
        async with session.ws_connect(port.url + EXEC, ssl=port.admin, protocols=offered) as socket:
            assert socket.protocol == (protocol or None)
            await socket.send_bytes(b"\x00some")
            await socket.send_bytes(b"\x00thing")
            received = b""
            while len(received) < len(b"readysomething"):
                message = await socket.receive_bytes()
                assert message[0] == Channel.STDOUT
                received += message[1:]
            assert received == b"readysomething"
            ((request, command),) = cloud.commands
            assert request == ExecRequest(container="c", command=("cat", "-u"), stdin=True)
            if protocol == ch.V5:
                await socket.send_bytes(b"\xff\x00")
                (status,) = await _messages(socket)
                assert status[0] == Channel.ERROR
                assert json.loads(status[1:])["details"]["causes"][0]["message"] == "9"
                assert socket.close_code == 1000
        await command.closed.wait()


@pytest.mark.parametrize("protocol", [ch.V4_BASE64, ch.V1_BASE64])
async def test_exec_over_websocket_in_base64(listening: Any, cloud: Any, protocol: str) -> None:
    async with listening() as port, aiohttp.ClientSession() as session:
        async with session.ws_connect(port.url + EXEC, ssl=port.admin, protocols=(protocol,)) as socket:
            assert await socket.receive_str() == "1"
            assert await socket.receive_str() == "1cmVhZHk="
            await socket.send_str("0Zm9vCg==")
            assert await socket.receive_str() == "1Zm9vCg=="
            await cloud.commands[0][1].close_stdin()
            (status,) = await _messages(socket)
            assert status[0] == "3"
        await cloud.commands[0][1].closed.wait()


async def test_websocket_pings_are_answered(listening: Any) -> None:
    async with (
        listening() as port,
        aiohttp.ClientSession() as session,
        session.ws_connect(port.url + EXEC, ssl=port.admin, protocols=(ch.V5,), autoping=False) as socket,
    ):
        await socket.ping(b"alive")
        while (message := await socket.receive()).type is not aiohttp.WSMsgType.PONG:
            assert message.type is aiohttp.WSMsgType.BINARY
        assert message.data == b"alive"


async def test_a_broken_close_ends_the_session(listening: Any, cloud: Any) -> None:
    async with listening() as port, aiohttp.ClientSession() as session:
        async with session.ws_connect(port.url + EXEC, ssl=port.admin, protocols=(ch.V5,)) as socket:
            await socket.send_bytes(b"\xff")
            await _messages(socket)
        await cloud.commands[0][1].closed.wait()


ALL = (Channel.ERROR, Channel.STDIN, Channel.STDOUT, Channel.STDERR)


async def test_exec_over_spdy(listening: Any, cloud: Any) -> None:
    async with listening() as port:
        client, answer = await SpdyClient.connect(port, EXEC, ch.V5, ch.V4, ch.V3)
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert b"X-Stream-Protocol-Version: v4.channel.k8s.io\r\n" in answer
        client.open(Channel.ERROR)
        stdin = client.open(Channel.STDIN)
        await client.until(lambda: len(client.replies) == 2)
        client.send(f.Data(stdin, b"early "))
        assert not cloud.commands  # nothing is started before every stream is there
        for channel in (Channel.STDOUT, Channel.STDERR):
            client.open(channel)
        client.send(f.Ping(1))
        client.send(f.Data(stdin, b"bird", fin=True))
        await client.until(lambda: client.ended >= set(client.streams.values()))
        assert client.told(Channel.STDOUT) == b"readyearly bird"
        assert json.loads(client.told(Channel.ERROR))["details"]["causes"][0]["message"] == "10"
        assert client.pings == [1]
        await client.close()
        await cloud.commands[0][1].closed.wait()


async def test_large_data_both_ways_over_spdy(listening: Any, cloud: Any) -> None:
    sent = bytes(range(256)) * 40_000  # 10 MB
    async with listening() as port:
        client, _ = await SpdyClient.connect(port, EXEC, ch.V4)
        for channel in ALL:
            client.open(channel)

        async def write() -> None:
            stdin = client.streams[Channel.STDIN]
            for at in range(0, len(sent), 1 << 15):
                client.send(f.Data(stdin, sent[at : at + (1 << 15)], fin=at + (1 << 15) >= len(sent)))
                await client.writer.drain()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write())
            await client.until(lambda: client.ended >= set(client.streams.values()))
        assert client.told(Channel.STDOUT) == b"ready" + sent
        await client.close()


async def test_streams_that_nobody_asked_for_are_refused(listening: Any, cloud: Any) -> None:
    async with listening() as port:
        client, _ = await SpdyClient.connect(port, EXEC, ch.V4)
        odd = client.open(Channel.CLOSE, "music")
        for channel in ALL:
            client.open(channel)
        twice = client.spdy.next_stream_id()
        client.send(f.SynStream(twice, ((STREAM_TYPE, "stdin"),)))
        await client.until(lambda: len(client.resets) == 2)
        assert client.resets == {odd: f.ResetStatus.REFUSED_STREAM, twice: f.ResetStatus.REFUSED_STREAM}
        await client.close()
        await cloud.commands[0][1].closed.wait()


async def test_a_terminal_over_spdy(listening: Any, cloud: Any) -> None:
    async with listening() as port:
        path = "/exec/ns/p/uid-1/c?command=sh&input=1&output=1&error=1&tty=1"
        client, _ = await SpdyClient.connect(port, path, ch.V4)
        for channel in (Channel.ERROR, Channel.STDIN, Channel.STDOUT, Channel.RESIZE):
            client.open(channel)
        client.send(f.Data(client.streams[Channel.RESIZE], b'{"Width":80,"Height":24}\n'))
        client.send(f.Data(client.streams[Channel.STDIN], b"x"))
        await client.until(lambda: client.told(Channel.STDOUT) == b"readyx")
        request, command = cloud.commands[0]
        assert (request.tty, request.stderr, command.sizes) == (True, False, [(80, 24)])
        client.send(f.RstStream(client.streams[Channel.STDIN], f.ResetStatus.CANCEL))  # ends the input too
        await client.until(lambda: client.streams[Channel.ERROR] in client.ended)
        await client.close()


@pytest.mark.parametrize("how", ["close", "goaway", "garbage"])
async def test_a_spdy_client_that_leaves_ends_the_command(listening: Any, cloud: Any, how: str) -> None:
    async with listening() as port:
        client, _ = await SpdyClient.connect(port, EXEC, ch.V4)
        for channel in ALL:
            client.open(channel)
        await client.until(lambda: client.told(Channel.STDOUT) == b"ready")
        if how == "close":
            await client.close()
        elif how == "goaway":
            client.send(f.GoAway(0))
        else:
            client.writer.write(b"\x80\x02" + bytes(10))
        await cloud.commands[0][1].closed.wait()
        await client.close()


async def test_a_command_that_takes_no_input_holds_the_client_back_and_ends_with_it(listening: Any, cloud: Any) -> None:
    async with listening(rate=100) as port:  # a ping every 0.3 s
        client, _ = await SpdyClient.connect(port, "/exec/ns/p/c?command=x&input=1", ch.V4)
        for channel in (Channel.ERROR, Channel.STDIN):
            client.open(channel)
        await client.until(lambda: len(client.replies) == 2)
        client.writer.transport.set_write_buffer_limits(1 << 16)
        sent = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):  # the command reads four pieces, then no more
                while sent < 64 << 20:
                    client.send(f.Data(client.streams[Channel.STDIN], bytes(1 << 16)))
                    sent += 1 << 16
                    await client.writer.drain()
        assert sent < 64 << 20
        assert not cloud.commands[0][1].closed.is_set()
        client.writer.transport.abort()
        await cloud.commands[0][1].closed.wait()


async def test_streams_must_come_in_time(listening: Any, cloud: Any) -> None:
    async with listening(rate=100) as port:
        client, _ = await SpdyClient.connect(port, EXEC, ch.V4)
        client.open(Channel.ERROR)
        with pytest.raises((ConnectionError, AssertionError)):  # the connection ends without a word, as upstream
            await client.until(lambda: False)
        assert client.replies == {1}
        assert not cloud.commands
        await client.close()


async def test_attach_joins_the_container(listening: Any, cloud: Any) -> None:
    async with listening() as port:
        client, _ = await SpdyClient.connect(port, "/attach/ns/p/c?input=1&output=1&error=1", ch.V4)
        for channel in ALL:
            client.open(channel)
        client.send(f.Data(client.streams[Channel.STDIN], b"hello", fin=True))
        await client.until(lambda: client.ended >= set(client.streams.values()))
        assert client.told(Channel.STDOUT) == b"readyhello"
        assert json.loads(client.told(Channel.ERROR))["status"] == "Success"
        await client.close()
        request, session = cloud.attached[0]
        assert (request.container, request.stdin, request.tty) == ("c", True, False)
        await session.closed.wait()


async def test_attach_over_websocket_with_a_terminal(listening: Any, cloud: Any) -> None:
    path = "/attach/ns/p/uid-1/c?input=1&output=1&tty=1"
    async with (
        listening() as port,
        aiohttp.ClientSession() as session,
        session.ws_connect(port.url + path, ssl=port.admin, protocols=(ch.V5,)) as socket,
    ):
        await socket.send_bytes(b"\x04" + b'{"Width":7,"Height":5}')
        await socket.send_bytes(b"\x00typed")
        await socket.send_bytes(b"\xff\x00")
        out = b"".join([data[1:] for data in await _messages(socket) if data[0] == Channel.STDOUT])
        assert out == b"readytyped"
        assert cloud.attached[0][1].sizes == [(7, 5)]


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/attach/ns/p/c", 400, "you must specify at least 1 of stdin, stdout, stderr"),
        ("/attach/ns/p/w?output=1", 500, 'container not found ("w")'),
        ("/attach/ns/x/c?output=1", 404, "pod does not exist"),
        ("/attach/ns/p/c?output=1", 400, "Upgrade request required"),
    ],
)
async def test_attach_that_is_refused(listening: Any, path: str, status: int, text: str) -> None:
    async with listening() as port:
        assert await port.get(path, method="POST") == (status, text)
