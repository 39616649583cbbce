"""A command in a running container: an exec of the Engine API on a hijacked connection.

The engine ends nothing when its client goes away, and offers no way to: a command that still runs when the session is
closed is killed on the host with all that it has started (process_tree).
"""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

from aiodocker.exceptions import DockerError

from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.cloud.runtime.docker_engine.engine import CONFLICT, NOT_FOUND, faults
from provider.cloud.runtime.docker_engine.engine_stream import DETACH_KEYS, EngineStream
from provider.cloud.runtime.docker_engine.process_tree import kill_tree

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiodocker import Docker
    from aiodocker.execs import Exec

    from provider.clock import Clock
    from provider.cloud.backend import ExecRequest

_SOON, _LATER = 0.01, 1.0
_NOT_STARTED = b"OCI runtime exec failed"
_NOT_STARTED_CODES = (126, 127)
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
        opened = EngineStream(made.start())
        await opened.open()
    return DockerExec(made, opened, clock)


class DockerExec:
    """One running command; see ExecSession."""

    def __init__(self, made: Exec, opened: EngineStream, clock: Clock) -> None:
        self._exec = made
        self._stream = opened
        self._clock = clock
        self._finished: dict[str, Any] | None = None

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """See ExecSession. RuntimeFault START for a command that could not start: the engine tells it as output."""
        begins = True
        async for source, data in self._stream.output():
            if begins and data.startswith(_NOT_STARTED):
                await self._check_started(data.decode(errors="replace").strip())
            begins = False
            yield source, data

    async def write(self, data: bytes) -> None:
        """See ExecSession."""
        await self._stream.write(data)

    async def close_stdin(self) -> None:
        """See ExecSession."""
        self._stream.end_input()

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
        if self._stream.closed:
            return
        self._stream.closed = True
        try:
            found = await self._begun()
            if not self._finished:
                await asyncio.to_thread(kill_tree, int(found["Pid"]), str(found["ContainerID"]))
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
