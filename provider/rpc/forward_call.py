"""ForwardPort, both ends: a PortConnection carried on one bidirectional call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc

from provider.rpc.errors import from_rpc_error
from provider.rpc.gen.elastic.v1 import service_pb2 as pb
from provider.rpc.options import pieces

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from provider.cloud.backend import PortConnection


async def run_forward(connection: PortConnection, requests: AsyncIterator[pb.ForwardPortRequest], context: Any) -> None:
    """Carry a connection until the other side has closed it; it is closed in any case."""
    try:
        await context.write(pb.ForwardPortResponse(connected=pb.ForwardPortResponse.Connected()))
        async with asyncio.TaskGroup() as tasks:
            feeding = tasks.create_task(_feed(connection, requests))
            while data := await connection.read():
                for piece in pieces(data):
                    await context.write(pb.ForwardPortResponse(data=piece))
            feeding.cancel()
    finally:
        await connection.close()


async def _feed(connection: PortConnection, requests: AsyncIterator[pb.ForwardPortRequest]) -> None:
    async for message in requests:
        await connection.write(message.data)
    await connection.end()


class RemoteConnection:
    """PortConnection of a call that has answered `connected`. A reader or writer that is cancelled ends the call."""

    def __init__(self, call: Any, peer: str, *, closed: Callable[[], None]) -> None:
        self._call = call
        self._peer = peer
        self._closed = closed

    async def read(self) -> bytes:
        """See PortConnection; CloudError when the connection to the cloud breaks."""
        try:
            message = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error, self._peer) from error
        return b"" if message is grpc.aio.EOF else bytes(message.data)

    async def write(self, data: bytes) -> None:
        """See PortConnection."""
        try:
            for piece in pieces(data):
                await self._call.write(pb.ForwardPortRequest(data=piece))
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return  # the call has ended; `read` has the reason

    async def end(self) -> None:
        """See PortConnection."""
        try:
            await self._call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return  # as in `write`

    async def close(self) -> None:
        """See PortConnection."""
        self._closed()
