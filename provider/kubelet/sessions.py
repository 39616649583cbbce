"""One session of exec or attach: the channels of a client, whatever carries them, bound to what the cloud runs.

What ends it: the command (its exit status goes to the error channel), the client's leaving, a breach of the protocol,
or four hours without a sign of life. In every case the cloud's session is closed, so that no command is left running;
upstream leaves a command running whose client is gone. An attached container runs on. Both directions wait for each
other's slow side: no more than one piece is held here, the transports hold their sockets' buffers.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

import structlog
from msgspec import Struct

from provider.cloud.backend import STDOUT
from provider.kubelet.liveness import ClientGoneError, first_error, limited, watch_life
from provider.kubelet.streams.channels import Channel, ChannelError, Message, ResizeReader, error_status, exit_status
from provider.model.errors import CloudError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from provider.clock import Clock
    from provider.cloud.backend import ExecSession

log = structlog.get_logger(__name__)

LINGER_SECONDS: Final = 10.0
"""How long the client may take to close after it was told everything."""

PIECE: Final = 1 << 15
"""Bytes in one message of output, client-go's own size."""


class Wanted(Struct, frozen=True):
    """Which streams a session has; `trouble` begins what the client is told when it cannot be."""

    container: str
    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool
    trouble: str


class Channels(Protocol):
    """The client's side of a session: `streams.websocket` and `streams.spdy_exec`."""

    protocol: str
    """The remotecommand protocol that was agreed on."""
    activity: int
    """Grows whenever something arrives from the client."""

    async def receive(self) -> Message | None:
        """Return the client's next message, None when it has left. Raises ChannelError."""
        ...

    async def send(self, channel: Channel, data: bytes) -> None:
        """Send at most PIECE bytes; waits for a slow client. Raises ConnectionError when it has left."""
        ...

    async def ping(self) -> None:
        """Ask for a sign of life. Raises ConnectionError."""
        ...

    async def end(self) -> None:
        """Half-close every channel and wait until the client closes. Never raises for a client that has left."""
        ...

    def abort(self) -> None:
        """Close at once."""
        ...


async def run_session(
    channels: Channels, start: Callable[[], Awaitable[ExecSession]], request: Wanted, clock: Clock
) -> None:
    """Start the command, carry its streams, tell how it ended, close. Returns when the client's connection is closed.

    Raises only for bugs, and CancelledError.
    """
    try:
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(watch_life(channels, clock))
            status = await _converse(channels, start, request)
            if status:
                await channels.send(Channel.ERROR, status)
            watch.cancel()
        await limited(channels.end(), LINGER_SECONDS, clock)
    except* ConnectionError as errors:
        log.debug("session.client_gone", container=request.container, error=str(first_error(errors)))
    except* ChannelError as errors:
        log.warning("session.protocol", container=request.container, error=str(first_error(errors)))
    finally:
        channels.abort()


async def _converse(channels: Channels, start: Callable[[], Awaitable[ExecSession]], request: Wanted) -> bytes:
    """Return what the error channel says of the command's end."""
    session: ExecSession | None = None
    status = b""
    try:
        session = await start()
        async with asyncio.TaskGroup() as tasks:
            listener = tasks.create_task(_listen(channels, session, request))
            await _tell(channels, session, request)
            status = exit_status(channels.protocol, await session.wait())
            listener.cancel()
    except* CloudError as errors:
        message = first_error(errors).message
        log.warning("session.failed", container=request.container, error=message)
        status = error_status(channels.protocol, f"{request.trouble}: {message}")
    finally:
        if session is not None:
            await _close(session, request)
    return status


async def _close(session: ExecSession, request: Wanted) -> None:
    try:
        await session.close()
    except CloudError as error:  # the command may run on, as after any loss of the engine
        log.warning("session.close", container=request.container, error=error.message)


async def _listen(channels: Channels, session: ExecSession, request: Wanted) -> None:
    """Carry what the client sends until it leaves."""
    sizes: ResizeReader | None = ResizeReader()
    stdin = request.stdin
    while (message := await channels.receive()) is not None:
        if message.channel is Channel.RESIZE:
            if sizes is not None and request.tty and not await _resize(sizes, session, message.data):
                sizes = None  # as upstream: what follows a size that is none is not read
        elif stdin:
            if message.data:
                await session.write(message.data)
            if message.closed:
                await session.close_stdin()
                stdin = False
    raise ClientGoneError("the client has left before the command ended")


async def _resize(sizes: ResizeReader, session: ExecSession, data: bytes) -> bool:
    try:
        for size in sizes.feed(data):
            await session.resize(size.width, size.height)
    except ChannelError as error:
        log.warning("session.resize", error=str(error))
        return False
    return True


async def _tell(channels: Channels, session: ExecSession, request: Wanted) -> None:
    """Carry the command's output to its end; output that nobody asked for is read and dropped."""
    async for source, data in session.output():
        channel = Channel.STDOUT if source == STDOUT else Channel.STDERR
        if request.stdout if channel is Channel.STDOUT else request.stderr:
            for at in range(0, len(data), PIECE):
                await channels.send(channel, data[at : at + PIECE])
