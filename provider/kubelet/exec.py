"""/exec and /attach: what is asked, whether it can be, and the session over the transport that the client chose.

Refusals before the upgrade are HTTP answers, as upstream's (pkg/kubelet/server getExec, httpstream.Handshake); what
goes wrong after it is told on the error channel.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

import structlog
from aiohttp import web

from provider.cloud.backend import AttachRequest, ElasticBackend, ExecRequest, ExecSession
from provider.kubelet.negotiation import SPDY, STREAM_PROTOCOL, Refused, agreed_spdy, agreed_websocket, is_websocket
from provider.kubelet.sessions import Wanted, run_session
from provider.kubelet.streams.channels import SPDY_PROTOCOLS, ChannelError
from provider.kubelet.streams.spdy_exec import SpdyChannels, wanted_channels
from provider.kubelet.streams.upgrade import UpgradedConnection
from provider.kubelet.streams.websocket import WebSocketChannels, websocket_protocol
from provider.model.errors import CloudCode, CloudError
from provider.model.instance import ContainerPhase

if TYPE_CHECKING:
    from multidict import MultiMapping

    from provider.clock import Clock
    from provider.model.ids import PodUid

log = structlog.get_logger(__name__)

Start: TypeAlias = Callable[[], Awaitable[ExecSession]]


def exec_request(container: str, query: MultiMapping[str]) -> ExecRequest:
    """Read the options of the query: each is on when it says `1` (remotecommand NewOptions). Raises Refused."""
    asked = attach_request(container, query)
    command = tuple(query.getall("command", ()))
    if not command:
        raise Refused(400, "you must specify the command to run")
    return ExecRequest(
        container=container,
        command=command,
        stdin=asked.stdin,
        stdout=asked.stdout,
        stderr=asked.stderr,
        tty=asked.tty,
    )


def attach_request(container: str, query: MultiMapping[str]) -> AttachRequest:
    """Read the options of the query as `exec_request` does. Raises Refused."""
    tty, stdin, stdout, stderr = (query.get(name) == "1" for name in ("tty", "input", "output", "error"))
    if not (stdin or stdout or stderr):
        raise Refused(400, "you must specify at least 1 of stdin, stdout, stderr")
    return AttachRequest(container=container, stdin=stdin, stdout=stdout, stderr=stderr and not tty, tty=tty)


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
    wanted = _wanted(asked, "error executing command in container")
    return await _serve(request, lambda: backend.exec(uid, asked), wanted, clock)


async def serve_attach(
    request: web.Request, backend: ElasticBackend, uid: PodUid, asked: AttachRequest, clock: Clock
) -> web.StreamResponse:
    """Upgrade the connection and join the container's streams to it. Raises Refused."""
    wanted = _wanted(asked, "error attaching to container")
    return await _serve(request, lambda: backend.attach(uid, asked), wanted, clock)


def _wanted(asked: ExecRequest | AttachRequest, trouble: str) -> Wanted:
    return Wanted(asked.container, asked.stdin, asked.stdout, asked.stderr, asked.tty, trouble)


async def _serve(request: web.Request, start: Start, wanted: Wanted, clock: Clock) -> web.StreamResponse:
    if is_websocket(request):
        return await _over_websocket(request, start, wanted, clock)
    return await _over_spdy(request, start, wanted, clock)


async def _over_websocket(request: web.Request, start: Start, wanted: Wanted, clock: Clock) -> web.StreamResponse:
    channels = WebSocketChannels(agreed_websocket(request, websocket_protocol))
    response = await channels.open(request, wanted)
    await run_session(channels, start, wanted, clock)
    return response


async def _over_spdy(request: web.Request, start: Start, wanted: Wanted, clock: Clock) -> web.StreamResponse:
    protocol = agreed_spdy(request, SPDY_PROTOCOLS)
    connection = UpgradedConnection(request)
    connection.start(SPDY, {STREAM_PROTOCOL: protocol})
    channels = SpdyChannels(connection, protocol)
    try:
        await channels.open(wanted_channels(protocol, wanted), clock)
    except* (ChannelError, ConnectionError) as errors:
        channels.abort()
        log.warning("session.streams", container=wanted.container, error=str(errors.exceptions[0]))
    else:
        await run_session(channels, start, wanted, clock)
    # The connection is closed by now; aiohttp wants an answer, and finds that nobody takes it.
    return web.Response()
