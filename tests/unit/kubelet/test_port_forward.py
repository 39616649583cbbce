"""/portForward over its three transports, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from multidict import MultiDict

from provider.clock import SystemClock
from provider.kubelet.forwarding import MOST_WAITING, Inbox, Room
from provider.kubelet.negotiation import Refused
from provider.kubelet.port_forward import asked_ports
from provider.kubelet.streams import channels as ch
from provider.kubelet.streams.channels import STREAM_TYPE
from provider.kubelet.streams.spdy import frames as f
from provider.kubelet.streams.spdy_forward import MOST_PAIRS
from provider.kubelet.streams.tunnel import TUNNEL_PROTOCOL
from tests.support.spdy_client import SpdyClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

from contextlib import asynccontextmanager

PATH = "/portForward/ns/p"
V1 = "portforward.k8s.io"


class TunnelClient(SpdyClient):
    """SPDY inside the binary messages of a WebSocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        super().__init__(None, None)  # type: ignore[arg-type]
        self.socket = socket
        self.pending: list[bytes] = []

    def send(self, frame: f.Frame) -> None:
        self.pending.append(self.spdy.send(frame))

    async def receive(self) -> bytes:
        for data in self.pending:
            for at in range(0, len(data), 5):  # messages have no meaning of their own
                await self.socket.send_bytes(data[at : at + 5])
        self.pending.clear()
        message = await self.socket.receive()
        return message.data if message.type is aiohttp.WSMsgType.BINARY else b""

    async def close(self) -> None:
        await self.socket.close()


@asynccontextmanager
async def over_spdy(port: Any) -> AsyncIterator[SpdyClient]:
    client, answer = await SpdyClient.connect(port, PATH, V1)
    assert answer.startswith(b"HTTP/1.1 101 ")
    yield client
    await client.close()


@asynccontextmanager
async def over_tunnel(port: Any) -> AsyncIterator[SpdyClient]:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(port.url + PATH, ssl=port.admin, protocols=(TUNNEL_PROTOCOL,)) as socket,
    ):
        assert socket.protocol == TUNNEL_PROTOCOL
        yield TunnelClient(socket)


WAYS = pytest.mark.parametrize("way", [over_spdy, over_tunnel])
Way = "Callable[[Any], AbstractAsyncContextManager[SpdyClient]]"


def begin(client: SpdyClient, number: int, request: str) -> tuple[int, int]:
    """Open the streams of one connection as client-go does: error first, without input."""
    headers = (("port", str(number)), ("requestid", request))
    error = client.open_with((STREAM_TYPE, "error"), *headers)
    client.send(f.Data(error, fin=True))
    return error, client.open_with((STREAM_TYPE, "data"), *headers)


@WAYS
async def test_connections_share_one_upgrade(listening: Any, cloud: Any, way: Way) -> None:
    async with listening() as port, way(port) as client:
        first, second = begin(client, 1001, "0"), begin(client, 1002, "1")
        await client.until(lambda: len(client.replies) == 4)
        client.send(f.Data(second[1], b"two"))
        client.send(f.Data(first[1], b"one"))
        await client.until(lambda: len(client.data) == 2)
        assert [client.data[first[1]], client.data[second[1]]] == [b"one", b"two"]
        client.send(f.Data(first[1], fin=True))
        await client.until(lambda: client.ended >= set(first))
        assert client.data[first[1]] == b"oneend"
        assert [number for number, _ in cloud.ports] == [1001, 1002]
        await cloud.ports[0][1].closed.wait()
        assert not cloud.ports[1][1].closed.is_set()
        await client.close()
        await cloud.ports[1][1].closed.wait()


@WAYS
async def test_a_port_without_a_listener_is_told_on_the_error_stream(listening: Any, way: Way) -> None:
    async with listening() as port, way(port) as client:
        error, data = begin(client, 80, "0")
        await client.until(lambda: error in client.ended and data in client.resets)
        assert client.data[error].decode() == (
            "error forwarding port 80 to pod p, uid uid-1: "
            "failed to connect to localhost:80 inside the instance: connection refused"
        )
        again = begin(client, 1000, "1")  # the connection goes on
        client.send(f.Data(again[1], b"x"))
        await client.until(lambda: client.data.get(again[1]) == b"x")


async def test_what_comes_for_a_connection_that_is_over_is_dropped(listening: Any, cloud: Any) -> None:
    async with listening() as port, over_spdy(port) as client:
        error, data = begin(client, 2000, "0")
        client.send(f.Data(data, b"x"))
        await client.until(lambda: {error, data} <= client.ended)
        for _ in range(200):
            client.send(f.Data(data, bytes(1 << 15)))
        client.send(f.Ping(1))
        await client.until(lambda: client.pings == [1])
        assert cloud.ports[0][1].closed.is_set()


async def test_a_client_that_gives_one_up_keeps_the_others(listening: Any, cloud: Any) -> None:
    async with listening() as port, over_spdy(port) as client:
        first, second = begin(client, 1001, "0"), begin(client, 1002, "1")
        await client.until(lambda: len(client.replies) == 4)
        client.send(f.RstStream(first[1], f.ResetStatus.CANCEL))
        client.send(f.Data(second[1], b"x"))
        await client.until(lambda: client.data.get(second[1]) == b"x")
        await cloud.ports[0][1].closed.wait()


@pytest.mark.parametrize(
    "headers",
    [
        {"port": "80"},
        {STREAM_TYPE: "data"},
        {STREAM_TYPE: "music", "port": "80"},
        {STREAM_TYPE: "data", "port": "0"},
        {STREAM_TYPE: "data", "port": "65536"},
        {STREAM_TYPE: "data", "port": "6553600000000"},
        {STREAM_TYPE: "data", "port": "\u00b2"},
        {STREAM_TYPE: "data", "port": "-1"},
        {STREAM_TYPE: "data", "port": "0655350"},
    ],
)
async def test_streams_that_say_too_little_are_refused(listening: Any, headers: dict[str, str]) -> None:
    async with listening() as port, over_spdy(port) as client:
        stream = client.open_with(*headers.items())
        await client.until(lambda: stream in client.resets)
        assert client.resets[stream] == f.ResetStatus.REFUSED_STREAM


async def test_a_second_stream_of_a_kind_is_refused(listening: Any) -> None:
    async with listening() as port, over_spdy(port) as client:
        begin(client, 1000, "0")
        twice = client.open_with((STREAM_TYPE, "data"), ("port", "1000"), ("requestid", "0"))
        await client.until(lambda: twice in client.resets)


async def test_clients_without_request_ids(listening: Any, cloud: Any) -> None:
    async with listening() as port, over_spdy(port) as client:
        client.open_with((STREAM_TYPE, "error"), ("port", "1001"))
        data = client.open_with((STREAM_TYPE, "data"), ("port", "1001"))
        client.send(f.Data(data, b"old"))
        await client.until(lambda: client.data.get(data) == b"old")


async def test_a_pair_must_be_complete_in_time(listening: Any, cloud: Any) -> None:
    async with listening(rate=100) as port, over_spdy(port) as client:
        error = client.open_with((STREAM_TYPE, "error"), ("port", "1001"), ("requestid", "9"))
        await client.until(lambda: error in client.ended)
        assert client.data[error] == b"request 9: timed out waiting for streams: 30 s"
        assert not cloud.ports


async def test_too_many_connections_are_refused(listening: Any) -> None:
    async with listening() as port, over_spdy(port) as client:
        for number in range(MOST_PAIRS + 1):
            client.open_with((STREAM_TYPE, "error"), ("port", "1001"), ("requestid", str(number)))
        await client.until(lambda: len(client.replies) + len(client.resets) == MOST_PAIRS + 1)
        assert len(client.resets) == 1


@pytest.mark.parametrize("protocol", [ch.V4, ch.V4_BASE64, ""])
async def test_ports_of_the_query_over_channels(listening: Any, cloud: Any, protocol: str) -> None:
    def decoded(message: Any) -> bytes:
        text = protocol == ch.V4_BASE64
        return bytes((ord(message[0]) - 48,)) + b64decode(message[1:]) if text else bytes(message)

    async def send(channel: int, data: bytes) -> None:
        if protocol == ch.V4_BASE64:
            await socket.send_str(chr(48 + channel) + b64encode(data).decode())
        else:
            await socket.send_bytes(bytes((channel,)) + data)

    path = PATH + "?port=2000,80&port=1002"
    protocols = (protocol,) if protocol else ()
    async with (
        listening() as port,
        aiohttp.ClientSession() as session,
        session.ws_connect(port.url + path, ssl=port.admin, protocols=protocols) as socket,
    ):
        named = {decoded((await socket.receive()).data) for _ in range(6)}
        little = {2000: b"\xd0\x07", 80: b"P\0", 1002: b"\xea\x03"}
        assert named == {bytes((2 * at + odd,)) + each for at, each in enumerate(little.values()) for odd in (0, 1)}
        refused = decoded((await socket.receive()).data)
        assert (refused[0], refused[1:20]) == (3, b"error forwarding po")
        await send(0, b"one")
        assert decoded((await socket.receive()).data) == b"\0one"
        for _ in range(100):
            await send(0, b"nobody reads this any more")
        await send(4, b"two")
        assert decoded((await socket.receive()).data) == b"\x04two"
        await socket.close()
        for _, made in cloud.ports:
            await made.closed.wait()


async def test_the_socket_ends_with_the_last_forward(listening: Any) -> None:
    async with (
        listening() as port,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{port.url}{PATH}?port=2000", ssl=port.admin, protocols=(ch.V4,)) as socket,
    ):
        await socket.send_bytes(b"\0x")
        said = [message.data async for message in socket]
        assert said[2:] == [b"\0x"]
        assert socket.close_code == 1000


@pytest.mark.parametrize(
    ("path", "headers", "status", "text"),
    [
        ("/portForward/ns/x", {}, 404, "pod does not exist"),
        ("/portForward/ns/p/other", {}, 404, "pod not found"),
        (PATH, {}, 400, "Upgrade request required"),
        (
            PATH,
            {"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": "v4.channel.k8s.io"},
            403,
            (
                "unable to upgrade: unable to negotiate protocol: client supports ['v4.channel.k8s.io'], "
                "server accepts [portforward.k8s.io]"
            ),
        ),
        (
            f"{PATH}?port=80",
            {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Protocol": "chat"},
            403,
            "requested protocol(s) are not supported: chat",
        ),
        (
            PATH,
            {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Protocol": ch.V4},
            400,
            'query parameter "port" is required',
        ),
    ],
)
async def test_what_is_refused(listening: Any, path: str, headers: dict[str, str], status: int, text: str) -> None:
    async with listening() as port:
        assert await port.get(path, method="POST", headers=headers) == (status, text)


@pytest.mark.parametrize("given", ["", "0", "x", "80,", "65536", "1,0", "99999999999", "-1", "8 0", "\u0663"])
def test_ports_that_are_none(given: str) -> None:
    with pytest.raises(Refused) as refused:
        asked_ports(MultiDict(port=given))
    assert refused.value.status == 400


def test_more_ports_than_channels() -> None:
    assert len(asked_ports(MultiDict(port=",".join(["80"] * 39)))) == 39
    with pytest.raises(Refused, match="40 ports"):
        asked_ports(MultiDict(port=",".join(["80"] * 40)))


async def test_a_client_that_shows_no_life_is_left(listening: Any, cloud: Any) -> None:
    async with listening(rate=50_000) as port, over_spdy(port) as client:  # four hours in 0.3 s
        await client.until(lambda: 2 in client.pings)
        while await asyncio.wait_for(client.reader.read(1 << 16), 20):  # its pings are not answered
            pass


async def test_room_is_for_all_forwards_of_a_connection_together() -> None:
    room = Room()
    slow, quick = Inbox(room), Inbox(room)
    await slow.put(bytes(MOST_WAITING - 1))
    await quick.put(bytes(1 << 20))  # any piece comes through as long as there is room
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(quick.put(b"x"))
        late = tasks.create_task(slow.put(b"y"))
        await SystemClock().sleep(0)
        assert not waiting.done()
        assert len(await quick.get() or b"") == 1 << 20
        await waiting
        assert not late.done()
        await slow.get()
        await late
    assert await quick.get() == b"x"
    await slow.put(None)
    slow.close()
    await slow.put(bytes(2 * MOST_WAITING))  # dropped: it waits for nobody
    await quick.put(bytes(MOST_WAITING))
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(quick.put(b"z"))
        await SystemClock().sleep(0)
        assert not waiting.done()
        quick.close()
    assert room._waiting == 0


async def test_a_pod_that_does_not_read_holds_its_client_back(listening: Any, cloud: Any) -> None:
    async with listening(rate=100) as port, over_spdy(port) as client:  # a ping every 0.3 s
        _, data = begin(client, 3000, "0")
        await client.until(lambda: len(client.replies) == 2)
        client.writer.transport.set_write_buffer_limits(1 << 16)
        sent = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                while sent < 64 << 20:
                    client.send(f.Data(data, bytes(1 << 16)))
                    sent += 1 << 16
                    await client.writer.drain()
        assert MOST_WAITING <= sent < 64 << 20
        client.writer.transport.abort()
        await cloud.ports[0][1].closed.wait()
