"""Finds a Docker engine, or installs Debian's and starts it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
from docker.context import ContextAPI
from docker.errors import DockerException

from provider.cluster.build_command import run
from provider.cluster.processes import Process
from provider.cluster.steps import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable

    from docker import DockerClient

    from provider.clock import Clock

__all__ = ["OLDEST_ENGINE", "engine_version", "ensure_engine", "forget_ended", "open_engine"]

OLDEST_ENGINE = (20, 10)
_START_SECONDS = 60.0
_CALL_SECONDS = 300  # loading images takes long
_INSTALL_SECONDS = 900.0
_PID_FILES = {Path("/run/docker.pid"): "dockerd", Path("/run/docker/containerd/containerd.pid"): "containerd"}
"""dockerd's own default places"""


def open_engine(host: str = "", seconds: int = _CALL_SECONDS) -> DockerClient:
    """Return a client of the engine at `host`; empty: DOCKER_HOST, the current Docker context, the local socket.

    DockerException when there is none.
    """
    if host:
        return docker.DockerClient(base_url=host, timeout=seconds)
    context = None if "DOCKER_HOST" in os.environ else ContextAPI.get_current_context()
    if context is None or context.Host is None:
        return docker.from_env(timeout=seconds)
    tls: Any = context.TLSConfig  # None without TLS, whatever the stubs say
    return docker.DockerClient(base_url=context.Host, timeout=seconds, tls=tls or False)


def engine_version(host: str = "") -> str | None:
    """Return the version of the engine that answers, or None when none does."""
    try:
        client = open_engine(host, seconds=10)
        try:
            return str(client.version()["Version"])
        finally:
            client.close()
    except (DockerException, OSError):
        return None


async def ensure_engine(state: Path, clock: Clock, report: Callable[[str], None], host: str = "") -> str:
    """Return the version of the engine; install Debian's docker.io and start dockerd when none answers.

    The dockerd that is started here is left running by `zonelet down`: images and other people's containers live in it.
    """
    version = engine_version(host)
    if version is not None:
        return version
    if host:
        raise SetupError(
            f"no Docker engine answers at {host}",
            "the configuration names it (runtime.docker.host)",
            "start that engine, or leave the key out: then the local one is used, or installed",
        )
    if shutil.which("dockerd") is None:
        _install(state / "install-docker.log", report)
    for file, program in _PID_FILES.items():
        if forget_ended(file, program):
            report(f"removing {file}, which names a process that is no {program}")
    report("starting dockerd")
    process = Process("dockerd", state)
    process.start(["dockerd"])
    await process.ready(clock, lambda: engine_version() is not None, _START_SECONDS)
    return engine_version() or "unknown"


def forget_ended(pid_file: Path, program: str) -> bool:
    """Remove the pid file of a program that was killed; return whether its pid is another program's by now.

    dockerd takes any process of that number for a running one of its kind, and refuses to start.
    """
    try:
        pid = int(pid_file.read_text())
        command = Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return False  # nobody has that number: dockerd sees so itself
    if command == program:
        return False
    pid_file.unlink(missing_ok=True)
    return True


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
