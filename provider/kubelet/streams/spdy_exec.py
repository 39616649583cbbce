"""The channels of an exec session over SPDY/3.1: one stream each, opened by the client.

Rules: k8s.io/cri-streaming remotecommand/httpstream.go (which streams a client must open, in any order, within the
creation timeout) and moby/spdystream, the library under client-go and the API server: it drops WINDOW_UPDATE, so there
is no flow control but the socket's; after a GOAWAY it reads no further frame; it delivers what it has read before.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from provider.kubelet.streams.channels import STREAM_TYPE, Channel, ChannelError, Message, has_resize
from provider.kubelet.streams.spdy import frames as f
from provider.kubelet.streams.spdy.connection import SpdyConnection
from provider.kubelet.streams.spdy.errors import RemoteProtocolError

if TYPE_CHECKING:
    from provider.clock import Clock
    from provider.kubelet.sessions import Wanted
    from provider.kubelet.streams.upgrade import UpgradedConnection

CREATION_SECONDS: Final = 30.0
"""How long a client may take to open its streams (remotecommand DefaultStreamCreationTimeout)."""

_MAX_EARLY: Final = 1 << 20

_BY_TYPE: Final = {channel.stream_type: channel for channel in Channel if channel is not Channel.CLOSE}


def wanted_channels(protocol: str, request: Wanted) -> frozenset[Channel]:
    """Return the streams that the client must open: always the error stream, the resize stream with a terminal."""
    asked = {
        Channel.ERROR: True,
        Channel.STDIN: request.stdin,
        Channel.STDOUT: request.stdout,
        Channel.STDERR: request.stderr,
        Channel.RESIZE: request.tty and has_resize(protocol),
    }
    return frozenset(channel for channel, wanted in asked.items() if wanted)


class SpdyChannels:
    """Channels (see sessions) over an upgraded connection; `open` it first."""

    def __init__(self, connection: UpgradedConnection, protocol: str) -> None:
        self.protocol = protocol
        self.activity = 0
        self._connection = connection
        self._spdy = SpdyConnection(flow_control=False)
        self._messages: deque[Message] = deque()
        self._streams: dict[Channel, int] = {}
        self._channels: dict[int, Channel] = {}
        self._gone = False
        self._last_ping = 0

    async def open(self, wanted: frozenset[Channel], clock: Clock) -> None:
        """Wait for the client's streams, whose data may come between. Raises ChannelError, ConnectionResetError."""
        async with asyncio.TaskGroup() as tasks:
            alarm = tasks.create_task(self._expire(wanted, clock))
            while not wanted <= self._streams.keys():
                if self._gone:
                    raise ConnectionResetError("the client has left before it opened its streams")
                if sum(len(message.data) for message in self._messages) > _MAX_EARLY:
                    raise ChannelError(f"more than {_MAX_EARLY} bytes before every stream was open")
                await self._read()
            alarm.cancel()

    async def _expire(self, wanted: frozenset[Channel], clock: Clock) -> None:
        await clock.sleep(CREATION_SECONDS)
        missing = ", ".join(sorted(channel.stream_type for channel in wanted - self._streams.keys()))
        raise ChannelError(f"the client has not opened its streams within {CREATION_SECONDS:.0f} s: {missing}")

    async def receive(self) -> Message | None:
        """See Channels."""
        while not self._messages and not self._gone:
            await self._read()
        return self._messages.popleft() if self._messages else None

    async def send(self, channel: Channel, data: bytes) -> None:
        """See Channels. What the client has reset is dropped."""
        stream_id = self._streams.get(channel, 0)
        if self._spdy.send_capacity(stream_id):
            await self._connection.send(self._spdy.send(f.Data(stream_id, data)))

    async def ping(self) -> None:
        """See Channels."""
        self._last_ping = (self._last_ping + 2) % f.MAX_STREAM_ID or 2  # a server's ids are even
        self._connection.write(self._spdy.send(f.Ping(self._last_ping)))

    async def end(self) -> None:
        """See Channels.

        The end of every stream is enough for client-go to close. After a GOAWAY it would fail the write of input that
        is under way, and kubectl would say so to its user.
        """
        try:
            for stream_id in self._streams.values():
                if self._spdy.send_capacity(stream_id):
                    await self._connection.send(self._spdy.send(f.Data(stream_id, fin=True)))
            while not self._gone:
                self._messages.clear()
                await self._read()
        except ConnectionError:
            pass  # it has left a little earlier than it was asked to
        self._connection.close()

    def abort(self) -> None:
        """See Channels."""
        self._connection.abort()

    async def _read(self) -> None:
        data = await self._connection.receive()
        if not data:
            self._gone = True
            return
        self.activity += 1
        try:
            received = self._spdy.receive_data(data)
        except RemoteProtocolError as error:
            raise ChannelError(f"SPDY: {error}") from error
        for frame in received:
            await self._take(frame)

    async def _take(self, frame: f.Frame) -> None:
        match frame:
            case f.SynStream():
                await self._opened(frame)
            case f.Data():
                self._received(frame.stream_id, frame.data, closed=frame.fin)
            case f.RstStream():
                self._received(frame.stream_id, b"", closed=True)
            case f.Ping() if frame.ping_id % 2:
                await self._connection.send(self._spdy.send(frame))
            case f.GoAway():
                self._gone = True
            case _:
                pass  # echoes of our pings, settings, windows: nothing to do

    async def _opened(self, frame: f.SynStream) -> None:
        """Accept a stream of a type that has none yet; refuse any other."""
        channel = _BY_TYPE.get(dict(frame.headers).get(STREAM_TYPE, ""))
        if channel is None or channel in self._streams or frame.unidirectional:
            if self._spdy.is_open(frame.stream_id):
                refusal = f.RstStream(frame.stream_id, f.ResetStatus.REFUSED_STREAM)
                await self._connection.send(self._spdy.send(refusal))
            return
        self._streams[channel] = frame.stream_id
        self._channels[frame.stream_id] = channel
        await self._connection.send(self._spdy.send(f.SynReply(frame.stream_id)))
        if frame.fin:
            self._received(frame.stream_id, b"", closed=True)

    def _received(self, stream_id: int, data: bytes, *, closed: bool) -> None:
        channel = self._channels.get(stream_id)
        if channel is Channel.STDIN or (channel is Channel.RESIZE and data):
            self._messages.append(Message(channel, data, closed and channel is Channel.STDIN))
