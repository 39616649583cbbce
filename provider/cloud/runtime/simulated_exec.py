"""The sessions of a simulated container: an exec succeeds at once, an attach tells what the log does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from provider.cloud.backend import STDOUT

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator


class SimulatedExec:
    """ExecSession of a command that has ended with 0."""

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """See ExecSession: nothing comes."""
        nothing: tuple[tuple[int, bytes], ...] = ()
        for piece in nothing:
            yield piece

    async def write(self, data: bytes) -> None:
        """See ExecSession: the command has ended, so the data is dropped."""

    async def close_stdin(self) -> None:
        """See ExecSession."""

    async def resize(self, width: int, height: int) -> None:
        """See ExecSession."""

    async def wait(self) -> int:
        """See ExecSession."""
        return 0

    async def close(self) -> None:
        """See ExecSession."""


class SimulatedAttach(SimulatedExec):
    """ExecSession of a container that runs: `lines` is its output from now on."""

    def __init__(self, lines: AsyncGenerator[bytes, None]) -> None:
        self._lines = lines
        self._ended = asyncio.Event()

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """See ExecSession."""
        async for line in self._lines:
            yield STDOUT, line
        self._ended.set()

    async def wait(self) -> int:
        """See ExecSession: 0 at the output's end."""
        await self._ended.wait()
        return 0
