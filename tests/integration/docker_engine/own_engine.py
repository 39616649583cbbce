"""A Docker engine of a test's own, which may be stopped, killed and started while others use the machine's.

It has a network namespace of its own: an engine takes every bridge named docker0 for its own, and with --bridge=none
removes it.
"""

import asyncio
import os
import shutil
import signal
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiodocker import Docker

from provider.clock import SystemClock
from provider.cloud.runtime.docker_engine.client import open_client
from provider.cloud.runtime.docker_engine.host_mounts import mounts_below, unmount

IMAGES = ("zonelet/pause:1", "busybox:latest")
_BETWEEN = 0.1


@dataclass
class OwnEngine:
    """A dockerd with everything below `root` (a short path: sockets are in it), in the network namespace of a process.

    `live_restore`: containers outlive it.
    """

    root: Path
    live_restore: bool
    namespace: int
    process: Process | None = None

    @property
    def address(self) -> str:
        return f"unix://{self.root}/docker.sock"

    async def start(self) -> None:
        """Start it and wait until it answers."""
        options = ["--data-root", f"{self.root}/data", "--exec-root", f"{self.root}/exec"]
        options += ["--pidfile", f"{self.root}/pid", "--host", self.address]
        options += ["--live-restore"] if self.live_restore else []
        with (self.root / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                "nsenter", f"--net=/proc/{self.namespace}/ns/net", "dockerd", *options, stdout=log, stderr=STDOUT
            )
        async with asyncio.timeout(60), open_client(self.address) as client:
            while not await self._answers(client):
                await SystemClock().sleep(_BETWEEN)

    async def _answers(self, client: Docker) -> bool:
        assert self.process is not None
        assert self.process.returncode is None, (self.root / "log").read_text()[-2000:]
        try:
            await client.version()
        except Exception:  # noqa: BLE001 - whatever aiodocker makes of an engine that is not there yet
            return False
        return True

    async def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, as systemd does or as a crash does."""
        assert self.process is not None
        self.process.send_signal(how)
        async with asyncio.timeout(60):
            await self.process.wait()
        self.process = None
        if how is signal.SIGKILL:
            # its containerd dies with it, and is taken to be alive where nobody reaps it
            (self.root / "exec/containerd/containerd.pid").unlink()

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def load(self) -> None:
        """Copy the images of the machine's engine."""
        save = await asyncio.create_subprocess_exec("docker", "save", *IMAGES, stdout=PIPE)
        data, _ = await save.communicate()
        load = await asyncio.create_subprocess_exec(
            "docker", "--host", self.address, "load", stdin=PIPE, stdout=DEVNULL
        )
        await load.communicate(data)
        assert (save.returncode, load.returncode) == (0, 0)


def network_namespace(pid: int) -> Path:
    return Path(f"/proc/{pid}/ns/net").readlink()


@asynccontextmanager
async def own_engine(*, live_restore: bool) -> AsyncIterator[OwnEngine]:
    """Start an engine with the images that an instance needs; the test removes its containers."""
    holder = await asyncio.create_subprocess_exec("unshare", "--net", "cat", stdin=PIPE)
    root = Path(tempfile.mkdtemp(prefix="docker-"))
    engine = OwnEngine(root, live_restore, holder.pid)
    try:
        while network_namespace(holder.pid) == network_namespace(os.getpid()):
            await SystemClock().sleep(_BETWEEN)
        await engine.start()
        await engine.load()
        yield engine
    finally:
        if engine.runs:
            await engine.end()
        holder.kill()
        await holder.wait()
        for point in mounts_below(root):
            unmount(point)
        shutil.rmtree(root)
