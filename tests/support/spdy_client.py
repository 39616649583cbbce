"""A client of the SPDY codec, as client-go drives it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from provider.kubelet.streams.channels import STREAM_TYPE, Channel
from provider.kubelet.streams.spdy import frames as f
from provider.kubelet.streams.spdy.connection import SpdyConnection

if TYPE_CHECKING:
    from collections.abc import Callable


class SpdyClient:
    """The other end of the codec, on a socket of its own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.spdy = SpdyConnection(client=True, flow_control=False)
        self.reader = reader
        self.writer = writer
        self.streams: dict[Channel, int] = {}
        self.data: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.replies: set[int] = set()
        self.resets: dict[int, int] = {}
        self.pings: list[int] = []

    @classmethod
    async def connect(cls, port: Any, path: str, *protocols: str) -> tuple[SpdyClient, bytes]:
        reader, writer = await asyncio.open_connection(port.host, port.port, ssl=port.admin)
        lines = [f"POST {path} HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: SPDY/3.1"]
        lines += [f"X-Stream-Protocol-Version: {protocol}" for protocol in protocols]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        return cls(reader, writer), await reader.readuntil(b"\r\n\r\n")

    def send(self, frame: f.Frame) -> None:
        self.writer.write(self.spdy.send(frame))

    def open(self, channel: Channel, stream_type: str = "") -> int:
        stream = self.streams[channel] = self.open_with((STREAM_TYPE, stream_type or channel.stream_type))
        return stream

    def open_with(self, *headers: tuple[str, str]) -> int:
        stream = self.spdy.next_stream_id()
        self.send(f.SynStream(stream, headers))
        return stream

    async def receive(self) -> bytes:
        return await self.reader.read(1 << 16)

    async def read(self) -> bool:
        """Take what comes next; False at the end of the connection."""
        chunk = await self.receive()
        for frame in self.spdy.receive_data(chunk):
            match frame:
                case f.Data(stream_id, data, fin):
                    self.data[stream_id] = self.data.get(stream_id, b"") + data
                    self.ended |= {stream_id} if fin else set()
                case f.SynReply(stream_id):
                    self.replies.add(stream_id)
                case f.RstStream(stream_id, status):
                    self.resets[stream_id] = status
                case f.Ping(ping_id):
                    self.pings.append(ping_id)
        return bool(chunk)

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            assert await self.read()

    def told(self, channel: Channel) -> bytes:
        return self.data.get(self.streams[channel], b"")

    async def close(self) -> None:
        self.writer.close()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)
