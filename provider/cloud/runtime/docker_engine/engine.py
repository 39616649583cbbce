"""The few acts on a Docker engine that everything above is made of. Each may be repeated: it finds what it made.

Errors: what the engine refuses becomes RuntimeFault of the kind the caller names; an engine that is away, or does not
answer in time, is UNAVAILABLE whatever the act was. The two are not mixed up: who is told UNAVAILABLE tries again for
ever, and a refusal stays a refusal.
"""

from __future__ import annotations

import asyncio
import json
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
from aiodocker.exceptions import DockerError
from msgspec import Struct

from provider.clock import SystemClock
from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.cloud.runtime.docker_engine.labels import INSTALLATION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aiodocker import Docker

    from provider.clock import Clock

NOT_FOUND = 404
CONFLICT = 409
_AWAY = frozenset({503, 900})
"""Service unavailable (dockerd starts or stops), and aiodocker's own number for a connection that failed."""
_TRIES = 40
_BETWEEN = 0.25


class Made(Struct, frozen=True):
    """A container that was asked for: `inspected` is the engine's answer about one that an earlier call had made."""

    id: str
    inspected: dict[str, Any] | None = None


class Engine:
    """Containers of one installation on one engine; the client is opened and closed by the caller."""

    def __init__(self, client: Docker, installation: str, clock: Clock | None = None) -> None:
        self.client = client
        self._installation = installation
        self._clock = SystemClock() if clock is None else clock
        self._leaves = asyncio.Lock()

    async def create(self, name: str, config: Mapping[str, Any], kind: FaultKind = FaultKind.CREATE) -> str:
        """Return the ID of the container of this name, made now or before. RuntimeFault of `kind`."""
        return (await self.make(name, config, kind)).id

    async def make(self, name: str, config: Mapping[str, Any], kind: FaultKind = FaultKind.CREATE) -> Made:
        """Return the container of this name, made now or before. RuntimeFault of `kind`.

        A name is free only once the engine has removed its holder; a removal under way is waited for.
        """
        for _ in range(_TRIES):
            with faults(kind):
                try:
                    return Made((await self.client.containers.create(dict(config), name=name)).id)
                except DockerError as error:
                    if error.status != CONFLICT:
                        raise
                    refusal = str(error.message)
            found = await self.inspect(name)
            if found is None or found["State"]["Status"] == "removing":
                await self._clock.sleep(_BETWEEN)
                continue
            if (found["Config"].get("Labels") or {}).get(INSTALLATION) != self._installation:
                raise RuntimeFault(kind, f"container {name} belongs to somebody else")
            return Made(str(found["Id"]), found)
        raise RuntimeFault(kind, refusal)

    async def start(self, name: str, kind: FaultKind = FaultKind.START) -> None:
        """Start a created container; one that runs stays as it is. RuntimeFault of `kind` when it cannot start."""
        with faults(kind):
            await self.client.containers.container(name).start()

    async def stop(self, name: str, grace: float) -> None:
        """Send the stop signal, SIGKILL after `grace` seconds (rounded up); returns when it has ended or is unknown.

        The connection may break meanwhile: the engine goes on stopping.
        """
        with faults(FaultKind.REFUSED), _unknown_is_fine():
            await self.client.containers.container(name).stop(t=math.ceil(grace))

    async def kill(self, name: str) -> None:
        """Send SIGKILL and return once the container has ended, does not run, or is unknown."""
        with faults(FaultKind.REFUSED), _unknown_is_fine(CONFLICT):
            await self.client.containers.container(name).kill(signal="SIGKILL")
            await self.client.containers.container(name).wait()

    async def remove(self, name: str) -> None:
        """Remove a container, killing it if it runs, with its anonymous volumes; returns when it is gone."""
        for left in reversed(range(_TRIES)):
            with faults(FaultKind.REFUSED):
                try:
                    await self.client.containers.container(name).delete(force=True, v=True)
                except DockerError as error:
                    if error.status == NOT_FOUND:
                        return
                    if error.status != CONFLICT or not left:  # 409: another removal is under way
                        raise
                else:
                    return
            await self._clock.sleep(_BETWEEN)

    async def remove_alone(self, name: str) -> None:
        """Remove a container that shares its networks with others, while no other is removed so (network_turns)."""
        async with self._leaves:
            await self.remove(name)

    async def inspect(self, name: str) -> dict[str, Any] | None:
        """Return the engine's full answer about a container, None for an unknown one."""
        with faults(FaultKind.REFUSED):
            try:
                return await self.client.containers.container(name).show()
            except DockerError as error:
                if error.status == NOT_FOUND:
                    return None
                raise

    async def relist(self, **labels: str) -> list[dict[str, Any]]:
        """Return the engine's short rows of all containers of this installation that also have these labels."""
        wanted = [f"{INSTALLATION}={self._installation}", *(f"{key}={value}" for key, value in labels.items())]
        with faults(FaultKind.REFUSED):
            listed = await self.client.containers.list(all=1, filters=json.dumps({"label": wanted}))
        return [dict(row._container) for row in listed]  # noqa: SLF001 - aiodocker has no other way to the whole row


@contextmanager
def faults(kind: FaultKind) -> Iterator[None]:
    """Turn the engine's refusal into RuntimeFault of `kind`, a lost connection or no answer into UNAVAILABLE."""
    try:
        yield
    except DockerError as error:
        away = error.status in _AWAY
        raise RuntimeFault(FaultKind.UNAVAILABLE if away else kind, str(error.message)) from error
    except TimeoutError as error:
        raise RuntimeFault(FaultKind.UNAVAILABLE, "the Docker engine did not answer in time") from error
    except aiohttp.ClientPayloadError as error:  # its own text is about transfer encodings
        text = "the connection to the Docker engine broke off in the middle of an answer"
        raise RuntimeFault(FaultKind.UNAVAILABLE, text) from error
    except (aiohttp.ClientError, OSError) as error:
        raise RuntimeFault(FaultKind.UNAVAILABLE, f"no answer from the Docker engine: {error}") from error


def first_fault(group: BaseExceptionGroup[RuntimeFault]) -> RuntimeFault:
    """Return the first of the faults of tasks that ran together; one is enough to tell of."""
    first = group.exceptions[0]
    return first_fault(first) if isinstance(first, BaseExceptionGroup) else first


@contextmanager
def _unknown_is_fine(*others: int) -> Iterator[None]:
    try:
        yield
    except DockerError as error:
        if error.status not in {NOT_FOUND, *others}:
            raise
