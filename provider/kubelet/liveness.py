"""How long a stream lives: pings, the idle time, and limits of waiting."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from provider.clock import Clock

_Error = TypeVar("_Error", bound=BaseException)

IDLE_SECONDS: Final = 4 * 3600.0
"""The kubelet's streamingConnectionIdleTimeout; a ping that is answered is a sign of life, as it is upstream."""

PING_SECONDS: Final = 30.0
"""How often the client is pinged: a client that is gone is noticed even while its input waits for somebody."""


class ClientGoneError(ConnectionError):
    """The client has left, or has shown no life for too long."""


class Living(Protocol):
    """A connection to a client."""

    activity: int
    """Grows whenever something arrives from the client."""

    async def ping(self) -> None:
        """Ask for a sign of life. Raises ConnectionError."""
        ...


async def watch_life(client: Living, clock: Clock) -> None:
    """Ping the client for ever; ClientGoneError after IDLE_SECONDS without a sign of life."""
    seen, since = client.activity, clock.now()
    while True:
        await clock.sleep(PING_SECONDS)
        if client.activity != seen:
            seen, since = client.activity, clock.now()
        elif clock.now() - since >= IDLE_SECONDS:
            raise ClientGoneError(f"no sign of life for {IDLE_SECONDS:.0f} s")
        await client.ping()


async def limited(work: Awaitable[None], seconds: float, clock: Clock) -> None:
    """Await `work` for at most `seconds`."""

    async def finish() -> None:
        await work
        raise _Over

    async def expire() -> None:
        await clock.sleep(seconds)
        raise _Over

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(finish())
            tasks.create_task(expire())
    except* _Over:
        pass


class _Over(Exception):  # noqa: N818 - ends the other task of a pair
    pass


def first_error(group: BaseExceptionGroup[_Error]) -> _Error:
    """Return the first plain error of a group of groups."""
    error = group.exceptions[0]
    return first_error(error) if isinstance(error, BaseExceptionGroup) else error
