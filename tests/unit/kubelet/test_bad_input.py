"""What a broken or hostile client gets from the port: a status code or a clean close, never a traceback or a hang."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provider.clock import SystemClock
from provider.cloud.backend import ExecRequest
from provider.kubelet.exec import _wanted
from provider.kubelet.sessions import run_session
from provider.kubelet.streams.channels import STREAM_TYPE, V4, ChannelError
from provider.kubelet.streams.spdy import frames as f
from provider.kubelet.streams.spdy.connection import SpdyConnection
from provider.kubelet.streams.spdy.errors import LocalProtocolError
from provider.kubelet.streams.spdy_exec import SpdyChannels, wanted_channels
from provider.kubelet.streams.spdy_forward import SpdyForwarder
from tests.support.spdy_client import SpdyClient
from tests.unit.kubelet.conftest import Cat, EchoPort

if TYPE_CHECKING:
    from collections.abc import Iterator

EXEC = "/exec/ns/p/c?command=cat&input=1&output=1&error=1"
ATTACH = "/attach/ns/p/c?input=1&output=1"
FORWARD = "/portForward/ns/p?port=1000"
TUNNEL = "SPDY/3.1+portforward.k8s.io"
UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
KEY = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"


@pytest.fixture(autouse=True)
def no_traceback(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever comes in, nothing here is a bug that aiohttp has to log."""
    yield
    assert [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR] == []


async def answer(port: Any, sent: bytes, *, close: bool = False) -> bytes:
    """Send bytes on a connection of their own, and return everything that comes until the port closes it."""
    reader, writer = await asyncio.open_connection(port.host, port.port, ssl=port.admin)
    try:
        with contextlib.suppress(ConnectionError):
            for at in range(0, len(sent), 1 << 16):
                writer.write(sent[at : at + (1 << 16)])
                await writer.drain()
        if close:
            return b""
        said = b""
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(1 << 16):
                said += piece
        return said
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def request(path: str, *headers: str, method: str = "GET") -> bytes:
    return (f"{method} {path} HTTP/1.1\r\nHost: x\r\n" + "".join(headers) + "\r\n").encode()


@pytest.mark.parametrize("path", [EXEC, ATTACH, FORWARD])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ((UPGRADE,), 400),
        ((UPGRADE, "Sec-WebSocket-Version: 13\r\n"), 400),
        ((UPGRADE, KEY.replace("13", "5")), 400),
        ((UPGRADE, KEY.replace("AAAA==", "A")), 400),
        ((UPGRADE, KEY, "Sec-WebSocket-Protocol: chat, superchat\r\n"), 403),
        (("Connection: Upgrade\r\n",), 400),
        (("Connection: Upgrade\r\nUpgrade: SPDY/2\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n",), (400, 403)),
        (("Upgrade: websocket\r\n", KEY), 400),
        (("Connection: keep-alive\r\n",), 400),
    ],
)
async def test_broken_upgrades(listening: Any, path: str, headers: tuple[str, ...], status: int | tuple[int]) -> None:
    async with listening() as port:
        said = await answer(port, request(path, *headers, "Connection: close\r\n"))
        wanted = status if isinstance(status, tuple) else (status,)
        assert int(said.split(b" ")[1]) in wanted, said
        assert b"Traceback" not in said


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01 this is no HTTP\r\n\r\n",
        b"\0" * 4096,
        b"GET /pods HTTP/9.9\r\n\r\n",
        b"BREW /pods HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /pods HTTP/1.1\r\nHost x\r\n\r\n",
        b"GET /pods HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /pods HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * (2 << 20) + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /pods HTTP/1.1\r\nHost: x\r\nX: " + b"a" * (2 << 20) + b"\r\n\r\n",
    ],
)
async def test_what_is_no_request(listening: Any, sent: bytes) -> None:
    async with listening() as port:
        said = await answer(port, sent)
        assert said.startswith((b"HTTP/1.0 400 ", b"HTTP/1.1 400 ")), said[:200]
        assert b"Traceback" not in said
        assert (await port.get("/healthz"))[1] == "ok"


async def test_a_request_that_is_cut_off_leaves_nothing(listening: Any) -> None:
    async with listening() as port:
        whole = request(EXEC, UPGRADE, KEY, "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n")
        for cut in (1, 20, len(whole) - 2):
            await answer(port, whole[:cut], close=True)
        assert (await port.get("/healthz"))[1] == "ok"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/", 404),
        ("GET", "/exec", 404),
        ("GET", "/exec/ns", 404),
        ("GET", "/exec/ns/p", 404),
        ("GET", "/exec/ns/p/uid-1/c/more", 404),
        ("PUT", EXEC, 405),
        ("DELETE", "/containerLogs/ns/p/c", 405),
        ("PATCH", "/stats/summary", 405),
        ("GET", "/exec/%2e%2e/%2e%2e/c?command=x&output=1", 404),
        ("GET", "/exec/ns/p%00/c?command=x&output=1", 404),
        ("GET", "/containerLogs/ns/%ff%fe/c", 404),
        ("GET", "/attach/ns/p/%0d%0aX:%20y?output=1", 500),
        ("GET", "/run/ns/p/c", 501),
    ],
)
async def test_unknown_paths_and_methods(listening: Any, method: str, path: str, status: int) -> None:
    async with listening() as port:
        said = await answer(port, request(path, "Connection: close\r\n", method=method))
        assert int(said.split(b" ")[1]) == status, said
        assert b"\nX: y" not in said.partition(b"\r\n\r\n")[0]


def masked(opcode: int, data: bytes = b"", *, first: int = 0x80) -> bytes:
    """A frame of a client whose mask is zero."""
    assert len(data) < 126
    return bytes((first | opcode, 0x80 | len(data))) + bytes(4) + data


@pytest.mark.parametrize("which", ["exec", "tunnel", "channels"])
@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(masked(3, b"x"), id="reserved opcode"),
        pytest.param(masked(2, b"\0x", first=0xF0), id="reserved bits"),
        pytest.param(b"\x82\xff" + b"\xff" * 8 + bytes(4), id="endless"),
        pytest.param(masked(9, b"x", first=0), id="ping in pieces"),
        pytest.param(b"\x89\xfe\x00\xff" + bytes(4 + 255), id="large ping"),
        pytest.param(masked(0, b"x"), id="continues nothing"),
        pytest.param(masked(8, b"\x03"), id="half a close code"),
        pytest.param(masked(8, b"\x00\x01"), id="a close code that is none"),
        pytest.param(masked(8), id="close"),
    ],
)
async def test_broken_websocket_frames(listening: Any, cloud: Any, which: str, sent: bytes) -> None:
    path, protocol = {
        "exec": (EXEC, "v5.channel.k8s.io"),
        "tunnel": (FORWARD, TUNNEL),
        "channels": (FORWARD, "v4.channel.k8s.io"),
    }[which]
    async with listening() as port:
        head = request(path, UPGRADE, KEY, f"Sec-WebSocket-Protocol: {protocol}\r\n")
        said = await answer(port, head + sent)
        assert said.startswith(b"HTTP/1.1 101 "), said
        for _, session in (*cloud.commands, *cloud.ports):
            await session.closed.wait()
        assert (await port.get("/healthz"))[1] == "ok"


@pytest.mark.parametrize("which", ["exec", "tunnel", "channels"])
async def test_half_a_websocket_frame(listening: Any, cloud: Any, which: str) -> None:
    path, protocol = {
        "exec": (EXEC, "v5.channel.k8s.io"),
        "tunnel": (FORWARD, TUNNEL),
        "channels": (FORWARD, "v4.channel.k8s.io"),
    }[which]
    async with listening() as port:
        head = request(path, UPGRADE, KEY, f"Sec-WebSocket-Protocol: {protocol}\r\n")
        reader, writer = await asyncio.open_connection(port.host, port.port, ssl=port.admin)
        writer.write(head)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(masked(2, b"\0half")[:-2])
        await writer.drain()
        writer.transport.abort()
        await _until(lambda: which == "tunnel" or cloud.commands or cloud.ports)
        for _, session in (*cloud.commands, *cloud.ports):
            await session.closed.wait()


@pytest.mark.parametrize("sent", [masked(2, b"\xff"), masked(2, b"\xff\0\0"), masked(1, b"\xff\xfe")])
async def test_channels_that_are_none(listening: Any, cloud: Any, sent: bytes) -> None:
    async with listening() as port:
        head = request(EXEC, UPGRADE, KEY, "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n")
        reader, writer = await asyncio.open_connection(port.host, port.port, ssl=port.admin)
        writer.write(head + sent + masked(8))
        with contextlib.suppress(ConnectionError):
            while await reader.read(1 << 16):
                pass
        writer.close()
        for _, session in cloud.commands:
            await session.closed.wait()


@pytest.mark.parametrize("path", [EXEC, FORWARD])
@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"\x80\x03\x00\x01\x00\xff\xff\xff", id="frame of 16 MiB"),
        pytest.param(b"\x80\x02\x00\x01\x00\x00\x00\x00", id="version 2"),
        pytest.param(b"\x00\x00\x00\x01\x00\x00\x00\x01x", id="data on no stream"),
        pytest.param(b"\x80\x03\x00\x01\x00\x00\x00\x02xx", id="a short SYN_STREAM"),
        pytest.param(
            b"\x80\x03\x00\x01\x00\x00\x00\x0e" + bytes((0, 0, 0, 1, 0, 0, 0, 0, 0, 0)) + b"junk", id="no zlib"
        ),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2"),
    ],
)
async def test_broken_spdy_frames(listening: Any, path: str, sent: bytes) -> None:
    protocol = V4 if path == EXEC else "portforward.k8s.io"
    async with listening() as port:
        client, head = await SpdyClient.connect(port, path, protocol)
        assert head.startswith(b"HTTP/1.1 101 ")
        client.writer.write(sent)
        with contextlib.suppress(ConnectionError):
            assert await client.reader.read() == b""
        await client.close()


@pytest.mark.parametrize("path", [EXEC, FORWARD])
async def test_half_a_spdy_frame(listening: Any, cloud: Any, path: str) -> None:
    async with listening() as port:
        client, head = await SpdyClient.connect(port, path, V4 if path == EXEC else "portforward.k8s.io")
        assert head.startswith(b"HTTP/1.1 101 ")
        client.writer.write(b"\x80\x03\x00\x01\x00\x00\x00\x40half")
        await client.writer.drain()
        client.writer.transport.abort()
        for _, session in (*cloud.commands, *cloud.ports):
            await session.closed.wait()
        assert (await port.get("/healthz"))[1] == "ok"


async def test_more_headers_than_anybody_sends(listening: Any) -> None:
    async with listening() as port:
        said = await answer(port, request("/pods", *(f"X-{n}: x\r\n" for n in range(200_000)), "Connection: close\r\n"))
        assert int(said.split(b" ")[1]) in {200, 400, 431}, said[:200]
        assert (await port.get("/healthz"))[1] == "ok"


# ---------------------------------------------------------------- any frames at all


class Wire:
    """An upgraded connection whose client sends these pieces and leaves."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces
        self.sent: list[bytes] = []
        self.closed = False

    async def receive(self) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    async def send(self, data: bytes) -> None:
        self.sent.append(data)

    async def finish(self) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


IDS = st.integers(0, 9)
TEXT = st.sampled_from(["data", "error", "stdin", "stdout", "stderr", "resize", "1000", "80", "0", "x", ""])
NAMES = st.sampled_from([STREAM_TYPE, "port", "requestid", "other"])
FRAMES = st.one_of(
    st.builds(f.SynStream, IDS, st.lists(st.tuples(NAMES, TEXT), max_size=4).map(tuple), st.booleans(), st.booleans()),
    st.builds(f.Data, IDS, st.binary(max_size=40), st.booleans()),
    st.builds(f.RstStream, IDS, st.integers(1, 11)),
    st.builds(f.Ping, IDS),
    st.builds(f.GoAway, IDS),
    st.builds(f.Headers, IDS, st.just(())),
    st.builds(f.WindowUpdate, IDS, st.integers(1, 9)),
    st.just(f.Settings(((f.SETTINGS_INITIAL_WINDOW_SIZE, 0, 5),))),
)


@st.composite
def wires(draw: st.DrawFn) -> list[bytes]:
    """Frames as a client may send them, perhaps with bytes changed, cut into pieces anywhere."""
    client, sent = SpdyConnection(client=True, flow_control=False), bytearray()
    for frame in draw(st.lists(FRAMES, max_size=12)):
        with contextlib.suppress(LocalProtocolError):  # what the codec refuses to send is left to the changed bytes
            sent += client.send(frame)
    sent += draw(st.binary(max_size=20))
    for _ in range(draw(st.integers(0, 3)) if sent else 0):
        sent[draw(st.integers(0, len(sent) - 1))] = draw(st.integers(0, 255))
    pieces, rest = [], bytes(sent)
    while rest:
        cut = draw(st.integers(1, len(rest)))
        pieces.append(rest[:cut])
        rest = rest[cut:]
    return pieces


@settings(max_examples=300, deadline=None)
@given(wires())
def test_a_forwarder_survives_any_frames(pieces: list[bytes]) -> None:
    ports: list[EchoPort] = []

    async def connect(_: int) -> EchoPort:
        ports.append(EchoPort(closes=False))
        return ports[-1]

    async def run() -> None:
        wire: Any = Wire(pieces)
        async with asyncio.timeout(20):
            await SpdyForwarder(wire, connect, str, SystemClock()).run()
        assert wire.closed
        assert all(port.closed.is_set() for port in ports)

    asyncio.run(run())


@settings(max_examples=300, deadline=None)
@given(wires())
def test_a_session_survives_any_frames(pieces: list[bytes]) -> None:
    commands: list[Cat] = []

    async def start() -> Cat:
        commands.append(Cat(mute=False))
        return commands[-1]

    async def run() -> None:
        wire: Any = Wire(pieces)
        wanted = _wanted(ExecRequest(container="c", command=("x",), stdin=True), "trouble")
        channels = SpdyChannels(wire, V4)
        async with asyncio.timeout(20):
            try:
                await channels.open(wanted_channels(V4, wanted), SystemClock())
            except* (ChannelError, ConnectionError):
                channels.abort()
            else:
                await run_session(channels, start, wanted, SystemClock())
        assert wire.closed
        assert all(command.closed.is_set() for command in commands)

    asyncio.run(run())


async def _until(condition: Any) -> None:
    while not condition():
        await SystemClock().sleep(0.01)
