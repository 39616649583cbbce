"""Which instances are worth a look now: the engine's events, followed for ever. Hints only, never state."""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import structlog

from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.cloud.runtime.docker_engine.client import json_lines, stream
from provider.cloud.runtime.docker_engine.engine import faults
from provider.cloud.runtime.docker_engine.labels import INSTALLATION, uid_of
from provider.observability.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    import aiohttp
    from aiodocker import Docker

    from provider.clock import Clock
    from provider.model.ids import PodUid

_EVENTS = ("die",)
"""What is done on request (create, start, remove) is told by its own answer; an end comes by itself."""
_SHORTEST, _LONGEST = 0.2, 10.0
_log = structlog.get_logger(__name__)


class Hints:
    """The events of one installation's containers since a time of the engine's clock: nothing before the first reader
    comes is lost. `ended` is told the ID of each container that has ended, `gap` of a connection that broke.
    """  # noqa: D205 - what the functions are for belongs to it

    def __init__(
        self,
        client: Docker,
        installation: str,
        clock: Clock,
        ended: Callable[[str], None],
        gap: Callable[[], None],
        since: float,
    ) -> None:
        self._client = client
        self._installation = installation
        self._clock = clock
        self._ended = ended
        self._gap = gap
        self._response: aiohttp.ClientResponse | None = None
        self._since = f"{since:.9f}"
        self._closed = False
        self._trouble = Trouble(_log, clock, "the engine's events broke off", "the engine's events come again")

    def close(self) -> None:
        """End the stream, and whoever follows it."""
        self._closed = True
        if self._response is not None:
            self._response.close()

    async def follow(self) -> AsyncGenerator[PodUid, None]:
        """Yield UIDs; a connection that breaks is made anew, and what the engine still knows is told then."""
        pause = _SHORTEST
        while not self._closed:
            try:
                async with aclosing(self._stream()) as events:
                    async for event in events:
                        pause = _SHORTEST
                        uid = self._absorb(event)
                        if uid is not None:
                            yield uid
            except RuntimeFault as fault:
                if not self._closed:
                    self._trouble.began(fault.kind, reason=fault.message, again_in_seconds=pause)
            self._gap()
            if not self._closed:
                await self._clock.sleep(pause)
                pause = min(2 * pause, _LONGEST)

    async def _stream(self) -> AsyncGenerator[dict[str, Any], None]:
        label = f"{INSTALLATION}={self._installation}"
        filters = {"type": ["container"], "event": list(_EVENTS), "label": [label]}
        parameters = {"filters": json.dumps(filters), "since": self._since}
        with faults(FaultKind.UNAVAILABLE):
            async with stream(self._client, "GET", "events", parameters) as response:
                self._response = response
                self._trouble.over()
                try:
                    async for event in json_lines(response):
                        yield event
                finally:
                    self._response = None

    def _absorb(self, event: dict[str, Any]) -> PodUid | None:
        seconds, nanoseconds = divmod(int(event["timeNano"]) + 1, 10**9)
        self._since = f"{seconds}.{nanoseconds:09d}"
        self._ended(str(event["Actor"]["ID"]))
        return uid_of(event["Actor"]["Attributes"])
