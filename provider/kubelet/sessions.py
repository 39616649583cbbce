"""One exec session: the channels of a client, whatever carries them, bound to a command that the cloud runs.

What ends it: the command (its exit status goes to the error channel), the client's leaving, a breach of the protocol,
or four hours without a sign of life. In every case the command's session is closed, so that nothing is left running;
upstream leaves a command running whose client is gone. Both directions wait for each other's slow side: no more than
one piece is held here, the transports hold their sockets' buffers.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import structlog

from provider.cloud.backend import STDOUT, ExecRequest, ExecSession
from provider.kubelet.streams.channels import Channel, ChannelError, Message, ResizeReader, error_status, exit_status
from provider.model.errors import CloudError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from provider.clock import Clock

log = structlog.get_logger(__name__)

_Error = TypeVar("_Error", bound=BaseException)

IDLE_SECONDS: Final = 4 * 3600.0
"""The kubelet's streamingConnectionIdleTimeout; a ping that is answered is a sign of life, as it is upstream."""

PING_SECONDS: Final = 30.0
"""How often the client is pinged: a client that is gone is noticed even while its input waits for the command."""

LINGER_SECONDS: Final = 10.0
"""How long the client may take to close after it was told everything."""

PIECE: Final = 1 << 15
"""Bytes in one message of output, client-go's own size."""


class ClientGoneError(ConnectionError):
    """The client has left, or has shown no life for too long."""


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
    channels: Channels, start: Callable[[], Awaitable[ExecSession]], request: ExecRequest, clock: Clock
) -> None:
    """Start the command, carry its streams, tell how it ended, close. Returns when the client's connection is closed.

    Raises only for bugs, and CancelledError.
    """
    try:
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(_watch(channels, clock))
            status = await _converse(channels, start, request)
            if status:
                await channels.send(Channel.ERROR, status)
            watch.cancel()
        await _limited(channels.end(), LINGER_SECONDS, clock)
    except* ConnectionError as errors:
        log.debug("exec.client_gone", container=request.container, error=str(_first(errors)))
    except* ChannelError as errors:
        log.warning("exec.protocol", container=request.container, error=str(_first(errors)))
    finally:
        channels.abort()


async def _converse(channels: Channels, start: Callable[[], Awaitable[ExecSession]], request: ExecRequest) -> bytes:
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
        message = _first(errors).message
        log.warning("exec.failed", container=request.container, error=message)
        status = error_status(channels.protocol, f"error executing command in container: {message}")
    finally:
        if session is not None:
            await _close(session, request)
    return status


async def _close(session: ExecSession, request: ExecRequest) -> None:
    try:
        await session.close()
    except CloudError as error:  # the command may run on, as after any loss of the engine
        log.warning("exec.close", container=request.container, error=error.message)


async def _listen(channels: Channels, session: ExecSession, request: ExecRequest) -> None:
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
        log.warning("exec.resize", error=str(error))
        return False
    return True


async def _tell(channels: Channels, session: ExecSession, request: ExecRequest) -> None:
    """Carry the command's output to its end; output that nobody asked for is read and dropped."""
    async for source, data in session.output():
        channel = Channel.STDOUT if source == STDOUT else Channel.STDERR
        if request.stdout if channel is Channel.STDOUT else request.stderr:
            for at in range(0, len(data), PIECE):
                await channels.send(channel, data[at : at + PIECE])


async def _watch(channels: Channels, clock: Clock) -> None:
    seen, since = channels.activity, clock.now()
    while True:
        await clock.sleep(PING_SECONDS)
        if channels.activity != seen:
            seen, since = channels.activity, clock.now()
        elif clock.now() - since >= IDLE_SECONDS:
            raise ClientGoneError(f"no sign of life for {IDLE_SECONDS:.0f} s")
        await channels.ping()


async def _limited(work: Awaitable[None], seconds: float, clock: Clock) -> None:
    """Await `work` for at most `seconds`."""

    async def finish() -> None:
        await work
        raise _Over

    async def expire() -> None:
        await clock.sleep(seconds)
        raise _Over

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(finish())
            tasks.create_task(expire())
    except* _Over:
        pass


class _Over(Exception):  # noqa: N818 - ends the other task of a pair
    pass


def _first(group: BaseExceptionGroup[_Error]) -> _Error:
    """Return the first plain error of a group of groups."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
