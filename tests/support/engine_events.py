"""The engine's own record of what happened to an installation's containers, written down live by a test."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from provider.cloud.runtime.docker_engine.client import json_lines, open_client, stream
from provider.cloud.runtime.docker_engine.labels import INSTALLATION, PREFIX

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiodocker import Docker


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
        filters = {"type": ["container"], "label": [f"{INSTALLATION}={installation}"]}
        async with stream(client, "GET", "events", {"filters": json.dumps(filters)}) as response:
            begun.set()
            async for event in json_lines(response):
                async with self._more:
                    self.events.append(event)
                    self._more.notify_all()
        raise AssertionError("the engine ended its stream of events: the record has a hole")


@asynccontextmanager
async def recorded(installation: str) -> AsyncIterator[EngineEvents]:
    """Write down what happens while the block runs."""
    record, begun = EngineEvents(), asyncio.Event()
    async with open_client() as client, asyncio.TaskGroup() as group:
        task = group.create_task(record.follow(client, installation, begun))
        await begun.wait()
        yield record
        task.cancel()
