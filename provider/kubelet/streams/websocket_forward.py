"""Port-forward over a WebSocket of channels: for the n-th port of the query, channel 2n is data and 2n + 1 errors.

Rules: k8s.io/cri-streaming portforward/websocket.go. The first message on each channel is the port, two bytes, little
end first. There is no half-close; the connection ends with the last of its forwards.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import WSMsgType, web

from provider.kubelet.forwarding import Inbox, Room, forward
from provider.kubelet.liveness import ClientGoneError, first_error, limited, watch_life
from provider.kubelet.streams.channels import V4, V4_BASE64, ChannelError, choose_protocol, is_base64
from provider.kubelet.streams.websocket import MAX_MESSAGE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from provider.clock import Clock
    from provider.cloud.backend import PortConnection

log = structlog.get_logger(__name__)

MOST_PORTS: Final = 39
"""A channel of the text form is one ASCII character from `0` on: there are so many pairs of them."""
PROTOCOLS: Final = (V4, V4_BASE64)
_GOODBYE_SECONDS: Final = 10.0


def forward_protocol(offered: Sequence[str]) -> str | None:
    """Return the subprotocol to speak (none offered: binary), None when none of them is known."""
    return choose_protocol(offered, PROTOCOLS) if offered else V4


class WebSocketForwarder:
    """The forwards of one WebSocket; `open` it first."""

    def __init__(self, protocol: str, ports: Sequence[int]) -> None:
        self.activity = 0
        self._base64 = is_base64(protocol)
        self._ports = ports
        room = Room()
        self._inboxes = {2 * index: Inbox(room) for index in range(len(ports))}
        self._socket = web.WebSocketResponse(
            protocols=PROTOCOLS, max_msg_size=MAX_MESSAGE, compress=False, decode_text=False
        )
        self._transport: asyncio.Transport | None = None

    async def open(self, request: web.Request) -> web.StreamResponse:
        """Answer 101, and name the port on each channel."""
        await self._socket.prepare(request)
        self._transport = request.transport
        for index, port in enumerate(self._ports):
            for channel in (2 * index, 2 * index + 1):
                await self.send(channel, port.to_bytes(2, "little"))
        return self._socket

    async def run(
        self, connect: Callable[[int], Awaitable[PortConnection]], what: Callable[[int], str], clock: Clock
    ) -> None:
        """Forward until every port's other side has ended, or the client leaves. Raises only for bugs."""
        try:
            async with asyncio.TaskGroup() as tasks:
                helpers = [tasks.create_task(watch_life(self, clock)), tasks.create_task(self._read())]
                async with asyncio.TaskGroup() as forwards:
                    for index, port in enumerate(self._ports):
                        forwards.create_task(self._forward(index, port, connect, what))
                for helper in helpers:
                    helper.cancel()
        except* ConnectionError as errors:
            log.debug("forward.client_gone", error=str(first_error(errors)))
        except* ChannelError as errors:
            log.warning("forward.protocol", error=str(first_error(errors)))
        try:
            await limited(self._close(), _GOODBYE_SECONDS, clock)
        finally:
            if self._transport is not None:
                self._transport.abort()

    async def _close(self) -> None:
        await self._socket.close()

    async def ping(self) -> None:
        """See Living."""
        await self._socket.ping()

    async def send(self, channel: int, data: bytes) -> None:
        """Send to the client. ConnectionError when it has left."""
        if self._base64:
            await self._socket.send_str(chr(ord("0") + channel) + b64encode(data).decode("ascii"))
        else:
            await self._socket.send_bytes(bytes((channel,)) + data)

    async def _forward(
        self,
        index: int,
        port: int,
        connect: Callable[[int], Awaitable[PortConnection]],
        what: Callable[[int], str],
    ) -> None:
        client = _Client(self, 2 * index, self._inboxes[2 * index])
        trouble = await forward(client, lambda: connect(port), what(port))
        self._inboxes[2 * index].close()
        if trouble:
            await self.send(2 * index + 1, trouble.encode())

    async def _read(self) -> None:
        while True:
            received = await self._socket.receive()
            if received.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                raise ClientGoneError("the client has closed the WebSocket")
            self.activity += 1
            channel, data = self._decoded(received.data)
            inbox = self._inboxes.get(channel)
            if inbox is not None and data:
                await inbox.put(data)

    def _decoded(self, message: bytes) -> tuple[int, bytes]:
        """Return channel and bytes; -1 for an empty message. Raises ChannelError for what is no base64."""
        if not message:
            return -1, b""
        if not self._base64:
            return message[0], message[1:]
        try:
            return message[0] - ord("0"), b64decode(message[1:], validate=True)
        except ValueError as error:
            raise ChannelError(f"channel {message[:1]!r}: {error}") from error


class _Client:
    """ForwardStream of one port."""

    def __init__(self, forwarder: WebSocketForwarder, channel: int, inbox: Inbox) -> None:
        self._forwarder = forwarder
        self._channel = channel
        self._inbox = inbox

    async def receive(self) -> bytes:
        return await self._inbox.get() or b""

    async def send(self, data: bytes) -> None:
        await self._forwarder.send(self._channel, data)
