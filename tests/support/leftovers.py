"""Takes away what test runs that were killed have left: their fixed blocks would be in the way of every later run."""

from __future__ import annotations

import asyncio
import fcntl
import shutil
import tempfile
from contextlib import closing, suppress
from pathlib import Path

from provider.clock import SystemClock
from provider.cloud.runtime.docker_engine.client import open_client
from provider.cloud.runtime.docker_engine.host_mounts import mounts_below, unmount
from provider.cloud.runtime.docker_engine.removal import remove_installation
from provider.cluster.down import take_down
from provider.cluster.engine import open_engine
from provider.cluster.installation import Installation, Record
from provider.cluster.steps import SetupError, Steps
from tests.support.names import run_of

__all__ = ["STATES", "sweep"]

STATES = Path("/tmp")
"""where `installed` has its state directories (a Unix socket's path has 107 bytes at most)"""


def sweep() -> list[str]:
    """Remove installations, containers and networks of ended runs, and return the runs' names. One at a time."""
    with (STATES / "zl-sweep.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _sweep()


def _sweep() -> list[str]:
    states = {name: path for path in STATES.glob("zl-zt-*") if (name := ended(path.name.removeprefix("zl-")))}
    for name, path in states.items():
        installation = Installation(name, path / "state", SystemClock())
        if installation.record() is not None:
            installation.write_record(Record("local"))  # a cluster that it joined was the run's own, and is gone
        steps = Steps()
        try:
            asyncio.run(take_down(installation, steps))
        except SetupError as error:  # told, and tried again by the next run: it is no reason to run no test at all
            steps.failure(error)
            continue
        for mount in mounts_below(path):
            unmount(mount)
        _remove(path)
    return sorted({*states, *asyncio.run(_from_engine())})


def ended(name: str) -> str:
    """Return the ended run that an object of this name belongs to; empty when there is none."""
    run = run_of(name)
    return "" if run is None or run[1] else run[0]


def _remove(path: Path) -> None:
    """Remove a tree that is perhaps gone, and in which a process that is just ending may still remove files."""
    while path.exists():
        with suppress(FileNotFoundError):
            shutil.rmtree(path)


async def _from_engine() -> set[str]:
    with closing(open_engine()) as engine:
        containers = [(each["Id"], each["Names"][0].lstrip("/")) for each in engine.api.containers(all=True)]
        runs = {name for _, full in containers if (name := ended(full))}
        runs |= {name for each in engine.api.networks() if (name := ended(each["Name"]))}
        async with open_client() as client:
            for name in runs:
                with tempfile.TemporaryDirectory() as nothing:
                    await remove_installation(client, name, Path(nothing), clock=SystemClock())
        # what tests made by themselves, without an installation's labels; one by one (network_turns.py)
        for container in engine.api.containers(all=True):
            if ended(container["Names"][0]):
                engine.api.remove_container(container["Id"], force=True, v=True)
        for network in engine.api.networks():
            if ended(network["Name"]):
                engine.api.remove_network(network["Id"])
    return runs
