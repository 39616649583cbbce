"""The exec session of a simulated container: it succeeds at once, without output."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


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
