"""The engine's own record of what happened to an installation's containers, written down live by a test."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiodocker.exceptions import DockerError
from aiohttp import ClientError

from provider.clock import SystemClock
from provider.cloud.runtime.docker_engine.client import json_lines, open_client, stream
from provider.cloud.runtime.docker_engine.labels import INSTALLATION, PREFIX

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiodocker import Docker

CLOCK = SystemClock()


@dataclass
class EngineEvents:
    """Every event of the containers of one installation, in order."""

    events: list[dict[str, Any]] = field(default_factory=list)
    _more: asyncio.Condition = field(default_factory=asyncio.Condition)

    def count(self, action: str, *, uids: set[str], container: str | None = None) -> Counter[str]:
        """Return how often `action` happened to each container (by name) of these instances.

        `container` keeps those of one name in the pod ("" for sandboxes).
        """
        found: Counter[str] = Counter()
        for event in self.events:
            labels = event["Actor"]["Attributes"]
            named = labels.get(f"{PREFIX}container", "")
            if event["Action"] == action and labels.get(f"{PREFIX}uid") in uids and container in (None, named):
                found[labels["name"]] += 1
        return found

    def none_twice(self, uids: set[str]) -> None:
        """No container of these instances was made twice or started twice."""
        for action in ("create", "start"):
            twice = {name: times for name, times in self.count(action, uids=uids).items() if times != 1}
            assert not twice, f"{action} more than once: {twice}"

    async def until(self, action: str, name: str, seconds: float) -> None:
        """Wait until `action` has happened to the container `name`."""
        async with asyncio.timeout(seconds), self._more:
            await self._more.wait_for(
                lambda: any(
                    one["Action"] == action and one["Actor"]["Attributes"]["name"] == name for one in self.events
                )
            )

    async def follow(self, client: Docker, installation: str, begun: asyncio.Event) -> None:
        """Write down until cancelled."""
        await self._write(client, installation, begun, {})
        raise AssertionError("the engine ended its stream of events: the record has a hole")

    async def follow_through_restarts(self, client: Docker, installation: str, begun: asyncio.Event) -> None:
        """Write down until cancelled, through the engine's own restarts.

        The new engine is asked for all that it has done so far: it keeps its last 256 events, and none of before its
        start. What the old one did last may be missing, so this counts too little now and then, and never too much.
        """
        since = {"since": str(int(CLOCK.now()))}
        while True:
            with suppress(OSError, ClientError, DockerError):  # it is away
                await self._write(client, installation, begun, since if begun.is_set() else {})
            await CLOCK.sleep(0.1)

    async def _write(self, client: Docker, installation: str, begun: asyncio.Event, options: dict[str, str]) -> None:
        filters = {"type": ["container"], "label": [f"{INSTALLATION}={installation}"]}
        async with stream(client, "GET", "events", {"filters": json.dumps(filters), **options}) as response:
            begun.set()
            async for event in json_lines(response):
                async with self._more:
                    self.events.append(event)
                    self._more.notify_all()


@asynccontextmanager
async def recorded(installation: str, *, through_restarts: bool = False) -> AsyncIterator[EngineEvents]:
    """Write down what happens while the block runs."""
    record, begun = EngineEvents(), asyncio.Event()
    follow = record.follow_through_restarts if through_restarts else record.follow
    async with open_client() as client, asyncio.TaskGroup() as group:
        task = group.create_task(follow(client, installation, begun))
        await begun.wait()
        yield record
        task.cancel()
