"""Host a protocol of our own on an aiohttp request: answer 101, then take every byte that comes.

This uses the hook that aiohttp's WebSocketResponse uses itself (`RequestHandler.set_parser`), which is not public API:
all of it stays in this file, pyproject pins aiohttp's minor version, and a test runs it over a real socket.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

_HIGH_WATER: Final = 1 << 18


class UpgradedConnection:
    """The raw byte connection under an upgraded request. Reading stops at the socket while 256 KiB wait to be read."""

    def __init__(self, request: web.Request) -> None:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client is gone")
        self._transport = transport
        self._protocol = request.protocol
        self._chunks: deque[bytes] = deque()
        self._waiting = 0
        self._ended = False
        self._arrived = asyncio.Event()

    def start(self, protocol: str, headers: Mapping[str, str]) -> None:
        """Write the 101 response that switches to `protocol`, and take over what the client sends from here on."""
        lines = ["HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", f"Upgrade: {protocol}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._transport.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        self._protocol.set_parser(self)  # type: ignore[arg-type]

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take bytes from aiohttp; (False, b"") is its sign for "all taken, more is welcome"."""
        if data:
            self._chunks.append(bytes(data))
            self._waiting += len(data)
            if self._waiting > _HIGH_WATER:
                self._transport.pause_reading()
        self._arrived.set()
        return False, b""

    def feed_eof(self) -> None:
        """Note that the client has closed or was lost."""
        self._ended = True
        self._arrived.set()

    def set_exception(self, _error: BaseException) -> None:
        """Note that the connection was lost."""
        self.feed_eof()

    async def receive(self) -> bytes:
        """Return the next bytes; b"" at the end of the connection."""
        while not self._chunks:
            if self._ended or self._transport.is_closing():
                return b""
            self._arrived.clear()
            await self._arrived.wait()
        chunk = self._chunks.popleft()
        if self._waiting > _HIGH_WATER >= self._waiting - len(chunk) and not self._transport.is_closing():
            self._transport.resume_reading()
        self._waiting -= len(chunk)
        return chunk

    def write(self, data: bytes) -> None:
        """Write a few bytes without waiting; ConnectionResetError when the client is gone."""
        if self._ended or self._transport.is_closing():
            raise ConnectionResetError("the client is gone")
        self._transport.write(data)

    async def send(self, data: bytes) -> None:
        """Write bytes and wait while the socket's buffer is full; ConnectionResetError when the client is gone."""
        self.write(data)
        await self._protocol._drain_helper()  # noqa: SLF001 - what aiohttp's own StreamWriter.drain calls
        if self._ended:  # a drain that a lost connection has ended looks like any other
            raise ConnectionResetError("the client is gone")

    def abort(self) -> None:
        """Drop what was not sent yet, and the connection."""
        self._transport.abort()

    def close(self) -> None:
        """Flush what was written, then close; safe to call twice."""
        self._transport.close()

    async def finish(self) -> None:
        """Flush what was written, and close."""
        self.close()


class ClientWatch:
    """Tell when the client of a plain request has left; the connection can serve no further request.

    aiohttp does not tell a handler that only writes, and such a handler notices by itself only when it writes again.
    """

    def __init__(self, request: web.Request) -> None:
        """Take over what the client sends from here on, after the response's headers were sent."""
        self._gone = asyncio.Event()
        if request.transport is None:
            self._gone.set()
        else:
            request.protocol.set_parser(self)  # type: ignore[arg-type]

    def feed_data(self, _data: bytes) -> tuple[bool, bytes]:
        """Pass over what a client sends that should only listen."""
        return False, b""

    def feed_eof(self) -> None:
        """Note that the client has closed or was lost."""
        self._gone.set()

    def set_exception(self, _error: BaseException) -> None:
        """Note that the connection was lost."""
        self._gone.set()

    async def gone(self) -> None:
        """Return when the client has left."""
        await self._gone.wait()
