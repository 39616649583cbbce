"""The channels of an exec session over WebSocket, in every subprotocol of `channels`.

Rules: k8s.io/cri-streaming remotecommand/websocket.go and k8s.io/streaming httpstream/wsstream (server), client-go
tools/remotecommand/websocket.go (reader). Pings of the client are answered while its input is being read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import WSMsgType, web

from provider.kubelet.streams.channels import (
    V1,
    WEBSOCKET_PROTOCOLS,
    Channel,
    Message,
    choose_protocol,
    decode_message,
    decode_text_message,
    encode_message,
    encode_text_message,
    is_base64,
)

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from provider.kubelet.sessions import Wanted

MAX_MESSAGE: Final = 1 << 25
"""Bytes in one message of the client (golang.org/x/net/websocket DefaultMaxPayloadBytes)."""


def websocket_protocol(offered: Sequence[str]) -> str | None:
    """Return the subprotocol to speak, None when the client offers none that is known here."""
    return choose_protocol(offered, WEBSOCKET_PROTOCOLS) if offered else V1


class WebSocketChannels:
    """Channels (see sessions) over one WebSocket; `open` it first."""

    def __init__(self, protocol: str) -> None:
        self.protocol = protocol
        self.activity = 0
        self._base64 = is_base64(protocol)
        self._socket = web.WebSocketResponse(
            protocols=WEBSOCKET_PROTOCOLS, max_msg_size=MAX_MESSAGE, compress=False, decode_text=False
        )
        self._transport: asyncio.Transport | None = None

    async def open(self, request: web.Request, asked: Wanted) -> web.StreamResponse:
        """Answer 101, and say by an empty message on the first channel of output that the session is up."""
        await self._socket.prepare(request)
        self._transport = request.transport
        first = Channel.STDOUT if asked.stdout else Channel.STDERR if asked.stderr else Channel.ERROR
        await self.send(first, b"")
        return self._socket

    async def receive(self) -> Message | None:
        """See Channels."""
        while True:
            received = await self._socket.receive()
            if received.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                return None
            self.activity += 1
            data = received.data
            message = decode_text_message(data) if self._base64 else decode_message(self.protocol, data)
            if message is not None:
                return message

    async def send(self, channel: Channel, data: bytes) -> None:
        """See Channels."""
        if self._base64:
            await self._socket.send_str(encode_text_message(channel, data).decode("ascii"))
        else:
            await self._socket.send_bytes(encode_message(channel, data))

    async def ping(self) -> None:
        """See Channels."""
        await self._socket.ping()

    async def end(self) -> None:
        """See Channels: the close frame ends every channel at once."""
        await self._socket.close()

    def abort(self) -> None:
        """See Channels."""
        if self._transport is not None:
            self._transport.abort()
