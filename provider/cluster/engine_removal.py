"""Removes an installation's containers and networks from the engine, by their label, and nothing else."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import docker
from docker.errors import APIError, DockerException, NotFound

from provider.cloud.runtime.docker_engine.labels import INSTALLATION
from provider.cluster.steps import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable

    from provider.cluster.installation import Installation

__all__ = ["remove_from_engine"]

_ENGINE_SECONDS = 120


async def remove_from_engine(installation: Installation) -> None:
    """Remove them. SetupError when the engine does not answer, or refuses."""
    try:
        client = docker.from_env(timeout=_ENGINE_SECONDS)
    except DockerException as error:
        raise _away(installation, error) from error
    wanted: dict[str, str | list[str] | bool] = {"label": f"{INSTALLATION}={installation.name}"}
    try:
        for container in client.containers.list(all=True, filters=wanted, ignore_removed=True):
            _gone(container.remove, force=True, v=True)
        for network in client.networks.list(filters=wanted):
            _gone(network.remove)
    except APIError as error:
        raise SetupError(
            f"the engine refused to remove a part of {installation.name}",
            error.explanation or str(error),
            f"docker ps -a --filter label={INSTALLATION}={installation.name} shows what is left; run this again",
        ) from error
    except (DockerException, OSError) as error:
        raise _away(installation, error) from error
    finally:
        client.close()


def _gone(remove: Callable[..., object], **options: bool) -> None:
    with suppress(NotFound):  # somebody else was quicker
        remove(**options)


def _away(installation: Installation, error: Exception) -> SetupError:
    return SetupError(
        f"containers and networks of {installation.name} may be left: no Docker engine answers",
        str(error),
        f"start the engine, then run: zonelet down --name {installation.name}",
    )
