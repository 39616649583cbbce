"""A Docker engine of a test's own, which may be stopped, killed and started while others use the machine's.

It has a network namespace of its own: an engine takes every bridge named docker0 for its own, and with --bridge=none
removes it. What has to reach its containers by their addresses runs in that namespace too (`entered`).
"""

import asyncio
import ctypes
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiodocker import Docker

from provider.clock import SystemClock
from provider.cloud.runtime.docker_engine.client import open_client
from provider.cloud.runtime.docker_engine.host_mounts import mounts_below, unmount
from provider.cluster.processes import wait_until

IMAGES = ("zonelet/pause:1", "busybox:latest")
_BETWEEN = 0.1
_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


@dataclass
class OwnEngine:
    """A dockerd with everything below `root` (a short path: sockets are in it), in the network namespace of a process.

    `live_restore`: containers outlive it. `options`: further ones of dockerd.
    """

    root: Path
    live_restore: bool
    namespace: int
    options: Sequence[str] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"unix://{self.root}/docker.sock"

    async def start(self) -> None:
        """Start it and wait until it answers."""
        options = ["--data-root", f"{self.root}/data", "--exec-root", f"{self.root}/exec"]
        options += ["--pidfile", f"{self.root}/pid", "--host", self.address]
        options += [*(["--live-restore"] if self.live_restore else []), *self.options]
        self.process = self._started(["nsenter", f"--net=/proc/{self.namespace}/ns/net", "dockerd", *options])
        async with asyncio.timeout(60), open_client(self.address) as client:
            while not await self._answers(client):
                await SystemClock().sleep(_BETWEEN)

    def _started(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """A process of no event loop: it outlives the one in which it was started."""
        with (self.root / "log").open("ab") as log:
            return subprocess.Popen(argv, stdout=log, stderr=log)

    async def _answers(self, client: Docker) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.root / "log").read_text()[-2000:]
        try:
            await client.version()
        except Exception:  # noqa: BLE001 - whatever aiodocker makes of an engine that is not there yet
            return False
        return True

    async def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, as systemd does or as a crash does."""
        assert self.process is not None
        process = self.process
        process.send_signal(how)
        assert await wait_until(SystemClock(), lambda: process.poll() is not None, 60), "dockerd does not end"
        self.process = None
        if how is signal.SIGKILL:
            # its containerd dies with it, and is taken to be alive where nobody reaps it
            (self.root / "exec/containerd/containerd.pid").unlink()

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    async def load(self, images: Sequence[str]) -> None:
        """Copy images of the machine's engine."""
        save = await asyncio.create_subprocess_exec("docker", "save", *images, stdout=PIPE)
        data, _ = await save.communicate()
        load = await asyncio.create_subprocess_exec(
            "docker", "--host", self.address, "load", stdin=PIPE, stdout=DEVNULL
        )
        await load.communicate(data)
        assert (save.returncode, load.returncode) == (0, 0)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be in its network namespace: this thread, and the threads and processes that it starts meanwhile."""
        with open("/proc/thread-self/ns/net", "rb") as outside:  # noqa: PTH123 - a proc file
            with open(f"/proc/{self.namespace}/ns/net", "rb") as inside:  # noqa: PTH123 - a proc file
                set_network_namespace(inside.fileno())
            try:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
                    fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))
                yield
            finally:
                set_network_namespace(outside.fileno())


def network_namespace(pid: int) -> Path:
    return Path(f"/proc/{pid}/ns/net").readlink()


def namespace_holder() -> subprocess.Popen[bytes]:
    """Start what keeps a new network namespace, until its standard input is closed."""
    return subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE)


def set_network_namespace(opened: int) -> None:
    """Move this thread there (setns(2); Python has it from 3.12 on)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(opened, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@asynccontextmanager
async def own_engine(
    *, live_restore: bool, images: Sequence[str] = IMAGES, options: Sequence[str] = ()
) -> AsyncIterator[OwnEngine]:
    """Start an engine with these images of the machine's own; the test removes its containers."""
    holder = namespace_holder()
    root = Path(tempfile.mkdtemp(prefix="docker-"))
    engine = OwnEngine(root, live_restore, holder.pid, options)
    try:
        while network_namespace(holder.pid) == network_namespace(os.getpid()):
            await SystemClock().sleep(_BETWEEN)
        await engine.start()
        if images:
            await engine.load(images)
        yield engine
    finally:
        if engine.runs:
            await engine.end()
        holder.communicate()
        for point in mounts_below(root):
            unmount(point)
        shutil.rmtree(root)
