"""/portForward: which ports are asked for, and the transport that the client chose.

    SPDY/3.1                             any number of connections, two streams each (streams.spdy_forward)
    WebSocket, SPDY/3.1+portforward…     the same, inside binary messages (kubectl since 1.31)
    WebSocket, v4.channel.k8s.io, …      the ports of the query, one connection each (streams.websocket_forward)

Rules: k8s.io/cri-streaming pkg/streaming/portforward, k8s.io/client-go tools/portforward.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import web

from provider.kubelet.negotiation import (
    SPDY,
    STREAM_PROTOCOL,
    Refused,
    agreed_spdy,
    agreed_websocket,
    is_websocket,
    offered_websocket,
)
from provider.kubelet.streams.spdy_forward import SpdyForwarder
from provider.kubelet.streams.tunnel import TUNNEL_PROTOCOL, TunnelConnection
from provider.kubelet.streams.upgrade import UpgradedConnection
from provider.kubelet.streams.websocket_forward import MOST_PORTS, WebSocketForwarder, forward_protocol

if TYPE_CHECKING:
    from multidict import MultiMapping

    from provider.clock import Clock
    from provider.cloud.backend import ElasticBackend, PortConnection
    from provider.model.ids import PodUid

log = structlog.get_logger(__name__)

PROTOCOLS: Final = ("portforward.k8s.io",)


def asked_ports(query: MultiMapping[str]) -> tuple[int, ...]:
    """Return the ports of a WebSocket request's query: `port`, again and again or with commas. Raises Refused."""
    given = query.getall("port", [])
    if not given:
        raise Refused(400, 'query parameter "port" is required')
    ports = []
    for text in given:
        if not text:
            raise Refused(400, 'query parameter "port" cannot be empty')
        for word in text.split(","):
            if not (word.isascii() and word.isdigit() and len(word) <= len("65535") and int(word) < 1 << 16):
                raise Refused(400, f'unable to parse "{text}" as a port: "{word}" is no number up to 65535')
            if int(word) < 1:
                raise Refused(400, f'port "{text}" must be > 0')
            ports.append(int(word))
    if len(ports) > MOST_PORTS:
        raise Refused(400, f"{len(ports)} ports in one request: {MOST_PORTS} have a channel each")
    return tuple(ports)


async def serve_port_forward(
    request: web.Request, backend: ElasticBackend, uid: PodUid, pod: str, clock: Clock
) -> web.StreamResponse:
    """Upgrade the connection and forward ports of the pod on it. Raises Refused."""

    async def connect(port: int) -> PortConnection:
        return await backend.forward(uid, port)

    def what(port: int) -> str:
        return f"port {port} to pod {pod}, uid {uid}"

    if not is_websocket(request):
        protocol = agreed_spdy(request, PROTOCOLS)
        connection = UpgradedConnection(request)
        connection.start(SPDY, {STREAM_PROTOCOL: protocol})
        await SpdyForwarder(connection, connect, what, clock).run()
        return web.Response()  # nobody takes it: see exec
    if TUNNEL_PROTOCOL in offered_websocket(request):
        tunnel = TunnelConnection()
        response = await tunnel.open(request)
        await SpdyForwarder(tunnel, connect, what, clock).run()
        return response
    ports = asked_ports(request.query)
    forwarder = WebSocketForwarder(agreed_websocket(request, forward_protocol), ports)
    response = await forwarder.open(request)
    await forwarder.run(connect, what, clock)
    return response
