"""Keeps long-lived work running: what it raises is told loudly, and it starts again with back-off.

An API server or engine that is away is weather (one line, no traceback); anything else is a bug of ours (traceback).
Neither may take the rest of the provider down: one zone's trouble is not another's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from provider.cloud.runtime.base import RuntimeFault
from provider.kube.client import KubeError
from provider.model.errors import CloudError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from provider.clock import Clock

log = structlog.get_logger(__name__)

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 60.0
LONGEST_WEATHER_SECONDS = 10.0
"""What is away is asked for again soon: a question is cheap, and everybody waits for the answer."""
CALM_SECONDS = 300.0
"""Work that ran this long without failing begins again with the first delay."""


async def keep_running(
    name: str,
    work: Callable[[], Awaitable[None]],
    clock: Clock,
    *,
    fatal: Callable[[], bool] = lambda: False,
) -> None:
    """Run `work` until this task is cancelled; work that returns has nothing left to do, and so have we.

    While `fatal` says so, a failure is raised instead.
    """
    delay, waits_for = FIRST_SECONDS, ""
    while True:
        begun = clock.now()
        try:
            await work()
        except Exception as error:
            if fatal():
                raise
            weather = weather_of(error)
            if clock.now() - begun > CALM_SECONDS:
                delay = FIRST_SECONDS
                waits_for = ""
            if weather is None:
                log.exception("worker.crashed", worker=name, retry_seconds=delay)
            else:
                delay = min(LONGEST_WEATHER_SECONDS, delay)
                if weather != waits_for:
                    log.warning("worker.waits", worker=name, error=weather, retry_seconds=delay)
                waits_for = weather
        else:
            return
        await clock.sleep(delay)
        delay = min(LONGEST_SECONDS, delay * 2)


def weather_of(error: BaseException) -> str | None:
    """Return what a failure says if it is only the API server, the engine or a port that is away; else None."""
    if isinstance(error, BaseExceptionGroup):
        texts = [weather_of(each) for each in error.exceptions]
        known = [text for text in texts if text is not None]
        return "; ".join(dict.fromkeys(known)) if len(known) == len(texts) else None
    return str(error) if isinstance(error, KubeError | CloudError | RuntimeFault | OSError) else None
