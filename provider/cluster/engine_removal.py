"""Removes what an installation has on the engine and its host, as a step of `zonelet down`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiodocker.exceptions import DockerError

from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.cloud.runtime.docker_engine.client import open_client
from provider.cloud.runtime.docker_engine.labels import INSTALLATION
from provider.cloud.runtime.docker_engine.removal import remove_installation
from provider.cluster.steps import SetupError

if TYPE_CHECKING:
    from provider.cluster.installation import Installation

__all__ = ["remove_from_engine"]


async def remove_from_engine(installation: Installation) -> None:
    """Remove containers, networks, mounts, cgroups, directories. SetupError when the engine does not let go."""
    record, name = installation.record(), installation.name
    host = "" if record is None else record.engine
    try:
        client = open_client(host)
    except (DockerError, OSError, ValueError) as error:
        raise _away(name, str(error)) from error
    try:
        async with client:
            await remove_installation(client, name, installation.state, clock=installation.clock)
    except RuntimeFault as error:
        if error.kind is FaultKind.UNAVAILABLE:
            raise _away(name, error.message) from error
        if error.kind is FaultKind.MOUNT:
            raise SetupError(
                f"a part of {name} is left on this host",
                error.message,
                f"see what uses it (findmnt, fuser -vm PATH), then run: zonelet down --name {name}",
            ) from error
        raise SetupError(
            f"the engine does not let go of a part of {name}",
            error.message,
            f"docker ps -a --filter label={INSTALLATION}={name} shows what is left; run: zonelet down --name {name}",
        ) from error


def _away(name: str, why: str) -> SetupError:
    return SetupError(
        f"containers and networks of {name} may be left: no Docker engine answers",
        why,
        f"start the engine, then run: zonelet down --name {name}",
    )
