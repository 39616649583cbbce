"""Acts on an engine, by what they ask of it."""

from __future__ import annotations

import asyncio
from typing import Any

from provider.clock import SystemClock
from provider.cloud.runtime.docker_engine.engine import Engine


class Removals:
    """The part of a client that removes containers; it notes how many removals were under way together."""

    def __init__(self) -> None:
        self.containers = self
        self.gone: list[str] = []
        self.most = self._now = 0

    def container(self, name: str) -> Removal:
        return Removal(self, name)

    async def remove(self, name: str) -> None:
        self._now += 1
        self.most = max(self.most, self._now)
        for _ in range(5):
            await SystemClock().sleep(0)
        self._now -= 1
        self.gone.append(name)


class Removal:
    def __init__(self, of: Removals, name: str) -> None:
        self._of = of
        self._name = name

    async def delete(self, **_: Any) -> None:
        await self._of.remove(self._name)


async def test_containers_with_shared_networks_go_one_by_one() -> None:
    client: Any = Removals()
    engine = Engine(client, "name")
    names = ["a", "b", "c"]
    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(engine.remove_alone(name))
    assert (client.gone, client.most) == (names, 1)
    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(engine.remove(name))
    assert client.most == len(names)
