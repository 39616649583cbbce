"""One forwarded port: a client's stream of bytes, whatever carries it, joined to a port inside a pod.

The pod's end ends it. The client's half-close is handed on, and the pod's last bytes still come: a client that is done
talking waits for its answer (upstream's runtimes give it a second).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from provider.kubelet.liveness import first_error
from provider.model.errors import CloudError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from provider.cloud.backend import PortConnection

log = structlog.get_logger(__name__)

PIECE: Final = 1 << 15
"""Bytes in one message to the client."""


MOST_WAITING: Final = 1 << 20
"""Bytes of a client that wait for pods before no more is read from it: over all forwards of one connection."""


class Inbox:
    """What a client has sent for one port; None: it has given up. Those of one connection share a Room."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._over = asyncio.Event()

    async def put(self, data: bytes | None) -> None:
        """Hand on the client's bytes, b"" for its half-close; waits for room. Dropped once the forward is over."""
        if self._over.is_set():
            return
        await self._room.take(len(data or b""))
        if self._over.is_set():
            self._room.give(len(data or b""))
        else:
            self._pieces.put_nowait(data)

    async def get(self) -> bytes | None:
        """Return the next piece."""
        data = await self._pieces.get()
        self._room.give(len(data or b""))
        return data

    def close(self) -> None:
        """Take nothing more."""
        self._over.set()
        while not self._pieces.empty():
            self._room.give(len(self._pieces.get_nowait() or b""))


class Room:
    """How much may wait: a piece is taken as long as less than MOST_WAITING does, so that any piece comes through."""

    def __init__(self) -> None:
        self._waiting = 0
        self._given = asyncio.Event()

    async def take(self, count: int) -> None:
        """Wait for room, and use it; what has no bytes needs none."""
        while count and self._waiting >= MOST_WAITING:
            self._given.clear()
            await self._given.wait()
        self._waiting += count

    def give(self, count: int) -> None:
        """Give back."""
        self._waiting -= count
        self._given.set()


class ForwardStream(Protocol):
    """The client's side."""

    async def receive(self) -> bytes:
        """Return the client's next bytes, b"" once it has half-closed. ConnectionError when it has given up."""
        ...

    async def send(self, data: bytes) -> None:
        """Send at most PIECE bytes; waits for a slow client. ConnectionError when it has left."""
        ...


async def forward(stream: ForwardStream, connect: Callable[[], Awaitable[PortConnection]], what: str) -> str:
    """Carry both directions until the pod's side ends; return what the client is to be told, "" when all went well.

    `what` names port and pod. ConnectionError when the client is gone.
    """
    connection: PortConnection | None = None
    trouble: list[CloudError] = []
    try:
        connection = await connect()
        async with asyncio.TaskGroup() as tasks:
            upward = tasks.create_task(_upward(stream, connection))
            while data := await connection.read():
                for at in range(0, len(data), PIECE):
                    await stream.send(data[at : at + PIECE])
            upward.cancel()
    except* CloudError as errors:
        trouble.append(first_error(errors))
    finally:
        if connection is not None:
            await connection.close()
    if not trouble:
        return ""
    log.info("forward.failed", what=what, error=trouble[0].message)
    return f"error forwarding {what}: {trouble[0].message}"


async def _upward(stream: ForwardStream, connection: PortConnection) -> None:
    while data := await stream.receive():
        await connection.write(data)
    await connection.end()
