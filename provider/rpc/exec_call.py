"""ExecContainerCommand served: one session's input and output on one bidirectional call.

The call stays open after `exit_code` until the caller has ended its requests: gRPC's asyncio client loses what it has
not read yet when a write fails (a failed write ends its call), and a write fails once the server has ended the call.
So a command that ends while stdin still comes in would lose its last output and its exit code.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from provider.cloud.backend import STDERR
from provider.model.errors import CloudCode, CloudError
from provider.rpc.gen.elastic.v1 import service_pb2 as pb
from provider.rpc.options import pieces

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from provider.cloud.backend import ExecSession


async def run_exec(session: ExecSession, requests: AsyncIterator[pb.ExecContainerCommandRequest], context: Any) -> None:
    """Carry a session that has started until command and caller have ended; the session is closed in any case."""
    try:
        await context.write(pb.ExecContainerCommandResponse(started=pb.ExecContainerCommandResponse.Started()))
        async with asyncio.TaskGroup() as group:
            feeder = _Feeder(session, group)
            group.create_task(feeder.run(requests))
            async for stream, data in session.output():
                for piece in pieces(data):
                    await context.write(_output(stream, piece))
            code = await session.wait()
            feeder.end()
            await session.close()
            await context.write(pb.ExecContainerCommandResponse(exit_code=code))
    finally:
        await session.close()


def _output(stream: int, data: bytes) -> pb.ExecContainerCommandResponse:
    if stream == STDERR:
        return pb.ExecContainerCommandResponse(stderr=data)
    return pb.ExecContainerCommandResponse(stdout=data)


class _Feeder:
    """Carries the caller's input to the command; once that has ended, input is read and dropped.

    Each act is a task: one that the command keeps waiting is given up at the end, without giving up the requests.
    """

    def __init__(self, session: ExecSession, group: asyncio.TaskGroup) -> None:
        self._session = session
        self._group = group
        self._acting: asyncio.Task[None] | None = None
        self._ended = False
        self._stdin_open = True

    def end(self) -> None:
        """Give up what is on its way to a command that has ended."""
        self._ended = True
        if self._acting is not None:
            self._acting.cancel()

    async def run(self, requests: AsyncIterator[pb.ExecContainerCommandRequest]) -> None:
        """Read until the requests end, which is the end of stdin."""
        async for message in requests:
            await self._act(message)
        if self._stdin_open:
            await self._act(_CLOSE_STDIN)

    async def _act(self, message: pb.ExecContainerCommandRequest) -> None:
        if not self._ended:
            self._acting = self._group.create_task(self._apply(message))
            await asyncio.wait({self._acting})

    async def _apply(self, message: pb.ExecContainerCommandRequest) -> None:
        kind = message.WhichOneof("input")
        if kind == "stdin":
            await self._session.write(message.stdin)
        elif kind == "close_stdin":
            self._stdin_open = False
            await self._session.close_stdin()
        elif kind == "resize":
            await self._session.resize(message.resize.width, message.resize.height)
        else:
            text = f"input {kind or 'of an unknown kind'} has no place in a running exec"
            raise CloudError(CloudCode.UNSUPPORTED, text)


_CLOSE_STDIN = pb.ExecContainerCommandRequest(close_stdin=pb.ExecContainerCommandRequest.CloseStdin())
