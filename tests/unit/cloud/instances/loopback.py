"""Pods that are this machine, and servers for them."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from provider.clock import SystemClock
from provider.cloud.runtime.simulated import SimulatedRuntime

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from provider.cloud.runtime.base import RuntimeFault
    from provider.model.ids import ZoneId

ADDRESS = "127.0.0.1"


class Loopback(SimulatedRuntime):
    """The simulated runtime, with pods that are this machine."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.fault: RuntimeFault | None = None
        self.asked = 0

    async def connect(self, zone: ZoneId, host: str, port: int, seconds: float) -> socket.socket:
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        connection = socket.create_connection((host, port), seconds)
        connection.setblocking(False)
        return connection


@asynccontextmanager
async def answering(
    *answers: bytes, context: ssl.SSLContext | None = None, hold: bool = False
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that gives one answer to each request in turn, the last one for ever; with what it was sent."""
    heard: list[bytes] = []
    held = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            heard.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answers[min(len(heard), len(answers)) - 1])
            await writer.drain()
            if hold:
                await held.wait()
        except (asyncio.IncompleteReadError, OSError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, ADDRESS, 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1], heard
    finally:
        held.set()
        server.close()
        await server.wait_closed()


def answer(status: str, body: bytes = b"", *headers: str) -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""])
    return head.encode() + body
