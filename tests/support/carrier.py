"""A door before a TCP server: connections are carried to it, and none is left when the door is shut for good."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator

__all__ = ["Door", "carried"]

_METHODS = {b"GET ", b"HEAD", b"PUT ", b"POST"}


@dataclass
class Door:
    """Connections wait before it while `open` is not set; `heard` has the first lines of HTTP requests."""

    port: int = 0
    open: asyncio.Event = field(default_factory=asyncio.Event)
    heard: list[str] = field(default_factory=list)
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)
    _carrying: set[asyncio.Task[None]] = field(default_factory=set)

    async def carry(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until one side ends it."""
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        self._writers.append(writer)
        await self.open.wait()
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        self._writers.append(far_writer)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pump(reader, far_writer, listen=True))
            group.create_task(self._pump(far_reader, writer, listen=False))

    async def end(self) -> None:
        """Break off what is still carried, and wait for the ends of all connections."""
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        for writer in self._writers:
            with suppress(OSError):
                await writer.wait_closed()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, listen: bool) -> None:
        try:
            while piece := await reader.read(65_536):
                if listen and piece[:4] in _METHODS:
                    self.heard.append(piece.partition(b"\r\n")[0].decode())
                writer.write(piece)
                await writer.drain()
        except OSError:
            return
        finally:
            writer.close()


@asynccontextmanager
async def carried(port: int, listening: socket.socket | None = None) -> AsyncIterator[Door]:
    """Carry connections of `listening` (a new port of the loopback without it) to a port of the loopback."""
    door = Door()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await door.carry(port, reader, writer)

    server = await (
        asyncio.start_server(carry, "127.0.0.1", 0)
        if listening is None
        else asyncio.start_server(carry, sock=listening)
    )
    door.port = server.sockets[0].getsockname()[1]
    door.open.set()
    try:
        yield door
    finally:
        server.close()
        await door.end()
