"""A command in a running container: an exec of the Engine API on a hijacked connection.

The engine ends nothing when its client goes away, and offers no way to: a command that still runs when the session is
closed is killed by its process group on the host, once the process there is known to be in the container.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiodocker.exceptions import DockerError

from provider.cloud.backend import STDERR, STDOUT
from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.cloud.runtime.docker_engine.engine import CONFLICT, NOT_FOUND, faults

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiodocker import Docker
    from aiodocker.execs import Exec
    from aiodocker.stream import Stream

    from provider.clock import Clock
    from provider.cloud.backend import ExecRequest

_SOON, _LATER = 0.01, 1.0
_NOT_STARTED = b"OCI runtime exec failed"
_NOT_STARTED_CODES = (126, 127)
DETACH_KEYS = ",".join(["ctrl-^", "ctrl-_"] * 4)
"""What the engine takes for "detach" from a terminal: nobody types it. Its own ctrl-p,ctrl-q would swallow the shell's
ctrl-p."""
_RESIZE_TRIES = 20
_BEGIN_SECONDS = 30.0


async def start_exec(client: Docker, container: str, request: ExecRequest, clock: Clock) -> DockerExec:
    """Start a command. RuntimeFault START for one that cannot be started, or when the container does not run."""
    with faults(FaultKind.START):
        made = await client.containers.container(container).exec(
            list(request.command),
            stdin=request.stdin,
            stdout=request.stdout,
            stderr=request.stderr and not request.tty,
            tty=request.tty,
            detach_keys=DETACH_KEYS,
        )
        session = DockerExec(made, made.start(), clock)
        await session.open()
    return session


class DockerExec:
    """One running command; see ExecSession."""

    def __init__(self, made: Exec, opened: Stream, clock: Clock) -> None:
        self._exec = made
        self._stream = opened
        self._clock = clock
        self._finished: dict[str, Any] | None = None
        self._closed = False
        self._broken = False

    async def open(self) -> None:
        """Begin, and take the connection over."""
        await self._stream.__aenter__()

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """See ExecSession. RuntimeFault START for a command that could not start: the engine tells it as output."""
        begins = True
        with faults(FaultKind.REFUSED):
            while (message := await self._stream.read_out()) is not None:
                if begins and message.data.startswith(_NOT_STARTED):
                    await self._check_started(message.data.decode(errors="replace").strip())
                begins = False
                yield (STDERR if message.stream == STDERR else STDOUT), message.data

    async def write(self, data: bytes) -> None:
        """See ExecSession."""
        if self._closed or self._broken:
            return
        try:
            await self._stream.write_in(data)
        except (OSError, AssertionError):  # aiodocker asserts that the connection is there
            self._broken = True  # the command has ended

    async def close_stdin(self) -> None:
        """See ExecSession."""
        transport = self._transport()
        if transport is not None and transport.can_write_eof() and not transport.is_closing():
            transport.write_eof()

    async def resize(self, width: int, height: int) -> None:
        """See ExecSession. The engine knows no terminal before the command has begun, and none after its end."""
        for left in reversed(range(_RESIZE_TRIES)):
            try:
                with faults(FaultKind.REFUSED):
                    await self._exec.resize(w=width, h=height)
            except RuntimeFault as fault:
                if fault.kind is FaultKind.UNAVAILABLE:
                    raise
                await self._inspected()
                if self._finished:
                    return
                if not left:
                    raise
                await self._clock.sleep(_SOON)
            else:
                return

    async def wait(self) -> int:
        """See ExecSession. RuntimeFault START as `output`."""
        pause = _SOON
        while not self._finished:
            await self._inspected()
            if not self._finished:
                await self._clock.sleep(pause)
                pause = min(2 * pause, _LATER)
        await self._check_started("the command could not be started; its output would say why")
        return int(self._finished["ExitCode"])

    async def _check_started(self, why: str) -> None:
        """Raise RuntimeFault START if there never was a process: a command may itself end with 127, or print it."""
        found = await self._inspected()
        if not found["Running"] and found.get("Pid") == 0 and found["ExitCode"] in _NOT_STARTED_CODES:
            raise RuntimeFault(FaultKind.START, why)

    async def close(self) -> None:
        """See ExecSession."""
        if self._closed:
            return
        self._closed = True
        try:
            found = await self._begun()
            if not self._finished:
                await asyncio.to_thread(kill_in_container, int(found["Pid"]), str(found["ContainerID"]))
        finally:
            await self._stream.close()

    async def _begun(self) -> dict[str, Any]:
        """Return the engine's answer once it tells the process, or its end: its first output may come before that.

        RuntimeFault REFUSED when the engine has not begun the command in _BEGIN_SECONDS.
        """
        deadline = self._clock.now() + _BEGIN_SECONDS
        while True:
            found = await self._inspected()
            if self._finished or found.get("Pid"):
                return found
            if self._clock.now() >= deadline:
                raise RuntimeFault(
                    FaultKind.REFUSED, f"the engine has not begun exec {self._exec.id} in {_BEGIN_SECONDS:.0f} s"
                )
            await self._clock.sleep(_SOON)

    async def _inspected(self) -> dict[str, Any]:
        """Return the engine's answer about the exec; one whose container is gone has ended (137: it was killed)."""
        if self._finished is not None:
            return self._finished
        with faults(FaultKind.REFUSED):
            try:
                found = await self._exec.inspect()
            except DockerError as error:
                if error.status not in {NOT_FOUND, CONFLICT}:
                    raise
                found = {"Running": False, "ExitCode": 128 + signal.SIGKILL}
        if not found["Running"] and found["ExitCode"] is not None:
            self._finished = found
        return found

    def _transport(self) -> asyncio.Transport | None:
        response = self._stream._resp  # noqa: SLF001 - aiodocker has no half-close of its own
        connection = None if response is None else response.connection
        return None if connection is None else connection.transport


def kill_in_container(pid: int, container: str) -> bool:
    """Kill a process of the host with its group, if it is in this container (its ID); False if it is not. Blocking.

    An exec's process leads a session of its own (runc), so its group is what it has started.
    """
    try:
        held = os.pidfd_open(pid)  # from here on the number cannot come to mean another process unnoticed
    except ProcessLookupError:
        return False
    try:
        if container not in Path(f"/proc/{pid}/cgroup").read_text():
            return False
        group = os.getpgid(pid)
        signal.pidfd_send_signal(held, signal.SIGKILL)
        if group == pid:
            os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, FileNotFoundError):
        return False
    finally:
        os.close(held)
    return True
