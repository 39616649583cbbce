"""The few acts on a Docker engine that everything above is made of. Each may be repeated: it finds what it made.

Errors: DockerError of the engine becomes RuntimeFault of the kind the caller names; an engine that is away is
UNAVAILABLE whatever the act was.
"""

from __future__ import annotations

import json
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
from aiodocker.exceptions import DockerError

from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.cloud.runtime.docker_engine.labels import INSTALLATION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aiodocker import Docker

_NOT_FOUND = 404
_CONFLICT = 409
_ENGINE_AWAY = 503


class Engine:
    """Containers of one installation on one engine; the client is opened and closed by the caller."""

    def __init__(self, client: Docker, installation: str) -> None:
        self._client = client
        self._installation = installation

    async def create(self, name: str, config: Mapping[str, Any]) -> str:
        """Return the ID of the container of this name, made now or before. RuntimeFault CREATE."""
        with faults(FaultKind.CREATE):
            try:
                return (await self._client.containers.create(dict(config), name=name)).id
            except DockerError as error:
                if error.status != _CONFLICT:
                    raise
                found = await self._client.containers.container(name).show()
                if (found["Config"].get("Labels") or {}).get(INSTALLATION) != self._installation:
                    raise RuntimeFault(FaultKind.CREATE, f"container {name} belongs to somebody else") from error
                return str(found["Id"])

    async def start(self, name: str, kind: FaultKind = FaultKind.START) -> None:
        """Start a created container; one that runs stays as it is. RuntimeFault of `kind` when it cannot start."""
        with faults(kind):
            await self._client.containers.container(name).start()

    async def stop(self, name: str, grace: float) -> None:
        """Send the stop signal, SIGKILL after `grace` seconds (rounded up); returns when it has ended or is unknown."""
        with faults(FaultKind.UNAVAILABLE), _unknown_is_fine():
            await self._client.containers.container(name).stop(t=math.ceil(grace))

    async def remove(self, name: str) -> None:
        """Remove a container, killing it if it runs, with its anonymous volumes; an unknown one is removed already."""
        with faults(FaultKind.UNAVAILABLE), _unknown_is_fine():
            await self._client.containers.container(name).delete(force=True, v=True)

    async def inspect(self, name: str) -> dict[str, Any] | None:
        """Return the engine's full answer about a container, None for an unknown one."""
        with faults(FaultKind.UNAVAILABLE):
            try:
                return await self._client.containers.container(name).show()
            except DockerError as error:
                if error.status == _NOT_FOUND:
                    return None
                raise

    async def relist(self, **labels: str) -> list[dict[str, Any]]:
        """Return the engine's short rows of all containers of this installation that also have these labels."""
        wanted = [f"{INSTALLATION}={self._installation}", *(f"{key}={value}" for key, value in labels.items())]
        with faults(FaultKind.UNAVAILABLE):
            listed = await self._client.containers.list(all=1, filters=json.dumps({"label": wanted}))
        return [dict(row._container) for row in listed]  # noqa: SLF001 - aiodocker has no other way to the whole row


@contextmanager
def faults(kind: FaultKind) -> Iterator[None]:
    """Turn the engine's refusal into RuntimeFault of `kind`, a lost connection into UNAVAILABLE."""
    try:
        yield
    except DockerError as error:
        away = error.status == _ENGINE_AWAY
        raise RuntimeFault(FaultKind.UNAVAILABLE if away else kind, str(error.message)) from error
    except (aiohttp.ClientError, OSError) as error:
        raise RuntimeFault(FaultKind.UNAVAILABLE, f"no answer from the Docker engine: {error}") from error


@contextmanager
def _unknown_is_fine() -> Iterator[None]:
    try:
        yield
    except DockerError as error:
        if error.status != _NOT_FOUND:
            raise
