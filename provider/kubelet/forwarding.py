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
