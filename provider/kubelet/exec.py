"""/exec: what is asked, whether it can be, and the session over the transport that the client chose.

Refusals before the upgrade are HTTP answers, as upstream's (pkg/kubelet/server getExec, httpstream.Handshake); what
goes wrong after it is told on the error channel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import web

from provider.cloud.backend import ElasticBackend, ExecRequest
from provider.kubelet.sessions import run_session
from provider.kubelet.streams.channels import SPDY_PROTOCOLS, ChannelError, choose_protocol
from provider.kubelet.streams.spdy_exec import SpdyChannels, wanted_channels
from provider.kubelet.streams.upgrade import UpgradedConnection
from provider.kubelet.streams.websocket import WebSocketChannels, websocket_protocol
from provider.model.errors import CloudCode, CloudError
from provider.model.instance import ContainerPhase

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy, MultiMapping

    from provider.clock import Clock
    from provider.model.ids import PodUid

log = structlog.get_logger(__name__)

STREAM_PROTOCOL: Final = "X-Stream-Protocol-Version"
ACCEPTED_PROTOCOLS: Final = "X-Accepted-Stream-Protocol-Versions"
SPDY: Final = "SPDY/3.1"


class Refused(Exception):  # noqa: N818 - a refusal, not a failure
    """An answer instead of a stream."""

    def __init__(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = headers


def exec_request(container: str, query: MultiMapping[str]) -> ExecRequest:
    """Read the options of the query: each is on when it says `1` (remotecommand NewOptions). Raises Refused."""
    tty, stdin, stdout, stderr = (query.get(name) == "1" for name in ("tty", "input", "output", "error"))
    if not (stdin or stdout or stderr):
        raise Refused(400, "you must specify at least 1 of stdin, stdout, stderr")
    command = tuple(query.getall("command", ()))
    if not command:
        raise Refused(400, "you must specify the command to run")
    return ExecRequest(
        container=container, command=command, stdin=stdin, stdout=stdout, stderr=stderr and not tty, tty=tty
    )


async def check_running(backend: ElasticBackend, uid: PodUid, container: str) -> None:
    """Raise Refused when the container does not run."""
    try:
        instance = await backend.describe_instance(uid)
    except CloudError as error:
        if error.code is CloudCode.NOT_FOUND:
            raise Refused(500, f'container not found ("{container}")') from error
        raise Refused(500, error.message) from error
    states = (each.state.phase for each in instance.containers if each.name == container)
    if next(states, None) is not ContainerPhase.RUNNING:
        raise Refused(500, f'container not found ("{container}")')


async def serve_exec(
    request: web.Request, backend: ElasticBackend, uid: PodUid, asked: ExecRequest, clock: Clock
) -> web.StreamResponse:
    """Upgrade the connection and run the command on it. Raises Refused."""
    if "upgrade" not in ",".join(request.headers.getall("Connection", ())).lower():
        raise Refused(400, "Upgrade request required")
    if request.headers.get("Upgrade", "").lower() == "websocket":
        return await _over_websocket(request, backend, uid, asked, clock)
    return await _over_spdy(request, backend, uid, asked, clock)


async def _over_websocket(
    request: web.Request, backend: ElasticBackend, uid: PodUid, asked: ExecRequest, clock: Clock
) -> web.StreamResponse:
    offered = _listed(request.headers, "Sec-WebSocket-Protocol")
    protocol = websocket_protocol(offered)
    if protocol is None:
        raise Refused(403, f"requested protocol(s) are not supported: {' '.join(offered)}")
    channels = WebSocketChannels(protocol)
    response = await channels.open(request, asked)
    await run_session(channels, lambda: backend.exec(uid, asked), asked, clock)
    return response


async def _over_spdy(
    request: web.Request, backend: ElasticBackend, uid: PodUid, asked: ExecRequest, clock: Clock
) -> web.StreamResponse:
    protocol = _spdy_protocol(_listed(request.headers, STREAM_PROTOCOL))
    if SPDY.lower() not in request.headers.get("Upgrade", "").lower():
        raise Refused(400, f"unable to upgrade: {SPDY} and websocket are spoken here")
    connection = UpgradedConnection(request)
    connection.start(SPDY, {STREAM_PROTOCOL: protocol})
    channels = SpdyChannels(connection, protocol)
    try:
        await channels.open(wanted_channels(protocol, asked), clock)
    except* (ChannelError, ConnectionError) as errors:
        channels.abort()
        log.warning("exec.streams", container=asked.container, error=str(errors.exceptions[0]))
    else:
        await run_session(channels, lambda: backend.exec(uid, asked), asked, clock)
    # The connection is closed by now; aiohttp wants an answer, and finds that nobody takes it.
    return web.Response()


def _spdy_protocol(offered: list[str]) -> str:
    if not offered:
        raise Refused(400, f"unable to upgrade: header {STREAM_PROTOCOL} names no protocol")
    protocol = choose_protocol(offered, SPDY_PROTOCOLS)
    if protocol is None:
        known = " ".join(SPDY_PROTOCOLS)
        text = f"unable to upgrade: unable to negotiate protocol: client supports {offered}, server accepts [{known}]"
        raise Refused(403, text, {ACCEPTED_PROTOCOLS: ", ".join(SPDY_PROTOCOLS)})
    return protocol


def _listed(headers: CIMultiDictProxy[str], name: str) -> list[str]:
    """Return the values of a header that may stand on several lines, with commas between."""
    return [value for line in headers.getall(name, ()) for each in line.split(",") if (value := each.strip())]
