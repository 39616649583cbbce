"""Port-forward over SPDY/3.1: each forwarded connection is a pair of streams, `error` and `data`, of one request ID.

Rules: k8s.io/cri-streaming portforward/httpstream.go. A stream names its port and kind in headers; a pair that is not
complete within the creation timeout is told so. An error is written to the error stream, then the data stream is reset.

There is no flow control but the socket's (see spdy_exec): a pod that does not read holds up the connection, as it does
upstream, once as much waits for it as `forwarding` allows.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

import structlog
from msgspec import Struct

from provider.kubelet.forwarding import Inbox, Room, forward
from provider.kubelet.liveness import ClientGoneError, first_error, limited, watch_life
from provider.kubelet.streams.channels import STREAM_TYPE, ChannelError
from provider.kubelet.streams.spdy import frames as f
from provider.kubelet.streams.spdy.connection import SpdyConnection
from provider.kubelet.streams.spdy.errors import RemoteProtocolError
from provider.kubelet.streams.spdy_exec import CREATION_SECONDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from provider.clock import Clock
    from provider.cloud.backend import PortConnection

log = structlog.get_logger(__name__)

PORT: Final = "port"
REQUEST_ID: Final = "requestid"
"""`requestID` in Kubernetes, in lower case on the wire."""
DATA, ERROR = "data", "error"
MOST_PAIRS: Final = 1024
"""Forwarded connections at a time on one connection; further streams are refused."""
_DIGITS: Final = len("65535")
_GOODBYE_SECONDS: Final = 10.0


class ByteConnection(Protocol):
    """What carries the frames: `upgrade.UpgradedConnection`, `tunnel.TunnelConnection`."""

    async def receive(self) -> bytes:
        """Return the next bytes; b"" at the end."""
        ...

    async def send(self, data: bytes) -> None:
        """Write bytes; waits for a slow client. ConnectionError when it is gone."""
        ...

    async def finish(self) -> None:
        """Flush what was written, and close."""
        ...

    def abort(self) -> None:
        """Close at once."""
        ...


class _Pair:
    """The two streams of one forwarded connection, and what waits for the pod."""

    def __init__(self, port: int, room: Room) -> None:
        self.port = port
        self.streams: dict[str, int] = {}
        self.inbox = Inbox(room)
        self.complete = asyncio.Event()


class _Asked(Struct, frozen=True):
    kind: str
    port: int
    request: str


class SpdyForwarder:
    """All forwards of one connection. `what` names a port and its pod for people."""

    def __init__(
        self,
        connection: ByteConnection,
        connect: Callable[[int], Awaitable[PortConnection]],
        what: Callable[[int], str],
        clock: Clock,
    ) -> None:
        self.activity = 0
        self._connection = connection
        self._connect = connect
        self._what = what
        self._clock = clock
        self._spdy = SpdyConnection(flow_control=False)
        self._pairs: dict[str, _Pair] = {}
        self._inboxes: dict[int, _Pair] = {}
        self._room = Room()
        self._last_ping = 0

    async def run(self) -> None:
        """Forward until the client leaves; then everything is closed. Raises only for bugs, and CancelledError."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(watch_life(self, self._clock))
                await self._read(tasks)
        except* ConnectionError as errors:
            log.debug("forward.client_gone", error=str(first_error(errors)))
        except* ChannelError as errors:
            log.warning("forward.protocol", error=str(first_error(errors)))
        try:
            await limited(self._connection.finish(), _GOODBYE_SECONDS, self._clock)
        finally:
            self._connection.abort()

    async def ping(self) -> None:
        """See Living."""
        self._last_ping = (self._last_ping + 2) % f.MAX_STREAM_ID or 2  # a server's ids are even
        await self._send(f.Ping(self._last_ping))

    async def _read(self, tasks: asyncio.TaskGroup) -> None:
        while data := await self._connection.receive():
            self.activity += 1
            try:
                received = self._spdy.receive_data(data)
            except RemoteProtocolError as error:
                raise ChannelError(f"SPDY: {error}") from error
            for frame in received:
                await self._take(frame, tasks)
        raise ClientGoneError("the client has closed the connection")

    async def _take(self, frame: f.Frame, tasks: asyncio.TaskGroup) -> None:
        match frame:
            case f.SynStream():
                await self._opened(frame, tasks)
            case f.Data():
                await self._received(frame.stream_id, frame.data, fin=frame.fin)
            case f.RstStream():
                if pair := self._inboxes.get(frame.stream_id):
                    await pair.inbox.put(None)
            case f.Ping() if frame.ping_id % 2:
                await self._send(frame)
            case f.GoAway():
                raise ClientGoneError("the client goes away")
            case _:
                pass  # echoes of our pings, settings, windows: nothing to do

    async def _received(self, stream_id: int, data: bytes, *, fin: bool) -> None:
        if pair := self._inboxes.get(stream_id):
            if data:
                await pair.inbox.put(data)
            if fin:
                await pair.inbox.put(b"")

    async def _opened(self, frame: f.SynStream, tasks: asyncio.TaskGroup) -> None:
        asked = _asked(frame)
        pair = None if asked is None else self._pairs.get(asked.request)
        full = pair is None and len(self._pairs) >= MOST_PAIRS
        if asked is None or full or frame.unidirectional or (pair is not None and asked.kind in pair.streams):
            if self._spdy.is_open(frame.stream_id):
                await self._send(f.RstStream(frame.stream_id, f.ResetStatus.REFUSED_STREAM))
            return
        await self._send(f.SynReply(frame.stream_id))
        if pair is None:
            pair = self._pairs[asked.request] = _Pair(asked.port, self._room)
            tasks.create_task(self._serve(asked.request, pair))
        pair.streams[asked.kind] = frame.stream_id
        if asked.kind == DATA:
            pair.port = asked.port
            self._inboxes[frame.stream_id] = pair
            if frame.fin:
                await pair.inbox.put(b"")
        if len(pair.streams) == len((DATA, ERROR)):
            pair.complete.set()

    async def _serve(self, request: str, pair: _Pair) -> None:
        """Forward one connection from its first stream to its end."""
        try:
            await limited(_set(pair.complete), CREATION_SECONDS, self._clock)
            if pair.complete.is_set():
                client = _Client(self, pair)
                trouble = await forward(client, lambda: self._connect(pair.port), self._what(pair.port))
            else:
                trouble = f"request {request}: timed out waiting for streams: {CREATION_SECONDS:.0f} s"
            await self._end(pair, trouble)
        except* _ResetError:
            await self._reset(pair.streams.get(ERROR, 0))
        finally:
            pair.inbox.close()
            del self._pairs[request]
            self._inboxes.pop(pair.streams.get(DATA, 0), None)

    async def _end(self, pair: _Pair, trouble: str) -> None:
        """End both streams; with trouble, the error stream says it and the data stream is reset."""
        error, data = pair.streams.get(ERROR, 0), pair.streams.get(DATA, 0)
        if self._spdy.send_capacity(error):
            await self._send(f.Data(error, trouble.encode(), fin=True))
        if trouble:
            await self._reset(data)
        elif self._spdy.send_capacity(data):
            await self._send(f.Data(data, fin=True))

    async def _reset(self, stream_id: int) -> None:
        if self._spdy.is_open(stream_id):
            await self._send(f.RstStream(stream_id, f.ResetStatus.CANCEL))

    async def send_data(self, stream_id: int, data: bytes) -> None:
        """Send to the client on a data stream. _ResetError when it takes nothing there any more."""
        if not self._spdy.send_capacity(stream_id):
            raise _ResetError("the client has reset the stream")
        await self._send(f.Data(stream_id, data))

    async def _send(self, frame: f.Frame) -> None:
        await self._connection.send(self._spdy.send(frame))


class _ResetError(ConnectionError):
    """The client has given up one forwarded connection; the others go on."""


class _Client:
    """ForwardStream of one pair."""

    def __init__(self, forwarder: SpdyForwarder, pair: _Pair) -> None:
        self._forwarder = forwarder
        self._pair = pair

    async def receive(self) -> bytes:
        data = await self._pair.inbox.get()
        if data is None:
            raise _ResetError("the client has reset the stream")
        return data

    async def send(self, data: bytes) -> None:
        await self._forwarder.send_data(self._pair.streams[DATA], data)


async def _set(event: asyncio.Event) -> None:
    await event.wait()


def _asked(frame: f.SynStream) -> _Asked | None:
    """Return what a stream is for; None for one that does not say it.

    A client without request IDs (before Kubernetes 1.2) opens the error stream and then the data stream.
    """
    headers = dict(frame.headers)
    kind, port = headers.get(STREAM_TYPE, ""), headers.get(PORT, "")
    if kind not in {DATA, ERROR} or not (port.isascii() and port.isdigit() and len(port) <= _DIGITS):
        return None
    if not 1 <= int(port) < 1 << 16:
        return None
    own = frame.stream_id if kind == ERROR else frame.stream_id - 2
    return _Asked(kind, int(port), headers.get(REQUEST_ID, "") or f"stream {own}")
