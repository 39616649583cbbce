"""Undoes what a failed command has made, without hiding why it failed.

What cannot be undone is told and then passed over: the cause of the failure is what the user has to see in the end.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from provider.cluster.build import cache_root
from provider.cluster.build_command import BuildError
from provider.cluster.down import dismantle
from provider.cluster.local import COMPONENTS
from provider.cluster.processes import Process
from provider.cluster.steps import SetupError
from provider.cluster.stock_layout import PROCESSES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from provider.cluster.installation import Installation
    from provider.cluster.steps import Steps

__all__ = ["try_to_undo", "undoing", "undoing_up"]

_PROCESSES = (*COMPONENTS, "provider", *PROCESSES)
"""in the order of their start"""


@asynccontextmanager
async def undoing_up(installation: Installation, steps: Steps) -> AsyncIterator[None]:
    """Undo an `up` that fails in this context.

    An installation that was not there before is removed again whole, of one that was there the processes started now
    are ended.
    """
    fresh, running = installation.record() is None, _running(installation)

    async def undo() -> None:
        if not fresh:
            for name in reversed(_PROCESSES):
                if name not in running:
                    await Process(name, installation.state / "run").stop(installation.clock)
        elif installation.record() is not None:  # it is written before anything is made
            await dismantle(installation, steps)

    async with undoing(installation, steps, undo):
        yield


@asynccontextmanager
async def undoing(installation: Installation, steps: Steps, undo: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Call `undo` when this context fails, and let the failure pass on; its advice names the logs that are kept."""
    try:
        yield
    except BaseException as error:
        logs = cache_root() / "logs" / f"up-{installation.name}"

        async def keep_logs() -> None:
            if installation.keep_logs(logs):
                steps.note(f"The logs are kept in {logs}")

        steps.note("It failed: what was made is undone")
        await try_to_undo(installation, steps, keep_logs)
        await try_to_undo(installation, steps, undo)
        if isinstance(error, BuildError) and str(installation.state / "run") in error.next_step:
            advice = error.next_step.replace(str(installation.state / "run"), str(logs))
            raise SetupError(error.what, error.why, advice, error.log) from error
        raise


async def try_to_undo(installation: Installation, steps: Steps, undo: Callable[[], Awaitable[object]]) -> None:
    """Call `undo` while a failure is on its way: an error of it is told, never raised."""
    try:
        await undo()
    except Exception as error:  # noqa: BLE001 - told, and the failure must not be lost
        left = error
        if not isinstance(left, BuildError):
            why = f"{type(error).__name__}: {error}"
            left = SetupError("not all could be undone", why, f"run: zonelet down --name {installation.name}")
        steps.note(f"Not undone: {left.what}\n  why:  {left.why}\n  next: {left.next_step}")


def _running(installation: Installation) -> frozenset[str]:
    """Return which of the installation's processes run."""
    return frozenset(name for name in _PROCESSES if Process(name, installation.state / "run").pid() is not None)
