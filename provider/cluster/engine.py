"""Finds a Docker engine, or installs Debian's and starts it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import docker
from docker.errors import DockerException

from provider.cluster.build_command import run
from provider.cluster.processes import Process
from provider.cluster.steps import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from provider.clock import Clock

__all__ = ["OLDEST_ENGINE", "engine_version", "ensure_engine"]

OLDEST_ENGINE = (20, 10)
_START_SECONDS = 60.0
_INSTALL_SECONDS = 900.0


def engine_version() -> str | None:
    """Return the version of the engine that answers, or None when none does."""
    try:
        client = docker.from_env(timeout=10)
        try:
            return str(client.version()["Version"])
        finally:
            client.close()
    except (DockerException, OSError):
        return None


async def ensure_engine(state: Path, clock: Clock, report: Callable[[str], None]) -> str:
    """Return the version of the engine; install Debian's docker.io and start dockerd when none answers.

    The dockerd that is started here is left running by `zonelet down`: images and other people's containers live in it.
    """
    version = engine_version()
    if version is not None:
        return version
    if shutil.which("dockerd") is None:
        _install(state / "install-docker.log", report)
    report("starting dockerd")
    process = Process("dockerd", state)
    process.start(["dockerd"])
    await process.ready(clock, lambda: engine_version() is not None, _START_SECONDS)
    return engine_version() or "unknown"


def _install(log: Path, report: Callable[[str], None]) -> None:
    apt = shutil.which("apt-get")
    if apt is None:
        raise SetupError(
            "no Docker engine answers and there is no apt-get",
            "only Debian's docker.io can be installed from here",
            "install a rootful Docker engine, 20.10 or later, start it, and run this again",
        )
    log.parent.mkdir(parents=True, exist_ok=True)
    report("installing Debian's docker.io")
    for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "docker.io", "iptables"]):
        run(
            ["env", "DEBIAN_FRONTEND=noninteractive", apt, *arguments],
            what=f"apt-get {arguments[0]}",
            log=log,
            timeout=_INSTALL_SECONDS,
            next_step=f"read {log}; are you root, and does a Debian mirror answer?",
        )
