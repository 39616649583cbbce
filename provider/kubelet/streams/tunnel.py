"""A connection of bytes inside the binary messages of a WebSocket: what `SPDY/3.1+portforward.k8s.io` stands for.

Rules: client-go tools/portforward/tunneling_connection.go. Messages have no meaning of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import WSMsgType, web

from provider.kubelet.streams.websocket import MAX_MESSAGE

if TYPE_CHECKING:
    import asyncio

TUNNEL_PROTOCOL: Final = "SPDY/3.1+portforward.k8s.io"


class TunnelConnection:
    """ByteConnection (see spdy_forward) over a WebSocket; `open` it first."""

    def __init__(self) -> None:
        self._socket = web.WebSocketResponse(
            protocols=(TUNNEL_PROTOCOL,), max_msg_size=MAX_MESSAGE, compress=False, decode_text=False
        )
        self._transport: asyncio.Transport | None = None

    async def open(self, request: web.Request) -> web.StreamResponse:
        """Answer 101."""
        await self._socket.prepare(request)
        self._transport = request.transport
        return self._socket

    async def receive(self) -> bytes:
        """See ByteConnection; a message that is not binary ends it."""
        while True:
            message = await self._socket.receive()
            if message.type is not WSMsgType.BINARY:
                return b""
            if message.data:
                return bytes(message.data)

    async def send(self, data: bytes) -> None:
        """See ByteConnection."""
        await self._socket.send_bytes(data)

    async def finish(self) -> None:
        """See ByteConnection: the close frame is waited for."""
        await self._socket.close()

    def abort(self) -> None:
        """See ByteConnection."""
        if self._transport is not None:
            self._transport.abort()
