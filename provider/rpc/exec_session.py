"""RemoteExec: one command's input and output on one bidirectional call.

gRPC's asyncio calls die with whoever reads or writes them: a task that is cancelled in `read` or `write` cancels the
whole call. A caller that stops feeding stdin, or waits for the exit code only so long, must not kill the command by it.
So a task of the backend reads, and each write is a task of its own; callers only wait for them.

Bounds: up to 16 pieces of output (256 KiB at most each) wait for the reader, then nothing more is taken from the call,
gRPC's flow control stops the server, and the command blocks in its write, as it would on a pipe. One write at a time
is on its way.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import grpc

from provider.cloud.backend import STDERR, STDOUT
from provider.model.errors import CloudCode, CloudError
from provider.rpc.errors import from_rpc_error
from provider.rpc.gen.elastic.v1 import service_pb2 as pb
from provider.rpc.options import pieces

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

_STREAMS: Final = {"stdout": STDOUT, "stderr": STDERR}
_WAITING_PIECES: Final = 16


class RemoteExec:
    """ExecSession of a call that has answered `started`."""

    def __init__(self, call: Any, tasks: asyncio.TaskGroup, peer: str, *, closed: Callable[[], None]) -> None:
        self._call = call
        self._tasks = tasks
        self._peer = peer
        self._closed = closed
        self._output: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue(_WAITING_PIECES)
        self._code: int | None = None
        self._failure: CloudError | None = None
        self._ended = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None
        self._reading = tasks.create_task(self._read())

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """See ExecSession; CloudError when the connection breaks before the command has ended."""
        while not (self._ended.is_set() and self._output.empty()):
            piece = await self._output.get()
            if piece is None:
                break
            yield piece
        if self._failure is not None:
            raise self._failure

    async def write(self, data: bytes) -> None:
        """See ExecSession."""
        for piece in pieces(data):
            await self._send(pb.ExecContainerCommandRequest(stdin=piece))

    async def close_stdin(self) -> None:
        """See ExecSession."""
        close = pb.ExecContainerCommandRequest.CloseStdin()
        await self._send(pb.ExecContainerCommandRequest(close_stdin=close))

    async def resize(self, width: int, height: int) -> None:
        """See ExecSession."""
        await self._send(pb.ExecContainerCommandRequest(resize=pb.TerminalSize(width=width, height=height)))

    async def wait(self) -> int:
        """See ExecSession; CloudError when the connection breaks before the command has ended."""
        await self._ended.wait()
        if self._code is None:
            raise self._failure or self._gone("was closed")
        return self._code

    async def close(self) -> None:
        """See ExecSession: the cancelled call makes the server kill the command."""
        self._closed()
        self._reading.cancel()
        await asyncio.wait({self._reading, *filter(None, (self._writing,))})
        self._end()  # a task that is cancelled before its first step runs nothing of itself

    async def _read(self) -> None:
        """Take messages until the call ends, as fast as the output is read."""
        try:
            while (message := await self._call.read()) is not grpc.aio.EOF:
                kind = message.WhichOneof("output")
                if kind == "exit_code":  # the last; the call itself ends with `close`
                    self._code = message.exit_code
                    break
                if kind in _STREAMS:
                    await self._output.put((_STREAMS[kind], getattr(message, kind)))
            if self._code is None:
                self._failure = self._gone("ended it without an exit code")
        except grpc.aio.AioRpcError as error:
            self._failure = from_rpc_error(error, self._peer)
        finally:
            self._end()

    def _end(self) -> None:
        self._ended.set()
        if not self._output.full():
            self._output.put_nowait(None)  # wakes a reader that waits; a full queue has none

    async def _send(self, message: pb.ExecContainerCommandRequest) -> None:
        """Send after what is on its way; to a command that has ended, nothing is sent."""
        while self._writing is not None and not self._writing.done():
            await asyncio.wait({self._writing})
        if self._ended.is_set():
            return
        self._writing = self._tasks.create_task(self._write(message))
        await asyncio.wait({self._writing})

    async def _write(self, message: pb.ExecContainerCommandRequest) -> None:
        try:
            await self._call.write(message)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return  # the call has ended; `_read` has the reason

    def _gone(self, what: str) -> CloudError:
        return CloudError(CloudCode.UNAVAILABLE, f"the exec at {self._peer} {what}", retry_after=1.0)
