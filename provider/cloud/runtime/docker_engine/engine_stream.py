"""The hijacked connection of an exec or an attach: the output of a process, and the way to its input."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.cloud.backend import STDERR, STDOUT
from provider.cloud.runtime.base import FaultKind
from provider.cloud.runtime.docker_engine.engine import faults

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator

    from aiodocker.stream import Stream

DETACH_KEYS = ",".join(["ctrl-^", "ctrl-_"] * 4)
"""What the engine takes for "detach" from a terminal: nobody types it. Its own ctrl-p,ctrl-q swallows a shell's ctrl-p.
"""


class EngineStream:
    """One connection; `closed` once its owner has given it back."""

    def __init__(self, opened: Stream) -> None:
        self._stream = opened
        self._broken = False
        self.closed = False

    async def open(self) -> None:
        """Begin, and take the connection over. DockerError for what the engine refuses."""
        await self._stream.__aenter__()

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """Yield (STDOUT | STDERR, bytes) to the end. RuntimeFault REFUSED, UNAVAILABLE."""
        with faults(FaultKind.REFUSED):
            while (message := await self._stream.read_out()) is not None:
                yield (STDERR if message.stream == STDERR else STDOUT), message.data

    async def write(self, data: bytes) -> None:
        """Send input; what comes after the process has ended is dropped."""
        if self.closed or self._broken:
            return
        try:
            await self._stream.write_in(data)
        except (OSError, AssertionError):  # aiodocker asserts that the connection is there
            self._broken = True

    def end_input(self) -> None:
        """Half-close."""
        transport = self._transport()
        if transport is not None and transport.can_write_eof() and not transport.is_closing():
            transport.write_eof()

    async def close(self) -> None:
        """Close the connection; safe to call twice."""
        self.closed = True
        await self._stream.close()

    def _transport(self) -> asyncio.Transport | None:
        response = self._stream._resp  # noqa: SLF001 - aiodocker has no half-close of its own
        connection = None if response is None else response.connection
        return None if connection is None else connection.transport
