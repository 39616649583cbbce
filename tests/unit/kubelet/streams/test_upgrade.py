"""The semi-private hook of aiohttp, over a real socket on loopback."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from provider.kubelet.streams.upgrade import UpgradedConnection


async def echo(request: web.Request) -> web.StreamResponse:
    connection = UpgradedConnection(request)
    connection.start("SPDY/3.1", {"X-Stream-Protocol-Version": "v4.channel.k8s.io"})
    while data := await connection.receive():
        await connection.send(data)
    connection.close()
    return web.Response()


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_bytes_go_both_ways_after_the_101(method: str) -> None:
    app = web.Application()
    app.router.add_route("*", "/exec", echo)
    async with TestServer(app) as server, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(server.host, server.port)
        head = f"{method} /exec HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n"
        writer.write(head.encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert b"X-Stream-Protocol-Version: v4.channel.k8s.io\r\n" in answer
        sent = bytes(range(256)) * 8192

        async def write() -> None:
            writer.write(sent)
            await writer.drain()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write())
            assert await reader.readexactly(len(sent)) == sent
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
