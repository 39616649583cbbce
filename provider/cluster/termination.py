"""SIGTERM ends a command of the set-up as Ctrl-C does: by a cancellation, so that what it has made is undone.

The first one counts; what comes later does not disturb the undoing. Code that blocks the loop (a build of ten minutes)
asks now and then by `end_if_asked`, for nobody can cancel it.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

__all__ = ["TERMINATED", "end_if_asked", "run_undoable"]

TERMINATED = 128 + signal.SIGTERM
"""Exit code of a command that SIGTERM has ended."""

_T = TypeVar("_T")


class _Request:
    """Whether SIGTERM has come, and whether it has been passed on to the command."""

    def __init__(self) -> None:
        self.asked = False
        self.delivered = False

    def take(self) -> bool:
        """Return whether the command is to end because of it now; so once."""
        now = self.asked and not self.delivered
        self.delivered |= now
        return now


_request = _Request()


def run_undoable(main: Coroutine[Any, Any, _T]) -> _T:
    """Run a command's coroutine as asyncio.run does; after SIGTERM and what the command undid, exit with TERMINATED."""

    async def cancelled_by_signal() -> _T:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None  # noqa: S101 - asyncio.run made it

        def deliver() -> None:
            if _request.take():
                task.cancel()

        def asked(*_: object) -> None:
            _request.asked = True
            loop.call_soon_threadsafe(deliver)  # not at once: blocking code may take it first

        with _handling(asked):
            return await main

    _request.asked = _request.delivered = False
    try:
        return asyncio.run(cancelled_by_signal())
    except asyncio.CancelledError:
        if _request.delivered:
            raise SystemExit(TERMINATED) from None
        raise


def end_if_asked() -> None:
    """Raise CancelledError once SIGTERM has come: for code that blocks the loop."""
    if _request.take():
        raise asyncio.CancelledError("SIGTERM")


@contextmanager
def _handling(handler: Any) -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
